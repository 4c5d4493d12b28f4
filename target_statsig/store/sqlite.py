"""The embedded store: a SQLite file, its permissions and pragmas, and the lock files that keep other runs out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import NullPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from target_statsig._compat import override
from target_statsig.config.paths import make_private
from target_statsig.store.dialects import damaged, explain, unusable
from target_statsig.store.locks import Locks

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from target_statsig.clock import Clock

_CACHE_KIB = 8 * 1024
"""Page cache of a connection, and the most that a sort holds in memory. Sorting and walking gain nothing by more: ten
million ids in no order are compared in less time than with four times as much."""

_WAL_BYTES = 64 * 1024 * 1024
"""What the write-ahead log is cut back to after a burst, in bytes."""

_CHECKPOINT_PAGES = 8_192
"""Pages of 4 KB in the write-ahead log after which they are brought home, while whoever writes waits for the disk. What
is forgotten until then need not be brought home; SQLite's own 1,000 are full before anything is."""

_CHECKED_BYTES = 64 * 1024 * 1024
"""A file up to this size is checked for damage when it is opened, which takes under half a second."""

_PRAGMAS = (
    # A killed process loses nothing; a power cut may lose the last transactions, and leaves the file whole.
    "synchronous = NORMAL",
    f"journal_size_limit = {_WAL_BYTES}",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"cache_size = -{_CACHE_KIB}",
    # Ten million staged ids belong on disk, whatever this SQLite was built to prefer.
    "temp_store = FILE",
    f"temp.cache_size = -{_CACHE_KIB}",
    # Some builds overwrite what is deleted. What was temporary has no name on the disk, and is not worth the writing.
    "temp.secure_delete = OFF",
)

_MODE = 0o600

_PAUSE = 0.05
"""Seconds between two attempts to switch to the write-ahead log."""


def engine(url: URL, clock: Clock, patience: float) -> Engine:
    """Return an engine for a SQLite file, which is created where there is none.

    Args:
        url: `sqlite:///path`.
        clock: The run's clock.
        patience: Seconds to wait for another run's transaction.

    Raises:
        StoreError: The file cannot be made or opened, or it is damaged.
    """
    size = _own_file(url)
    made = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        # Transactions are begun by the hook below: sqlite3 itself would begin them late, and none for a CREATE.
        connect_args={"timeout": patience, "check_same_thread": False, "isolation_level": None},
    )

    def prepare(driver_connection: sqlite3.Connection, _record: object) -> None:
        _use_write_ahead_log(driver_connection, clock, patience)
        for pragma in _PRAGMAS:
            driver_connection.execute(f"PRAGMA {pragma}").fetchall()

    event.listen(made, "connect", prepare)
    event.listen(made, "begin", _begin)
    if 0 < size <= _CHECKED_BYTES:
        _check(made)
    return made


def _own_file(url: URL) -> int:
    """Make the file and its directory, for this user's eyes only, and return its size in bytes.

    A file that is there is not opened: to close it again would take away the locks that another connection of this
    process holds on it.
    """
    path = Path(str(url.database))
    try:
        make_private(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE))
        found = path.stat()
        # SQLite gives the -wal and -shm files beside it the mode of the file itself.
        if stat.S_IMODE(found.st_mode) != _MODE:
            path.chmod(_MODE)
    except OSError as error:
        raise unusable(url, error) from None
    return found.st_size


def _use_write_ahead_log(driver_connection: sqlite3.Connection, clock: Clock, patience: float) -> None:
    """Switch the file over, which SQLite refuses without waiting while another run does the same."""
    deadline = clock.monotonic() + patience
    while True:
        try:
            driver_connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.monotonic() >= deadline:
                raise
            clock.sleep(_PAUSE)
        else:
            return


def _begin(connection: Connection) -> None:
    begin = connection.info.pop("begin", "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)


def _check(made: Engine) -> None:
    try:
        with made.connect() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except SQLAlchemyError as error:
        raise explain(error, made.url) from None
    if verdict != "ok":
        raise damaged(made.url)


class FileLocks(Locks):
    """A file beside the database for each lock; the system lets go of it when the process that holds it ends.

    A file is never removed: between its removal and its making anew two runs could hold it.
    """

    def __init__(self, url: URL) -> None:
        """Take the URL of the database; no file is made yet."""
        self._url = url
        self._held: dict[bytes, int] = {}

    @override
    def take(self, key: bytes) -> bool:
        if key in self._held:
            return False
        try:
            descriptor = os.open(self._path(key), os.O_RDWR | os.O_CREAT, _MODE)
        except OSError as error:
            raise unusable(self._url, error) from None
        if not self._lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return False
        self._held[key] = descriptor
        return True

    @override
    def is_free(self, key: bytes) -> bool:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise unusable(self._url, error) from None
        # Shared, so that two that only look do not see each other; it goes at once.
        is_free = self._lock(descriptor, fcntl.LOCK_SH)
        os.close(descriptor)
        return is_free

    @override
    def holds(self, key: bytes) -> bool:
        descriptor = self._held.get(key)
        if descriptor is None:
            return False
        try:
            return os.path.samestat(os.fstat(descriptor), self._path(key).stat())
        except OSError:
            return False

    @override
    def let_go(self, key: bytes) -> None:
        descriptor = self._held.pop(key, None)
        if descriptor is not None:
            os.close(descriptor)

    @override
    def close(self) -> None:
        for key in list(self._held):
            self.let_go(key)

    def _path(self, key: bytes) -> Path:
        return Path(f"{self._url.database}-{key.hex()}.lock")

    def _lock(self, descriptor: int, how: int) -> bool:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            os.close(descriptor)
            raise unusable(self._url, error) from None
        return True
