"""Reading a store without changing it: a copy for a dry run, and a look at it for a check.

It takes no lock that another run would wait for, leaves no file beside the store and makes no table. A copy is a
SQLite file, whatever the original is.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from target_statsig.errors import StoreError
from target_statsig.store.database import Connection, Database, connect_postgres, insertion
from target_statsig.store.tables import OWNED, has_this_version, newest, read_version
from target_statsig.store.url import StoreUrl
from target_statsig.store.values import SegmentFacts, columns

if TYPE_CHECKING:
    from pathlib import Path

    from target_statsig.clock import Clock

PATIENCE = 2.0
"""Seconds to wait for the database, and for a transaction of a run that is under way."""


def copy_store(store_url: str, copy: Path, *, clock: Clock, project: str, patience: float) -> None:
    """Copy a store into a file, which takes as much room; where there is no store, no file is made.

    Of a shared database only the rows of `project` are copied.

    Raises:
        StoreError: The store cannot be read.
    """
    url = StoreUrl.parse(store_url)
    if url.path is not None:
        _copy_file(url, url.path, copy)
        return
    with closing(connect_postgres(url, patience)) as source:
        # One picture of all tables, and not a row locked.
        source.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if has_this_version(source):
            _copy_rows(source, copy, project, clock)
        elif read_version(source) is not None:
            msg = (
                f"{url.named} was written by an older target-statsig (this one writes schema {newest()}), and a dry "
                "run cannot bring it up to date: let a run do so first"
            )
            raise StoreError(msg)


def _copy_file(url: StoreUrl, original: Path, copy: Path) -> None:
    log = original.with_name(f"{original.name}-wal")
    try:
        if not original.exists():
            return
        if not log.exists() or not log.stat().st_size:
            # There is no writer. Where SQLite knows that, it leaves no files of its own beside the store.
            before = original.stat()
            with suppress(sqlite3.Error):
                _back_up(original, copy, "mode=ro&immutable=1")
                after = original.stat()
                if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                    return
        _back_up(original, copy, "mode=ro")
    except (sqlite3.Error, OSError) as error:
        raise url.explain(error) from None


def _back_up(original: Path, copy: Path, how: str) -> None:
    with (
        closing(sqlite3.connect(f"file:{quote(str(original))}?{how}", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _copy_rows(source: Connection, copy: Path, project: str, clock: Clock) -> None:
    ours = "SELECT project FROM target_statsig_projects WHERE identity = :identity"
    with closing(Database(f"sqlite:///{copy}", clock=clock, patience=PATIENCE)) as database:
        for table, owner in OWNED.items():
            owners = (
                ours if owner == "project" else f"SELECT {owner} FROM target_statsig_{owner}s WHERE project IN ({ours})"
            )
            # Not all that are there: a store that is older than this version may have columns that nothing uses now.
            named = database.quick.run(f"SELECT name FROM pragma_table_info('target_statsig_{table}')")
            columns = ", ".join(f'"{name}"' for (name,) in named)
            statement = f"SELECT {columns} FROM target_statsig_{table} WHERE {owner} IN ({owners})"
            with database.quick.writing():
                for row in source.stream(statement, identity=project):
                    database.quick.run(insertion(f"target_statsig_{table}", tuple(row)), **row)


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


def look_at(store_url: str, *, project: str) -> StoreLook:
    """Look at the store.

    Raises:
        StoreError: The URL cannot be used, the database cannot be reached, or is no store of this target.
    """
    url = StoreUrl.parse(store_url)
    opened = open_there(url)
    if opened is None:
        return StoreLook(url.place, None, writable=url.path is not None and _may_make(url.path))
    with closing(opened) as connection:
        version = read_version(connection)
        segments = {}
        if version == newest():
            tables = "target_statsig_segments JOIN target_statsig_projects USING (project)"
            query = f"SELECT name, {columns(SegmentFacts)} FROM {tables} WHERE identity = :project"
            segments = {name: SegmentFacts(*facts) for name, *facts in connection.run(query, project=project)}
        writable, busy = _may_write(connection, version)
        return StoreLook(url.place, version, writable=writable, busy=busy, segments=segments)


def open_there(url: StoreUrl) -> Connection | None:
    """Open a database that is there; return None where there is no file yet.

    Raises:
        StoreError: It cannot be reached.
    """
    if url.path is None:
        return connect_postgres(url, PATIENCE)
    return Connection(url, functools.partial(_open_file, url.path), sqlite3.Error) if url.path.exists() else None


def _may_make(path: Path) -> bool:
    """Return whether a file, and the directories that it lacks, can be made."""
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _open_file(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None)


def _may_write(connection: Connection, version: int | None) -> tuple[bool, bool]:
    """Return whether this user may write, and whether that could not be tried since another run was writing."""
    if not connection.is_sqlite:
        right = "has_schema_privilege(current_schema(), 'CREATE')"
        if version is not None:
            table = "'target_statsig_segments'"
            right = " AND ".join(f"has_table_privilege({table}, '{right}')" for right in ("INSERT", "UPDATE", "DELETE"))
        return bool(connection.value(f"SELECT {right} AND current_setting('transaction_read_only') <> 'on'")), False
    try:
        connection.run("BEGIN IMMEDIATE")
    except StoreError as error:
        return "cannot be written" not in str(error), "kept busy" in str(error)
    connection.run("ROLLBACK")
    return True, False
