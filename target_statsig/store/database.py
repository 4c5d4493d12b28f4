"""The database of `store_url`, SQLite or PostgreSQL: its connections, transactions and errors.

Statements are text that both understand; `:name` stands for a value. Lists of ids travel as one JSON value, which the
database unfolds: twice as fast as one value per id. Ids hold neither NUL nor lone surrogates.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import msgspec

from target_statsig.config.paths import store_file
from target_statsig.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

PAGE = 10_000
"""Rows read or written at a time, if no request sets their number: about a megabyte of ids."""

PATIENCE = 30.0
"""Seconds to wait for the server, and for another run's transaction before the store counts as locked; ours take less
than one."""

FILE_MODE = 0o600

_POSTGRES_URL = re.compile(
    r"postgres(?:ql)?(?:\+psycopg)?://(?:(?P<user>[^:/?]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]*))(?::(?P<port>[^/?]*))?(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
)

_MOVE_ASIDE = (
    "move the file away and run again. The run then reads the members of segments from Statsig again; recent events "
    "may be sent twice"
)

_LET_WRITE = "let this user write the file and its directory, or change `store_url`"

DAMAGED = f"is damaged; {_MOVE_ASIDE}"

_SQLITE_CAUSES: Mapping[int, str] = {
    sqlite3.SQLITE_NOTADB: f"is not a SQLite database; set `store_url` to another file, or {_MOVE_ASIDE}",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    **dict.fromkeys(
        (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
        "is locked by another run; wait for that run, or give this job its own `store_url`",
    ),
    sqlite3.SQLITE_READONLY: f"cannot be written; {_LET_WRITE}",
    sqlite3.SQLITE_CANTOPEN: f"cannot be opened; {_LET_WRITE}",
    sqlite3.SQLITE_FULL: (
        "has no room left on its disk, or on the disk for temporary files; free some room, set `store_url` to another "
        "disk, or SQLITE_TMPDIR to another directory"
    ),
    sqlite3.SQLITE_IOERR: "cannot be read or written (disk I/O error); check the disk, or change `store_url`",
}
"""What SQLite's errors mean here, by `sqlite_code`."""


