"""The shared store: a PostgreSQL database, its connections' parameters, and the locks by which runs exclude each other.

The database must speak UTF-8, and a pooler in between must leave a session its connection: what a run
gathers stands in temporary tables, and its locks are the session's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import NullPool, create_engine, event, func, select, text

from target_statsig._compat import override
from target_statsig.errors import StoreError
from target_statsig.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine

    from target_statsig.clock import Clock
    from target_statsig.store.database import Lane

_SILENCE = (("tcp_keepalives_idle", 30), ("tcp_keepalives_interval", 10), ("tcp_keepalives_count", 3))
"""A machine that vanishes says no goodbye: the server lets its locks go after a minute, and not after two hours."""


def engine(url: URL, _clock: Clock, patience: float) -> Engine:
    """Return an engine for a PostgreSQL database.

    Args:
        url: `postgresql+psycopg://…`.
        _clock: Not needed: the server does the waiting.
        patience: Seconds to wait for the server, and for another run's transaction.

    Raises:
        StoreError: The driver is not installed.
    """
    try:
        made = create_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            # Prepared statements would outlive the temporary tables they were made for.
            connect_args={"connect_timeout": max(2, int(patience)), "prepare_threshold": None},
        )
    except ModuleNotFoundError:
        msg = "store_url names a PostgreSQL database, and its driver is missing: pip install 'target-statsig[postgres]'"
        raise StoreError(msg) from None

    def prepare(driver_connection: Any, _record: object) -> None:
        if driver_connection.info.parameter_status("server_encoding") != "UTF8":
            msg = "store_url names a database that is not encoded in UTF-8; create one WITH ENCODING 'UTF8'"
            raise StoreError(msg)
        driver_connection.execute(f"SET lock_timeout = {int(patience * 1000)}")
        driver_connection.commit()

    event.listen(made, "connect", prepare)
    return made


@contextlib.contextmanager
def autocommit(connection: Connection) -> Iterator[None]:
    """Let a single statement be a transaction of its own: one round trip to the server instead of three."""
    driver_connection: Any = connection.connection.driver_connection
    driver_connection.autocommit = True
    try:
        yield
    finally:
        if not driver_connection.closed:
            driver_connection.autocommit = False


class SessionLocks(Locks):
    """Advisory locks of a session of their own; the server lets go of them when it ends."""

    def __init__(self, lane: Lane) -> None:
        """Take a connection that nothing else uses."""
        self._lane = lane
        self._held: dict[bytes, int] = {}
        with lane.reading() as connection:
            for parameter, value in _SILENCE:
                connection.execute(text(f"SET {parameter} = {value}"))

    @override
    def take(self, key: bytes) -> bool:
        if key in self._held:
            return False  # the server would let a session have it twice
        with self._lane.reading() as connection:
            query = select(func.pg_try_advisory_lock(_number(key)), func.pg_backend_pid())
            is_taken, session = connection.execute(query).one()
        if is_taken:
            self._held[key] = session
        return bool(is_taken)

    @override
    def is_free(self, key: bytes) -> bool:
        with self._lane.reading() as connection:
            query = select(func.pg_try_advisory_xact_lock_shared(_number(key)))
            return bool(connection.execute(query).scalar_one())

    @override
    def holds(self, key: bytes) -> bool:
        # A connection that broke is made anew unasked, and the new session holds nothing.
        try:
            with self._lane.reading() as connection:
                session = connection.execute(select(func.pg_backend_pid())).scalar_one()
        except StoreError:
            return False
        return bool(self._held.get(key) == session)

    @override
    def let_go(self, key: bytes) -> None:
        if self._held.pop(key, None) is not None:
            with self._lane.reading() as connection:
                connection.execute(select(func.pg_advisory_unlock(_number(key))))

    @override
    def close(self) -> None:
        self._held.clear()
        self._lane.close()


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big", signed=True)
