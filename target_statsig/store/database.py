"""The database of `store_url`, SQLite or PostgreSQL: connections and transactions.

Statements are text that both understand; `:name` stands for a value. Lists of ids travel as one JSON value, which the
database unfolds: twice as fast as one value per id. Ids hold neither NUL nor lone surrogates.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sqlite3
import stat
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.config.paths import make_private
from target_statsig.errors import StoreError
from target_statsig.store.tables import create_tables
from target_statsig.store.url import DAMAGED, sqlite_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from target_statsig.clock import Clock
    from target_statsig.store.url import StoreUrl

PAGE = 10_000
"""Rows read at a time while a table is walked: about a megabyte of ids."""

PATIENCE = 30.0
"""Seconds to wait for the server, and for another run's transaction before the store counts as locked; ours take less
than one."""

FILE_MODE = 0o600

_CACHE_KIB = 8 * 1024
"""Page cache of a connection, and the most that a sort holds in memory. More does not help: with four times as much,
comparing ten million unordered ids takes longer."""

_WAL_BYTES = 64 * 1024 * 1024
"""Size of the write-ahead log after a burst, in bytes."""

_CHECKPOINT_PAGES = 8_192
"""Pages of 4 KB in the write-ahead log before they are written to the file, while the writer waits. Rows deleted before
that are never written; SQLite's default of 1,000 fills up earlier."""

_CHECKED_BYTES = 64 * 1024 * 1024
"""Files up to this size are checked for damage when they are opened, in under half a second."""

_PRAGMAS = (
    # A killed process loses nothing. A power cut may lose the last transactions but does not damage the file.
    "synchronous = NORMAL",
    f"journal_size_limit = {_WAL_BYTES}",
    f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"cache_size = -{_CACHE_KIB}",
    # Keep ten million staged ids on disk, whatever the default of this SQLite build.
    "temp_store = FILE",
    f"temp.cache_size = -{_CACHE_KIB}",
    # Some builds overwrite deleted data, which temporary files do not need.
    "temp.secure_delete = OFF",
)

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

_PAUSE = 0.05
"""Seconds between two attempts to switch to the write-ahead log."""


