"""What runs share: locks of segments and streams, and the times of list changes.

The locks (`Locks`) are files beside a SQLite database, or PostgreSQL's advisory locks. They end with the process.
"""

from __future__ import annotations

import fcntl
import functools
import os
import socket
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from target_statsig.clock import iso_time
from target_statsig.errors import StoreError
from target_statsig.store.database import FILE_MODE, connect_postgres, upsertion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.errors import TargetStatsigError
    from target_statsig.store.database import Connection, StoreUrl

PATIENCE = 10.0
"""Seconds to wait for another run that holds the lock: it may be sending its last requests."""

POLL = 1.0
"""Seconds between two tries."""

_SILENCE = (("tcp_keepalives_idle", 30), ("tcp_keepalives_interval", 10), ("tcp_keepalives_count", 3))
"""Keep-alives, so that the server drops the locks of a vanished machine after a minute, not two hours."""


class Locks(Protocol):
    """The locks of one Statsig project, by name. They end with their process, however it ends. Thread-safe."""

    held: dict[str, int]
    """What the locks that were taken here, and not released, are held by."""

    def take(self, name: str) -> bool:
        """Take a lock that was not taken here yet, and return whether it was free."""

    def is_free(self, name: str) -> bool:
        """Return whether a lock is free, without taking it."""

    def holds(self, name: str) -> bool:
        """Return whether a lock taken here is still held."""

    def release(self, name: str) -> None:
        """Release a lock, if it is held."""

    def close(self) -> None:
        """Release all locks."""


class FileLocks(Locks):
    """A file beside the database for each lock; the system releases it when the process that holds it ends.

    Files are never deleted: two runs could hold the lock between a deletion and the next creation.
    """

    def __init__(self, url: StoreUrl, project: str) -> None:
        self._url = url
        # Cached, because `holds` is asked before every request.
        self._path = functools.cache(lambda name: Path(f"{url.path}-{_digest(project, name).hex()}.lock"))
        self.held: dict[str, int] = {}

    @override
    def take(self, name: str) -> bool:
        descriptor = self._locked(self._path(name), os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX)
        if descriptor is not None:
            self.held[name] = descriptor
        return descriptor is not None

    @override
    def is_free(self, name: str) -> bool:
        path = self._path(name)
        if not path.exists():
            return True
        # Shared, so that two tests do not see each other; released at once.
        descriptor = self._locked(path, os.O_RDONLY, fcntl.LOCK_SH)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    @override
    def holds(self, name: str) -> bool:
        try:
            return os.path.samestat(os.fstat(self.held[name]), self._path(name).stat())
        except (KeyError, OSError):
            return False

    @override
    def release(self, name: str) -> None:
        if name in self.held:
            os.close(self.held.pop(name))

    @override
    def close(self) -> None:
        for name in list(self.held):
            self.release(name)

    def _locked(self, path: Path, flags: int, how: int) -> int | None:
        """Return the descriptor of a file that was opened and locked; None where another holds its lock."""
        descriptor = None
        try:
            descriptor = os.open(path, flags, FILE_MODE)
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except OSError as error:
            if descriptor is not None:
                os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise self._url.explain(error) from None
        return descriptor


class SessionLocks(Locks):
    """PostgreSQL's advisory locks, in their own session; the server releases them when it ends."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project
        self.held: dict[str, int] = {}
        for parameter, value in _SILENCE:
            connection.run(f"SET {parameter} = {value}")

    @override
    def take(self, name: str) -> bool:
        query = "SELECT pg_try_advisory_lock(:key), pg_backend_pid()"
        ((is_taken, session),) = self._connection.run(query, key=self._number(name))
        if is_taken:
            self.held[name] = session
        return bool(is_taken)

    @override
    def is_free(self, name: str) -> bool:
        # It goes at once, with the statement's own transaction.
        return bool(self._connection.value("SELECT pg_try_advisory_xact_lock_shared(:key)", key=self._number(name)))

    @override
    def holds(self, name: str) -> bool:
        # A broken connection was opened again, and the new session holds no lock.
        try:
            return bool(self._connection.value("SELECT pg_backend_pid()") == self.held.get(name))
        except StoreError:
            return False

    @override
    def release(self, name: str) -> None:
        if self.held.pop(name, None) is not None:
            self._connection.run("SELECT pg_advisory_unlock(:key)", key=self._number(name))

    @override
    def close(self) -> None:
        self.held.clear()
        self._connection.close()

    def _number(self, name: str) -> int:
        return int.from_bytes(_digest(self._project, name), "big", signed=True)


def open_locks(url: StoreUrl, project: str, patience: float) -> Locks:
    """Open the locks of a project, by its identity; wait at most `patience` seconds for the server."""
    return FileLocks(url, project) if url.path else SessionLocks(connect_postgres(url, patience), project)


def _digest(project: str, name: str) -> bytes:
    """Return 8 bytes that stand for a lock, as many as PostgreSQL's numbers of locks have."""
    return blake2b(f"{project}\n{name}".encode(), digest_size=8).digest()


