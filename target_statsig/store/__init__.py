"""The store: what a run remembers for the next one. Only this package speaks SQL.

It holds the members, deliveries, locks and request times of each Statsig project. Its modules are imported when the
store is opened, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from target_statsig.clock import Clock
    from target_statsig.store.readonly import StoreLook
    from target_statsig.store.status import StoreStatus
    from target_statsig.store.store import Store


PATIENCE = 30.0
"""Seconds to wait for another run's transaction before the store counts as locked; ours take less than one."""


def open_store(url: str, *, clock: Clock, project: str, run_id: str, patience: float = PATIENCE) -> Store:
    """Open the store; create it where there is none, and bring an older one up to date.

    Args:
        url: `store_url`: `sqlite:///…` or `postgresql+psycopg://…`.
        clock: The run's clock.
        project: The identity of the Statsig project; rows of other projects stay out of sight.
        run_id: The identity of this run, which no other run has.
        patience: Seconds to wait for another run's transaction.

    Raises:
        StoreError: The store cannot be opened.
    """
    from target_statsig.store.store import Store  # noqa: PLC0415 - a run that remembers nothing does without

    return Store(url, clock=clock, project=project, run_id=run_id, patience=patience)


def open_copy(
    url: str, directory: Path, *, clock: Clock, project: str, run_id: str, patience: float = PATIENCE
) -> Store:
    """Open a copy of the store, made in `directory`; the store itself stays as it is, and none is created.

    Raises:
        StoreError: The store cannot be read.
    """
    from target_statsig.store.readonly import copy_store  # noqa: PLC0415 - as above
    from target_statsig.store.store import Store  # noqa: PLC0415 - as above

    copy = directory / "store.db"
    copy_store(url, copy, clock=clock, project=project, patience=patience)
    copy_url = f"sqlite:///{copy}"
    try:
        return Store(copy_url, clock=clock, project=project, run_id=run_id, patience=patience, copy_of=url)
    except StoreError as error:
        # What is wrong with the copy is wrong with the store, and that is what a user knows.
        raise StoreError(str(error).replace(copy_url, url)) from None


def look_at_store(url: str, *, project: str) -> StoreLook:
    """Look at the store without leaving a trace; none is created.

    Raises:
        StoreError: It cannot be reached, or is no store of this target.
    """
    from target_statsig.store.readonly import look_at  # noqa: PLC0415 - as above

    return look_at(url, project=project)


def read_store_status(url: str, *, project: str) -> StoreStatus:
    """Read what the store remembers of a project, without leaving a trace; none is created.

    Raises:
        StoreError: It cannot be reached, is no store of this target, or has the schema of another version.
    """
    from target_statsig.store.status import read_status  # noqa: PLC0415 - as above

    return read_status(url, project=project)
