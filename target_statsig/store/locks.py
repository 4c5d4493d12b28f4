"""What runs share: locks of segments and streams, and the times of list changes.

The locks (`Locks`) are files beside a SQLite database, or PostgreSQL's advisory locks. They end with the process.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from target_statsig.errors import StoreError
from target_statsig.reports.text import iso_time
from target_statsig.store.database import FILE_MODE, connect_postgres, upsertion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.errors import TargetStatsigError
    from target_statsig.store.database import Connection
    from target_statsig.store.url import StoreUrl

PATIENCE = 10.0
"""Seconds to wait for another run that holds the lock: it may be sending its last requests."""

POLL = 1.0
"""Seconds between two tries."""

KEY_BYTES = 8
"""A lock's key: a digest that fits PostgreSQL's lock numbers."""

_SILENCE = (("tcp_keepalives_idle", 30), ("tcp_keepalives_interval", 10), ("tcp_keepalives_count", 3))
"""Keep-alives, so that the server drops the locks of a vanished machine after a minute, not two hours."""


class Locks(Protocol):
    """Locks that end with their process, however it ends. Thread-safe."""

    def take(self, key: bytes) -> bool:
        """Take a lock, and return whether it was free."""

    def is_free(self, key: bytes) -> bool:
        """Return whether a lock is free, without taking it."""

    def holds(self, key: bytes) -> bool:
        """Return whether a lock taken here is still held."""

    def release(self, key: bytes) -> None:
        """Release a lock, if it is held."""

    def close(self) -> None:
        """Release all locks."""


class FileLocks(Locks):
    """A file beside the database for each lock; the system releases it when the process that holds it ends.

    Files are never deleted: two runs could hold the lock between a deletion and the next creation.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._held: dict[bytes, tuple[int, str]] = {}

    @override
    def take(self, key: bytes) -> bool:
        if key in self._held:
            return False
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        except OSError as error:
            raise self._url.explain(error) from None
        if not self._lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return False
        self._held[key] = descriptor, path
        return True

    @override
    def is_free(self, key: bytes) -> bool:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise self._url.explain(error) from None
        # Shared, so that two tests do not see each other; released at once.
        is_free = self._lock(descriptor, fcntl.LOCK_SH)
        os.close(descriptor)
        return is_free

    @override
    def holds(self, key: bytes) -> bool:
        if key not in self._held:
            return False
        descriptor, path = self._held[key]
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116 -- asked before every request
        except OSError:
            return False

    @override
    def release(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            os.close(held[0])

    @override
    def close(self) -> None:
        for key in list(self._held):
            self.release(key)

    def _path(self, key: bytes) -> str:
        return f"{self._url.path}-{key.hex()}.lock"

    def _lock(self, descriptor: int, how: int) -> bool:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            os.close(descriptor)
            raise self._url.explain(error) from None
        return True


class SessionLocks(Locks):
    """PostgreSQL's advisory locks, in their own session; the server releases them when it ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held: dict[bytes, int] = {}
        for parameter, value in _SILENCE:
            connection.run(f"SET {parameter} = {value}")

    @override
    def take(self, key: bytes) -> bool:
        if key in self._held:
            return False  # the server lets a session take a lock twice
        query = "SELECT pg_try_advisory_lock(:key), pg_backend_pid()"
        ((is_taken, session),) = self._connection.run(query, key=_number(key))
        if is_taken:
            self._held[key] = session
        return bool(is_taken)

    @override
    def is_free(self, key: bytes) -> bool:
        # It goes at once, with the statement's own transaction.
        return bool(self._connection.value("SELECT pg_try_advisory_xact_lock_shared(:key)", key=_number(key)))

    @override
    def holds(self, key: bytes) -> bool:
        # A broken connection was opened again, and the new session holds no lock.
        try:
            session = self._connection.value("SELECT pg_backend_pid()")
        except StoreError:
            return False
        return bool(self._held.get(key) == session)

    @override
    def release(self, key: bytes) -> None:
        if self._held.pop(key, None) is not None:
            self._connection.run("SELECT pg_advisory_unlock(:key)", key=_number(key))

    @override
    def close(self) -> None:
        self._held.clear()
        self._connection.close()


def open_locks(url: StoreUrl, patience: float) -> Locks:
    """Open the locks of a store; wait at most `patience` seconds for the server."""
    return FileLocks(url) if url.path is not None else SessionLocks(connect_postgres(url, patience))


def key_of(project: str, name: str) -> bytes:
    """Return the key of a lock from the Statsig project's identity and the lock's name."""
    return blake2b(f"{project}\n{name}".encode(), digest_size=KEY_BYTES).digest()


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big", signed=True)


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of one segment or stream, held by this run until it is released or the store is closed.

    Attributes:
        connection: Where to record and read the holder of the lock.
        locks: What keeps others out.
        only_look: Whether only to test the lock, without taking it.
        key: What `key_of` gives for its name.
        project: The project's number in the store.
        what: A phrase for messages, such as "Stream 'orders'".
        error: Makes the error if the lock cannot be taken, or was lost.
    """

    connection: Connection
    locks: Locks
    only_look: bool
    key: bytes
    project: int
    name: str
    what: str
    error: Callable[[str], TargetStatsigError]
    run_id: str
    clock: Clock

    def acquire(self) -> None:
        """Take the lock; wait up to PATIENCE seconds for a run that holds it.

        Raises:
            TargetStatsigError: Another run holds it.
            InterruptedRunError: The run was asked to stop while it waited.
        """
        deadline = self.clock.monotonic() + PATIENCE
        while not (self.locks.is_free(self.key) if self.only_look else self.locks.take(self.key)):
            if self.clock.monotonic() >= deadline:
                msg = (
                    f"{self.what} is being synced by another run{self._holder()}. This run did not touch it. Run "
                    "again when that run has ended. If it hangs, end it; that also releases its lock."
                )
                raise self.error(msg)
            self.clock.sleep(POLL)
        self._sign()

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            TargetStatsigError: It was lost, so another run may hold it.
        """
        if not (self.only_look or self.locks.holds(self.key)):
            msg = (
                f"{self.what} is no longer locked for this run: the store's server closed the connection, or the "
                "lock's file is gone. It stays as it is; the next run goes on from there."
            )
            raise self.error(msg)

    def release(self) -> None:
        """Release the lock, if it is held."""
        self.locks.release(self.key)

    def _sign(self) -> None:
        """Record the holder, for the message of another run."""
        signature = {
            "run_id": self.run_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": self.clock.time(),
        }
        statement = upsertion("target_statsig_locks", ("project", "name"), tuple(signature))
        self.connection.run(statement, project=self.project, name=self.name, **signature)

    def _holder(self) -> str:
        query = "SELECT run_id, pid, host, since FROM target_statsig_locks WHERE project = :project AND name = :name"
        found = self.connection.run(query, project=self.project, name=self.name)
        if not found:
            return ""
        ((run_id, pid, host, since),) = found
        return f" ({run_id}, process {pid} on {host}, since {iso_time(since)})"


class StoredRequestLog:
    """The times of list changes in one Statsig project, over all runs; see `client.rate_limit.RequestLog`.

    Requests are remembered for `keep` seconds, the length of the longest window.
    """

    def __init__(self, connection: Connection, project: int, *, keep: float) -> None:
        self._connection = connection
        self._project = project
        self._keep = keep

    def reserve(self, decide: Callable[[Sequence[float]], float], now: float) -> float:
        """Record a request if it may be made now, as `RequestLog.reserve` does; no other run reserves meanwhile."""
        run, project = self._connection.run, self._project
        with self._connection.writing():
            if not self._connection.is_sqlite:
                # SQLite has one writer at a time. In PostgreSQL, runs queue for the project's row.
                run("SELECT 1 FROM target_statsig_projects WHERE project = :project FOR UPDATE", project=project)
            outdated = "DELETE FROM target_statsig_requests WHERE project = :project AND at < :oldest"
            run(outdated, project=project, oldest=now - self._keep)
            times = run("SELECT at FROM target_statsig_requests WHERE project = :project ORDER BY at", project=project)
            wait = decide([at for (at,) in times])
            if wait == 0.0:
                run("INSERT INTO target_statsig_requests (project, at) VALUES (:project, :at)", project=project, at=now)
            return wait
