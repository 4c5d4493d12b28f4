"""What runs share: the locks of segments and streams, one run at a time, and the times of list mutations.

The locks themselves are the database's (`Locks`: see `sqlite` and `postgres`), and end with the process.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import delete, insert, select

from target_statsig._compat import override
from target_statsig.store.dialects import insert_into
from target_statsig.store.tables import LOCKS, PROJECTS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.errors import TargetStatsigError
    from target_statsig.store.database import Lane

PATIENCE = 10.0
"""Seconds to wait for another run that holds the lock: as long as its last requests may take."""

POLL = 1.0
"""Seconds between two looks."""

KEY_BYTES = 8
"""A lock's key: what it is for, digested to the bytes that PostgreSQL has room for."""


class Locks(Protocol):
    """Locks that go with the process that holds them, however it ends. Any thread may ask."""

    def take(self, key: bytes) -> bool:
        """Take a lock, and return whether it was free."""

    def is_free(self, key: bytes) -> bool:
        """Return whether a lock is free, and leave it so."""

    def holds(self, key: bytes) -> bool:
        """Return whether a lock that was taken here is held still."""

    def let_go(self, key: bytes) -> None:
        """Let a lock go; nothing happens where it is not held."""

    def close(self) -> None:
        """Let all locks go."""


class WatchedLocks(Locks):
    """Another store's locks, for a run that changes nothing: it sees those of others, and takes none."""

    def __init__(self, locks: Locks) -> None:
        """Take the locks to look at."""
        self._locks = locks

    @override
    def take(self, key: bytes) -> bool:
        return self._locks.is_free(key)

    @override
    def is_free(self, key: bytes) -> bool:
        return self._locks.is_free(key)

    @override
    def holds(self, key: bytes) -> bool:
        return True

    @override
    def let_go(self, key: bytes) -> None:
        """Nothing was taken."""

    @override
    def close(self) -> None:
        self._locks.close()


class Lock:
    """The lock of one segment or stream, held by this run until it is released or the store is closed."""

    def __init__(
        self,
        lane: Lane,
        locks: Locks,
        identity: tuple[str, str],
        *,
        project: int,
        what: str,
        error: Callable[[str], TargetStatsigError],
        run_id: str,
        clock: Clock,
    ) -> None:
        """Take what to lock; `acquire` does it.

        Args:
            lane: The connection to use.
            locks: What keeps others out.
            identity: The identity of the Statsig project, and a name that is the lock's own within it.
            project: The project's number in the store.
            what: A phrase for it, such as "Stream 'orders'".
            error: Makes the error where it cannot be had, or was lost.
            run_id: This run.
            clock: The run's clock.
        """
        self._lane = lane
        self._locks = locks
        self._key = blake2b("\n".join(identity).encode(), digest_size=KEY_BYTES).digest()
        self._row = {"project": project, "name": identity[1]}
        self._what = what
        self._error = error
        self._run_id = run_id
        self._clock = clock

    def acquire(self) -> None:
        """Take the lock; wait a little for a run that holds it.

        Raises:
            TargetStatsigError: Another run holds it.
            InterruptedRunError: The run was asked to stop while it waited.
        """
        deadline = self._clock.monotonic() + PATIENCE
        while not self._locks.take(self._key):
            if self._clock.monotonic() >= deadline:
                msg = (
                    f"{self._what} is being synced by another run{self._holder()}. Nothing of it was touched. Run this "
                    "again when that one has ended; if it hangs, end it: its lock goes with it."
                )
                raise self._error(msg)
            self._clock.sleep(POLL)
        self._sign()

    def check(self) -> None:
        """See whether the lock is still held.

        Raises:
            TargetStatsigError: It was lost, and another run may be at work.
        """
        if not self._locks.holds(self._key):
            msg = (
                f"{self._what} is not locked for this run any more: its lock was taken away (the store's server ended "
                "the connection, or the lock's file is gone). It is left as it is; the next run goes on from there."
            )
            raise self._error(msg)

    def release(self) -> None:
        """Let the lock go; nothing happens where it is not held."""
        self._locks.let_go(self._key)

    def _sign(self) -> None:
        """Say who is at work, for the message of whoever comes meanwhile."""
        signature = {
            "run_id": self._run_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": self._clock.time(),
        }
        with self._lane.writing() as connection:
            statement = insert_into(connection, LOCKS).values(**self._row, **signature)
            connection.execute(statement.on_conflict_do_update(index_elements=[*self._row], set_=signature))

    def _holder(self) -> str:
        query = select(LOCKS.c.run_id, LOCKS.c.pid, LOCKS.c.host, LOCKS.c.since).filter_by(**self._row)
        with self._lane.reading() as connection:
            found = connection.execute(query).one_or_none()
        if found is None:
            return ""
        since = datetime.fromtimestamp(found.since, tz=UTC).isoformat(timespec="seconds")
        return f" ({found.run_id}, process {found.pid} on {found.host}, since {since})"


class StoredRequestLog:
    """The times of list mutations in one Statsig project, for all runs; see `client.rate_limit.RequestLog`."""

    def __init__(self, lane: Lane, project: int, *, keep: float) -> None:
        """Begin with what other runs have recorded.

        Args:
            lane: The connection to use.
            project: The project's number in the store.
            keep: Seconds for which a request is remembered: the longest window.
        """
        self._lane = lane
        self._project = project
        self._keep = keep

    def reserve(self, decide: Callable[[Sequence[float]], float], now: float) -> float:
        """Record a request, if it may be made now; no other run reserves meanwhile.

        Args:
            decide: Takes the times of the recent requests (seconds since 1970, ascending) and returns how many
                seconds the next has to wait; 0.0 where it may go.
            now: The time to record, in seconds since 1970.

        Returns:
            What `decide` returned; the request is recorded where that is 0.0.

        Raises:
            StoreError: The database failed.
        """
        ours = REQUESTS.c.project == self._project
        with self._lane.writing() as connection:
            # SQLite has one writer anyhow; in PostgreSQL the project's row is what runs queue up for.
            connection.execute(select(PROJECTS).where(PROJECTS.c.project == self._project).with_for_update())
            connection.execute(delete(REQUESTS).where(ours, REQUESTS.c.at < now - self._keep))
            times = connection.execute(select(REQUESTS.c.at).where(ours).order_by(REQUESTS.c.at)).scalars().all()
            wait = decide(times)
            if wait == 0.0:
                connection.execute(insert(REQUESTS).values(project=self._project, at=now))
            return wait