@dataclass(slots=True)
class Lock:
    """The lock of one segment or stream, held by this run until it is released or the store is closed.

    Attributes:
        what: A phrase for messages, such as "Stream 'orders'".
        error: Makes the error if the lock cannot be taken, or was lost.
        is_taken: Whether it was taken here.
    """

    connection: Connection
    locks: Locks
    project: int
    run_id: str
    clock: Clock
    name: str
    what: str
    error: Callable[[str], TargetStatsigError]
    is_taken: bool = False

    def acquire(self) -> None:
        """Take the lock, waiting up to PATIENCE seconds for a run that holds it, and record the holder for others.

        Raises:
            TargetStatsigError: Another run holds it.
            InterruptedRunError: The run was asked to stop while it waited.
        """
        deadline = self.clock.monotonic() + PATIENCE
        # PostgreSQL would give a session its own lock again.
        while self.name in self.locks.held or not self.locks.take(self.name):
            if self.clock.monotonic() >= deadline:
                msg = (
                    f"{self.what} is being synced by another run{self._holder()}. This run did not touch it. Run "
                    "again when that run has ended. If it hangs, end it; that also releases its lock."
                )
                raise self.error(msg)
            self.clock.sleep(POLL)
        self.is_taken = True
        holder = {"run_id": self.run_id, "host": socket.gethostname(), "pid": os.getpid(), "since": self.clock.time()}
        statement = upsertion("target_statsig_locks", ("project", "name"), tuple(holder))
        self.connection.run(statement, project=self.project, name=self.name, **holder)

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            TargetStatsigError: It was lost, so another run may hold it.
        """
        if not self.locks.holds(self.name):
            msg = (
                f"{self.what} is no longer locked for this run: the store's server closed the connection, or the "
                "lock's file is gone. It stays as it is; the next run goes on from there."
            )
            raise self.error(msg)

    def release(self) -> None:
        """Release the lock, if it was taken here."""
        if self.is_taken:
            self.is_taken = False
            self.locks.release(self.name)

    def _holder(self) -> str:
        query = "SELECT run_id, pid, host, since FROM target_statsig_locks WHERE project = :project AND name = :name"
        for run_id, pid, host, since in self.connection.run(query, project=self.project, name=self.name):
            return f" ({run_id}, process {pid} on {host}, since {iso_time(since)})"
        return ""


@dataclass(frozen=True, slots=True)
class StoredRequestLog:
    """The times of list changes in one Statsig project, over all runs; see `client.rate_limit.RequestLog`.

    Requests are remembered for `keep` seconds, the length of the longest window.
    """

    connection: Connection
    project: int
    keep: float

    def reserve(self, decide: Callable[[Sequence[float]], float], now: float) -> float:
        """Record a request if it may be made now, as `RequestLog.reserve` does; no other run reserves meanwhile."""
        run, project = self.connection.run, self.project
        with self.connection.writing():
            if not self.connection.is_sqlite:
                # SQLite has one writer at a time. In PostgreSQL, runs queue for the project's row.
                run("SELECT 1 FROM target_statsig_projects WHERE project = :project FOR UPDATE", project=project)
            outdated = "DELETE FROM target_statsig_requests WHERE project = :project AND at < :oldest"
            run(outdated, project=project, oldest=now - self.keep)
            times = run("SELECT at FROM target_statsig_requests WHERE project = :project ORDER BY at", project=project)
            wait = decide([at for (at,) in times])
            if wait == 0.0:
                run("INSERT INTO target_statsig_requests (project, at) VALUES (:project, :at)", project=project, at=now)
            return wait
