"""Removing members of a segment, a request at a time: the one way in which a mirror loses anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.segments.remote import RemoteSegment
    from target_statsig.store.locks import Lock
    from target_statsig.store.members import Members


def remove_all(
    batches: Iterable[Sequence[str]], remote: RemoteSegment, members: Members, lock: Lock, clock: Clock
) -> None:
    """Remove members, and remember each request that was acknowledged.

    Args:
        batches: Whom to remove, a request's ids at a time.
        remote: The segment.
        members: What the store knows of its members.
        lock: The segment's, which is held.
        clock: The run's clock.

    Raises:
        SegmentError: Statsig did not take them, or the lock was lost.
        InterruptedRunError: The run was asked to stop: a signal may come at any time, and then nobody else is removed.
    """
    for batch in batches:
        clock.sleep(0)
        lock.check()
        remote.remove(batch)
        members.record_removed(batch)
