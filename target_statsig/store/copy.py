"""A copy of a store, to be thrown away: for a run that may not change anything and shall know what a run would know.

Owns how a store is read without a trace: no lock that another run would wait for, no file left beside the store's. The
copy is a SQLite file, whatever the original is. Refuses to know what is done with it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from target_statsig.exceptions import StoreError
from target_statsig.store import postgres
from target_statsig.store.engine import parse_url
from target_statsig.store.errors import explain, named
from target_statsig.store.schema import bring_up_to_date, has_this_version
from target_statsig.store.tables import METADATA, PROJECTS, SEGMENTS, STREAMS

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

    from target_statsig.clock import Clock

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