def sqlite_code(error: Exception) -> int | None:
    """Return the primary code of an error of SQLite (https://sqlite.org/rescode.html); None if it has none."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A `store_url`: its place without password and query, SQLite's file or None, the parameters of psycopg."""

    place: str
    path: Path | None
    parameters: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Parse a `store_url`; raise StoreError if it names no database that could be a store."""
        # None of a database in memory: it would forget everything, and each connection would have one of its own.
        if (path := store_file(url)) is not None:
            return cls(url.partition("?")[0], path, {})
        if found := _POSTGRES_URL.fullmatch(url):
            given = {name: unquote(value) for name, value in found.groupdict().items() if value and name != "query"}
            # By place and not by what is there: a password may hold a question mark, too.
            place = url if found["query"] is None else url[: found.start("query") - 1]
            if "password" in given:
                place = f"{place[: found.start('password')]}***{place[found.end('password') :]}"
            if "ipv6" in given:
                given["host"] = given.pop("ipv6")
            return cls(place, None, given | dict(parse_qsl(found["query"] or "")))
        msg = "`store_url` must be sqlite:///path/to/store.db or postgresql+psycopg://user:password@host/database"
        raise StoreError(msg)

    def error(self, what: str) -> StoreError:
        """Return an error about the store; `what` is the rest of a sentence after its name."""
        return StoreError(f"the store of `store_url` ({self.place}) {what}")

    def explain(self, error: Exception) -> StoreError:
        """Return what to raise instead of an error of the database or the system: one sentence with the remedy.

        It quotes neither a statement nor a value: a driver's message only where it is about the database and not rows.
        """
        if isinstance(error, OSError):
            return self.error(f"cannot be opened ({error.strerror or type(error).__name__}); {_LET_WRITE}")
        if (cause := _SQLITE_CAUSES.get(sqlite_code(error) or 0)) is not None:
            return self.error(cause)
        # These are about connections, disks and permissions; messages of other errors may hold the row at fault.
        if {"OperationalError", "ProgrammingError"} & {kind.__name__ for kind in type(error).__mro__}:
            message, *_ = str(error).strip().splitlines() or [""]
            remedy = "check `store_url`, that the database is up, and that its user may create and write tables"
            return self.error(f"cannot be used: {message}; {remedy}")
        state = getattr(error, "sqlstate", None)
        cause = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
        return self.error(f"failed ({cause}); check the database's log, or set `store_url` to another store")


class Connection:
    """One connection, for one thread at a time. A broken one is opened again at its next use.

    Every method raises StoreError if the database fails or cannot be reached.

    Attributes:
        turn: Held while a statement or a transaction runs.
        is_listed: After a column, the condition that its value is in the JSON list `:ids` of `as_list`.
    """

    def __init__(self, url: StoreUrl, connect: Callable[[], Any], error: type[Exception]) -> None:
        """Take what opens a connection that commits each statement outside a BEGIN. It is opened at its first use."""
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

    def unfolded(self, ids: str) -> str:
        """Return a table `listed` whose column `value` has the ids of a JSON list, which is an expression."""
        if self.is_sqlite:
            return f"json_each({ids}) AS listed"
        return f"json_array_elements_text(CAST({ids} AS JSON)) AS listed (value)"

    def run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement, in its own transaction unless one is open, and return its rows."""
        with self._explained():
            cursor = self._execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, **values: Any) -> Any:
        """Run a statement and return the first value of its first row; None if there is no row."""
        rows = self.run(statement, **values)
        return rows[0][0] if rows else None

    def insert(self, table: str, key: str, *rows: Mapping[str, Any]) -> list[int]:
        """Insert rows of the same columns; return their numbers, which the database assigns in the column `key`."""
        statement = insertion(table, tuple(rows[0]), "?" if self.is_sqlite else "%s", len(rows))
        values = [value for row in rows for value in row.values()]
        with self._explained():
            # SQLite's RETURNING takes twice the time, and older builds lack it.
            cursor = self._execute(statement if self.is_sqlite else f"{statement} RETURNING {key}", values)
            if self.is_sqlite:
                return [*range(cursor.lastrowid - len(rows) + 1, cursor.lastrowid + 1)]
            return [int(number) for (number,) in cursor]

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Run the block in one writing transaction: all statements take effect, or none if the block raises.

        The block must not catch the error of a statement. A nested block joins the outer transaction.
        """
        with self.turn:
            if self._is_writing:
                yield
                return
            # SQLite refuses at once to turn a reading transaction into a writing one, so start it as one.
            self.run("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
            self._is_writing = True
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                if self._driver is not None:  # a broken connection has lost its transaction
                    with contextlib.suppress(StoreError):
                        self.run("ROLLBACK")
                raise
            finally:
                self._is_writing = False

    def walk(self, query: str, *, key: str = "id", size: int, **values: Any) -> Iterator[list[tuple[Any, ...]]]:
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

    def close(self) -> None:
        """Close the connection, which drops its temporary tables."""
        with self.turn, contextlib.suppress(self._error):
            if self._driver is not None:
                self._driver.close()

    def _execute(self, statement: str, values: dict[str, Any] | list[Any]) -> Any:
        if self._driver is None:
            self._driver = self._connect()
        return self._driver.execute(statement if self.is_sqlite else _for_psycopg(statement), values or ())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        with self.turn:
            try:
                yield
            except self._error as error:
                if getattr(self._driver, "closed", False):
                    self._driver = None
                raise self.url.explain(error) from None  # the driver's message may quote the row


@functools.cache
def _for_psycopg(statement: str) -> str:
    return re.sub(r":(\w+)", r"%(\1)s", statement)


@functools.cache
def insertion(table: str, columns: tuple[str, ...], place: str | None = None, rows: int = 1) -> str:
    """Return an INSERT of rows with these columns; `place` stands for a value, else `:column` does."""
    names, row = ", ".join(f'"{column}"' for column in columns), ", ".join(place or f":{name}" for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES {', '.join([f'({row})'] * rows)}"


def upsertion(table: str, key: Sequence[str], columns: Sequence[str]) -> str:
    """Return an INSERT that replaces the other columns of the row with the same key."""
    replaced = ", ".join(f'"{column}" = excluded."{column}"' for column in columns)
    return f"{insertion(table, (*key, *columns))} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {replaced}"


def as_list(ids: Sequence[str]) -> str:
    """Return ids as one value that the database can unfold."""
    return msgspec.json.encode(ids).decode()


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
        msg = "`store_url` names a PostgreSQL database, which needs a driver: pip install 'target-statsig[postgres]'"
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
