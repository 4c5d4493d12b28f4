"""Reading a store without changing it: a copy for a dry run, and a look at it for a check.

No lock that another run would wait for, no file left beside the store's, no table made. A copy is a SQLite file,
whatever the original is.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import NullPool, and_, create_engine, event, func, insert, inspect, literal, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from target_statsig.errors import StoreError
from target_statsig.store import postgres
from target_statsig.store.database import parse_url
from target_statsig.store.dialects import explain, named
from target_statsig.store.facts import all_facts
from target_statsig.store.tables import (
    METADATA,
    PROJECTS,
    SEGMENTS,
    STREAMS,
    VERSION,
    bring_up_to_date,
    has_this_version,
    newest,
)

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from target_statsig.clock import Clock
    from target_statsig.store.values import SegmentFacts

PATIENCE = 2.0
"""Seconds to wait for the database, and for a transaction of a run that is under way."""

_ROWS = 10_000
"""Rows that are read and written together: about a megabyte."""


def copy_store(store_url: str, copy: Path, *, clock: Clock, project: str, patience: float) -> None:
    """Copy a store into a file; where there is no store, there will be no file, and none is made.

    Args:
        store_url: `sqlite:///…` or `postgresql+psycopg://…`.
        copy: The file; it takes as much room as the store.
        clock: The run's clock.
        project: The identity of the Statsig project; of a shared database only its rows are copied.
        patience: Seconds to wait for the database.

    Raises:
        StoreError: The store cannot be read.
    """
    url = parse_url(store_url)
    if url.get_backend_name() == "sqlite":
        _copy_file(url, copy)
        return
    engine = postgres.engine(url, clock, patience)
    try:
        # One picture of all tables, and not a row locked.
        with engine.connect() as plain:
            source = plain.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            if has_this_version(source, named(url)):
                _copy_rows(source, copy, project)
    except SQLAlchemyError as error:
        raise explain(error, url) from None
    finally:
        engine.dispose()


def _copy_file(url: URL, copy: Path) -> None:
    original = Path(str(url.database))
    log = original.with_name(f"{original.name}-wal")
    try:
        if not original.exists():
            return
        if not log.exists() or not log.stat().st_size:
            # Nobody writes. Where SQLite is told so, it leaves no files of its own beside the store.
            before = original.stat()
            with suppress(sqlite3.Error):
                _back_up(original, copy, "mode=ro&immutable=1")
                after = original.stat()
                if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                    return
        _back_up(original, copy, "mode=ro")
    except sqlite3.Error as error:
        raise explain(OperationalError(None, None, error), url) from None
    except OSError as error:
        msg = f"{named(url)} cannot be read ({error.strerror}); let this user read it, or change store_url"
        raise StoreError(msg) from None


def _back_up(original: Path, copy: Path, how: str) -> None:
    with (
        closing(sqlite3.connect(f"file:{quote(str(original))}?{how}", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _copy_rows(source: Connection, copy: Path, project: str) -> None:
    ours = select(PROJECTS.c.project).where(PROJECTS.c.identity == project)
    owners = {
        "project": ours,
        "segment": select(SEGMENTS.c.segment).where(SEGMENTS.c.project.in_(ours)),
        "stream": select(STREAMS.c.stream).where(STREAMS.c.project.in_(ours)),
    }
    engine = create_engine(f"sqlite:///{copy}", hide_parameters=True)
    with engine.begin() as target:
        bring_up_to_date(target, str(copy))
        for table in METADATA.sorted_tables:
            owner = next((name for name in owners if name in table.c), None)
            if owner is None:
                continue
            rows = select(table).where(table.c[owner].in_(owners[owner]))
            found = source.execution_options(yield_per=_ROWS).execute(rows)
            for page in found.mappings().partitions():
                target.execute(insert(table), [dict(row) for row in page])
    engine.dispose()


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
