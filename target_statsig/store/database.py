"""Opening the database of `store_url`, and transactions on it. Every error of a database leaves as a StoreError."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from target_statsig.errors import StoreError
from target_statsig.store import postgres, sqlite
from target_statsig.store.dialects import explain, named
from target_statsig.store.tables import bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection

    from target_statsig.clock import Clock
    from target_statsig.store.locks import Locks


class Lane:
    """One connection, which one thread at a time uses."""

    def __init__(self, connection: Connection) -> None:
        """Take a connection for this lane alone."""
        self._connection = connection
        self._turn = threading.RLock()
        self.dialect = connection.dialect
        self.is_sqlite = self.dialect.name == "sqlite"

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a transaction that reads, and may write what is temporary; it never waits for another run.

        Raises:
            StoreError: The database failed.
        """
        with self._turn, self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, *, is_one_statement: bool = False) -> Iterator[Connection]:
        """Give a transaction that writes: all of it is kept, or after an exception nothing.

        Args:
            is_one_statement: Whether it is a single statement, which both databases run in a transaction of its own: to
                begin and to commit one would take longer than the statement.

        Raises:
            StoreError: The database failed.
        """
        # SQLite would refuse at once, without waiting, to turn a reading transaction into a writing one.
        begin = "" if is_one_statement else "BEGIN IMMEDIATE"
        with self._turn, self._transaction(begin) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        connection = self._connection
        try:
            connection.info["begin"] = begin
            commits_itself = contextlib.nullcontext() if begin or self.is_sqlite else postgres.autocommit(connection)
            with commits_itself, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            # `from None`: the driver's words may hold the row at fault.
            raise explain(error, connection.engine.url) from None

    def close(self) -> None:
        """Give the connection back, and with it every temporary table."""
        with self._turn, contextlib.suppress(SQLAlchemyError):
            self._connection.close()


class Database:
    """An open database with this version's schema, and `quick`, the lane for what is answered at once."""

    def __init__(self, store_url: str, *, clock: Clock, patience: float) -> None:
        """Open the database; create it, or bring it up to date.

        Args:
            store_url: `sqlite:///…` or `postgresql+psycopg://…`.
            clock: The run's clock.
            patience: Seconds to wait for another run's transaction.

        Raises:
            StoreError: The URL is of no use, or the database is.
        """
        url = parse_url(store_url)
        driver = sqlite if url.get_backend_name() == "sqlite" else postgres
        self._engine = driver.engine(url, clock, patience)
        self._lanes: list[Lane] = []
        self._locks: list[Locks] = []
        self.quick = self.lane()
        try:
            with self.quick.writing() as connection:
                bring_up_to_date(connection, named(url))
        except StoreError:
            self.close()
            raise

    def lane(self) -> Lane:
        """Open one more connection.

        Raises:
            StoreError: The database cannot be reached.
        """
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            raise explain(error, self._engine.url) from None
        lane = Lane(connection)
        self._lanes.append(lane)
        return lane

    def keep(self, locks: Locks) -> Locks:
        """Keep locks until the database is closed."""
        self._locks.append(locks)
        return locks

    def close(self) -> None:
        """Close every lane, and let all locks go."""
        for locks in self._locks:
            locks.close()
        for lane in self._lanes:
            lane.close()
        self._engine.dispose()


def open_locks(store_url: str, *, clock: Clock, patience: float) -> Locks:
    """Open the locks of a store.

    Args:
        store_url: `sqlite:///…` or `postgresql+psycopg://…`.
        clock: The run's clock.
        patience: Seconds to wait for the server.

    Raises:
        StoreError: The database cannot be reached.
    """
    url = parse_url(store_url)
    if url.get_backend_name() == "sqlite":
        return sqlite.FileLocks(url)
    try:
        return postgres.SessionLocks(Lane(postgres.engine(url, clock, patience).connect()))
    except SQLAlchemyError as error:
        raise explain(error, url) from None


def parse_url(store_url: str) -> URL:
    """Return the store's URL in its parts.

    Raises:
        StoreError: It names no database that could be a store.
    """
    # A database in memory would forget everything, and each connection would have one of its own.
    with contextlib.suppress(ArgumentError):
        url = make_url(store_url)
        if url.drivername in {"sqlite", "sqlite+pysqlite"} and url.database not in {None, "", ":memory:"}:
            return url
        if url.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
            return url.set(drivername="postgresql+psycopg")
    msg = "store_url must read sqlite:///path/to/store.db or postgresql+psycopg://user:password@host/database"
    raise StoreError(msg)
