"""A look at the store without a trace: is it there, of which version, can it be written, what does it say of segments?

Makes no file and no table, and ends every transaction without having written. Refuses to bring an old store up to date.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import NullPool, and_, create_engine, event, func, inspect, literal, select
from sqlalchemy.exc import SQLAlchemyError

from target_statsig.store import postgres
from target_statsig.store.engine import parse_url
from target_statsig.store.errors import explain
from target_statsig.store.facts import SegmentFacts, all_facts
from target_statsig.store.schema import newest
from target_statsig.store.tables import SEGMENTS, VERSION

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from target_statsig.clock import Clock

PATIENCE = 2.0
"""Seconds to wait for the database, and for a transaction of a run that is under way."""


@dataclass(frozen=True, slots=True)
class StoreLook:
    """What a look at the store showed.

    Attributes:
        place: Its URL without password.
        version: The version of its schema; None where there is no store yet.
        newest: The version that this target-statsig writes.
        writable: Whether this user may write it, or make it where there is none.
        busy: Whether another run is writing just now, so that `writable` is taken for granted.
        segments: What it remembers of the project's segments, by Statsig id.
    """

    place: str
    version: int | None
    newest: int = field(default_factory=newest)
    writable: bool = True
    busy: bool = False
    segments: dict[str, SegmentFacts] = field(default_factory=dict)


def look_at(store_url: str, *, project: str, clock: Clock) -> StoreLook:
    """Look at the store.

    Args:
        store_url: `sqlite:///…` or `postgresql+psycopg://…`.
        project: The identity of the Statsig project.
        clock: For its waits.

    Raises:
        StoreError: The URL is of no use, the database cannot be reached, or is none of ours.
    """
    url = parse_url(store_url)
    place = url.set(query={}).render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        if not path.exists():
            return StoreLook(place, None, writable=_may_make(path))
        engine = _sqlite(path)
    else:
        engine = postgres.engine(url, clock, PATIENCE)
    try:
        return _look(engine, url, place, project)
    finally:
        engine.dispose()


def _may_make(path: Path) -> bool:
    """Return whether a file, and the directories that it lacks, can be made."""
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _sqlite(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None)

    made = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return made


def _look(engine: Engine, url: URL, place: str, project: str) -> StoreLook:
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(VERSION.name):
                return StoreLook(place, None, writable=_may_create_tables(connection))
            version = connection.execute(select(VERSION.c.version)).scalar_one()
            segments = all_facts(connection, project) if version == newest() else {}
            connection.rollback()
            writable, busy = _may_write(connection)
            return StoreLook(place, version, writable=writable, busy=busy, segments=segments)
    except SQLAlchemyError as error:
        # `from None`: the driver's words may hold the row at fault.
        raise explain(error, url) from None


def _may_create_tables(connection: Connection) -> bool:
    if connection.dialect.name == "sqlite":
        return _may_write(connection)[0]
    allowed = func.has_schema_privilege(func.current_schema(), literal("CREATE"))
    return bool(connection.execute(select(allowed)).scalar_one()) and not _is_read_only(connection)


def _may_write(connection: Connection) -> tuple[bool, bool]:
    """Return whether this user may write, and whether that could not be tried since another run was writing."""
    if connection.dialect.name != "sqlite":
        rights = [func.has_table_privilege(SEGMENTS.name, literal(right)) for right in ("INSERT", "UPDATE", "DELETE")]
        return bool(connection.execute(select(and_(*rights))).scalar_one()) and not _is_read_only(connection), False
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        driver.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return "readonly" not in str(error), "locked" in str(error)
    driver.execute("ROLLBACK")
    return True, False


def _is_read_only(connection: Connection) -> bool:
    return bool(connection.execute(select(func.current_setting("transaction_read_only") == "on")).scalar_one())
