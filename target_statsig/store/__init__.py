"""The store: what a run remembers for the next one. This package is the only one that speaks SQL.

It knows memberships, deliveries, locks and request times, each of one Statsig project. It refuses to know what they are
for, and sends nothing. SQLAlchemy takes half a second to import: that happens when a store is opened, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_statsig.clock import Clock
    from target_statsig.store.facade import Store


PATIENCE = 30.0
"""Seconds to wait for another run's transaction before the store counts as locked; ours take less than one."""


def open_store(url: str, *, clock: Clock, project: str, run_id: str, patience: float = PATIENCE) -> Store:
    """Open the store, creating it where there is none and bringing an older one up to date.

    Args:
        url: `store_url`: `sqlite:///…` or `postgresql+psycopg://…`.
        clock: The run's clock.
        project: The identity of the Statsig project; rows of other projects stay out of sight.
        run_id: The identity of this run, which no other run has.
        patience: Seconds to wait for another run's transaction.

    Raises:
        StoreError: The store cannot be opened; the message says what to do.
    """
    from target_statsig.store.facade import Store  # noqa: PLC0415 - a run that remembers nothing does without

    return Store(url, clock=clock, project=project, run_id=run_id, patience=patience)