class Connection:
    """One connection, for one thread at a time. A broken one is opened again at its next use.

    Every method raises StoreError if the database fails or cannot be reached.

    Attributes:
        turn: Held while a statement or a transaction runs.
        is_listed: After a column, the condition that its value is in the JSON list `:ids` of `as_list`.
    """

    def __init__(self, url: StoreUrl, connect: Callable[[], Any], error: type[Exception]) -> None:
        """Connect; `connect` opens a connection that commits each statement outside a BEGIN."""
        self.url = url
        self.is_sqlite = url.path is not None
        listed = f"SELECT value FROM {self.unfolded(':ids')}"
        # An array is unfolded once. Of a query PostgreSQL makes a join, which without statistics goes through the whole
        # list for every row.
        self.is_listed = f"IN ({listed})" if self.is_sqlite else f"= ANY (ARRAY ({listed}))"
        self._connect = connect
        self._error = error
        self.turn = threading.RLock()
        self._is_writing = False
        self._driver: Any = None
        self._failure: StoreError | None = None
        try:
            self._driver = connect()
        except error as cause:
            raise self._explained(cause) from None

    def unfolded(self, ids: str) -> str:
        """Return a table `listed` whose column `value` has the ids of a JSON list, which is an expression."""
        if self.is_sqlite:
            return f"json_each({ids}) AS listed"
        return f"json_array_elements_text(CAST({ids} AS JSON)) AS listed (value)"

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement, in its own transaction unless one is open, and return its rows."""
        with self.turn:
            try:
                cursor = self._execute(statement, values)
                return cursor.fetchall() if cursor.description else []
            except self._error as error:
                raise self._explained(error) from None

    def value(self, statement: str, **values: Any) -> Any:
        """Run a statement and return the first value of its first row; None if there is no row."""
        rows = self.run(statement, **values)
        return rows[0][0] if rows else None

    def insert(self, table: str, key: str, **values: Any) -> int:
        """Insert a row and return its number, which the database assigns in the column `key`."""
        statement = insertion(table, tuple(values))
        with self.turn:
            try:
                # SQLite's RETURNING takes twice the time, and older builds lack it.
                cursor = self._execute(statement if self.is_sqlite else f"{statement} RETURNING {key}", values)
                return int(cursor.lastrowid if self.is_sqlite else cursor.fetchone()[0])
            except self._error as error:
                raise self._explained(error) from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Run the block in one writing transaction: all statements take effect, or none if one failed.

        If the block catches the error of a statement, this raises it at the end. A nested block joins the outer
        transaction.
        """
        with self.turn:
            if self._is_writing:
                yield
                return
            # SQLite refuses at once to turn a reading transaction into a writing one, so start it as one.
            self.run("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
            self._is_writing, self._failure = True, None
            try:
                yield
                self._commit()
            except BaseException:
                if self._driver is not None:  # a broken connection has lost its transaction
                    with contextlib.suppress(StoreError):
                        self.run("ROLLBACK")
                raise
            finally:
                self._is_writing = False

    def _commit(self) -> None:
        if self._failure is not None:  # PostgreSQL would accept a COMMIT and keep nothing
            raise self._failure
        self.run("COMMIT")

    def walk(self, query: str, *, key: str = "id", size: int = PAGE, **values: Any) -> Iterator[list[tuple[Any, ...]]]:
        """Yield pages of a query's rows, ordered by its first column. No cursor stays open, so others may write.

        The query ends with its WHERE clause; its first column, called `key`, is unique among its rows.
        """
        condition = ""
        while True:
            page = self.run(f"{query}{condition} ORDER BY {key} LIMIT {size}", **values)
            if page:
                yield page
            if len(page) < size:
                return
            condition, values["after"] = f" AND {key} > :after", page[-1][0]

    def stream(self, query: str, **values: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a PostgreSQL query as the server sends them, within the caller's transaction."""
        try:
            with self.turn, self._driver.cursor("stream") as cursor:
                cursor.itersize = PAGE
                cursor.execute(_for_psycopg(query), values)
                names = [column.name for column in cursor.description]
                yield from (dict(zip(names, row, strict=True)) for row in cursor)
        except self._error as error:
            raise self._explained(error) from None

    def close(self) -> None:
        """Close the connection, which drops its temporary tables."""
        with self.turn, contextlib.suppress(self._error):
            if self._driver is not None:
                self._driver.close()

    def _execute(self, statement: str, values: dict[str, Any]) -> Any:
        if self._driver is None:
            if self._is_writing and self._failure is not None:
                raise self._failure  # the transaction is lost, and the rest of it must not be committed by itself
            self._driver = self._connect()
        return self._driver.execute(statement if self.is_sqlite else _for_psycopg(statement), values or ())

    def _explained(self, error: Exception) -> StoreError:
        """Return the error to raise for the driver's: from None, because the driver's message may quote the row."""
        if getattr(self._driver, "closed", False):
            self._driver = None
        self._failure = self.url.explain(error)
        return self._failure


@functools.cache
def _for_psycopg(statement: str) -> str:
    return re.sub(r":(\w+)", r"%(\1)s", statement)


@functools.cache
def insertion(table: str, columns: tuple[str, ...]) -> str:
    """Return an INSERT of one row with these columns."""
    names, places = ", ".join(f'"{column}"' for column in columns), ", ".join(f":{column}" for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({places})"


def upsertion(table: str, key: Sequence[str], columns: Sequence[str]) -> str:
    """Return an INSERT that replaces the other columns of the row with the same key."""
    replaced = ", ".join(f'"{column}" = excluded."{column}"' for column in columns)
    return f"{insertion(table, (*key, *columns))} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {replaced}"


def as_list(ids: Sequence[str]) -> str:
    """Return ids as one value that the database can unfold."""
    return msgspec.json.encode(ids).decode()


def open_database(url: StoreUrl, clock: Clock) -> Connection:
    """Open a connection to a store's database; create it if necessary.

    Raises:
        StoreError: The database cannot be used, or has the schema of another version.
    """
    size = _own_file(url, url.path) if url.path else 0
    connection = connect(url, clock)
    try:
        if 0 < size <= _CHECKED_BYTES:
            _check_for_damage(connection)
        create_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect(url: StoreUrl, clock: Clock) -> Connection:
    """Open another connection to a database that `open_database` has opened."""
    if url.path is None:
        return connect_postgres(url, PATIENCE)
    return Connection(url, functools.partial(_open_file, url.path, clock), sqlite3.Error)


def _check_for_damage(connection: Connection) -> None:
    if connection.value("PRAGMA quick_check(1)") != "ok":
        msg = f"{connection.url.named} {DAMAGED}"
        raise StoreError(msg)


def _own_file(url: StoreUrl, path: Path) -> int:
    """Create the file and its directory, for this user only, and return the file's size in bytes.

    It does not open an existing file: closing it would drop the locks of this process's other connections.
    """
    try:
        make_private(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
        found = path.stat()
        # SQLite gives the -wal and -shm files beside it the mode of the file itself.
        if stat.S_IMODE(found.st_mode) != FILE_MODE:
            path.chmod(FILE_MODE)
    except OSError as error:
        raise url.explain(error) from None
    return found.st_size


def _open_file(path: Path, clock: Clock) -> sqlite3.Connection:
    driver = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        _use_write_ahead_log(driver, clock)
        for pragma in _PRAGMAS:
            driver.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        driver.close()
        raise
    return driver


def _use_write_ahead_log(driver: sqlite3.Connection, clock: Clock) -> None:
    """Switch the file to the write-ahead log. SQLite refuses at once while another run does the same."""
    deadline = clock.monotonic() + PATIENCE
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if sqlite_code(error) not in _LOCKED or clock.monotonic() >= deadline:
                raise
            clock.sleep(_PAUSE)
        else:
            return


def connect_postgres(url: StoreUrl, patience: float) -> Connection:
    """Open a connection to PostgreSQL, waiting at most `patience` seconds for the server or a transaction.

    The database must be encoded in UTF-8. A pooler must keep a session on one connection, which owns temporary tables
    and locks.

    Raises:
        StoreError: The driver is not installed, or the database cannot be used.
    """
    try:
        import psycopg  # noqa: PLC0415 -- an extra
    except ModuleNotFoundError:
        msg = (
            "`store_url` names a PostgreSQL database, but its driver is missing: pip install 'target-statsig[postgres]'"
        )
        raise StoreError(msg) from None

    def connect() -> psycopg.Connection[Any]:
        timeout = {"connect_timeout": str(max(2, int(patience)))}
        # Prepared statements would outlive the temporary tables that they use.
        made = psycopg.connect(**(timeout | url.parameters), autocommit=True, prepare_threshold=None)  # type: ignore[arg-type]
        if made.info.parameter_status("server_encoding") != "UTF8":
            made.close()
            msg = "`store_url` names a database that is not encoded in UTF-8; create one WITH ENCODING 'UTF8'"
            raise StoreError(msg)
        made.execute(f"SET lock_timeout = {int(patience * 1000)}")
        return made

    return Connection(url, connect, psycopg.Error)
