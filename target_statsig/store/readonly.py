"""Reading a store without changing it: a copy for a dry run, and what `--check`, `--status` and `--verify` read.

It takes no lock that another run would wait for, leaves no file beside the store and makes no table. A copy is a
SQLite file, whatever the original is.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import msgspec

from target_statsig.config.paths import may_exist, may_make
from target_statsig.errors import StoreError
from target_statsig.store.database import PAGE, PATIENCE, Connection, StoreUrl, connect_postgres, insertion
from target_statsig.store.locks import open_locks
from target_statsig.store.store import Store, open_database
from target_statsig.store.tables import (
    OWNED,
    VERSION,
    Command,
    PastRun,
    SegmentFacts,
    SentItems,
    columns,
    has_tables,
)

if TYPE_CHECKING:
    from pathlib import Path

    from target_statsig.clock import Clock

LOOK_PATIENCE = 2.0
"""Seconds to wait for the database, and for a transaction of a run that is under way."""


def open_copy(store_url: str, directory: Path, *, clock: Clock, project: str, run_id: str) -> Store:
    """Open a copy of the store, made in `directory`; the store itself stays as it is, and none is created.

    The arguments are those of `Store`. A copy takes as much room, and has locks of its own; of a shared database only
    the project's rows are copied.

    Raises:
        StoreError: The store cannot be read.
    """
    url, copy = StoreUrl.parse(store_url), directory / "store.db"
    copy_url = f"sqlite:///{copy}"
    try:
        if url.path is None:
            _copy_project(url, copy, project, clock)
        else:
            _copy_file(url, url.path, copy)
        return Store(copy_url, clock=clock, project=project, run_id=run_id)
    except StoreError as error:
        # What is wrong with the copy is wrong with the store, and that is what a user knows.
        raise StoreError(str(error).replace(copy_url, url.place)) from None


def _copy_project(url: StoreUrl, copy: Path, project: str, clock: Clock) -> None:
    """Copy a project's rows from PostgreSQL; where there is no store, no file is made."""
    ours = "SELECT project FROM target_statsig_projects WHERE identity = :identity"
    with closing(connect_postgres(url, PATIENCE)) as source:
        # One picture of all tables, and not a row locked.
        source.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if not has_tables(source):
            return
        with closing(open_database(StoreUrl.parse(f"sqlite:///{copy}"), clock)) as target, target.writing():
            for name, owner in OWNED.items():
                table, owners = f"target_statsig_{name}", ours
                if owner != "project":
                    owners = f"SELECT {owner} FROM target_statsig_{owner}s WHERE project IN ({ours})"
                found = target.run("SELECT name FROM pragma_table_info(:table)", table=table)
                names = tuple(column for (column,) in found)
                selected = ", ".join(f'"{column}"' for column in names)
                rows_of_project = f"SELECT {selected} FROM {table} WHERE {owner} IN ({owners})"
                source.run(f"DECLARE {name} CURSOR FOR {rows_of_project}", identity=project)
                while rows := source.run(f"FETCH {PAGE} FROM {name}"):
                    for row in rows:
                        target.run(insertion(table, names), **dict(zip(names, row, strict=True)))


def _copy_file(url: StoreUrl, original: Path, copy: Path) -> None:
    try:
        if not original.exists():
            return
        if not _log_bytes(original):
            # SQLite would leave files of its own beside the store.
            before = original.stat()
            shutil.copyfile(original, copy)
            after = original.stat()
            if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                return
        source = sqlite3.connect(_uri(original, "mode=ro"), uri=True)
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except (sqlite3.Error, OSError) as error:
        raise url.explain(error) from None


def _uri(path: Path, how: str) -> str:
    return f"file:{quote(str(path))}?{how}"


def _log_bytes(path: Path) -> int:
    """Return the size of the log of changes beside a file; 0 means that no run writes it."""
    try:
        return _log(path).stat().st_size
    except OSError:
        return 0


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


class HeldMembers(NamedTuple):
    """How many members of a mirrored segment are gone from its stream and were not removed, and since when.

    The time is in seconds since 1970; the stream is None where it is not known.
    """

    members: int
    since: float
    stream: str | None


class Holder(NamedTuple):
    """A run that is at work since a time, in seconds since 1970; `name` is the kind and name of what it has locked."""

    name: str
    run_id: str
    host: str
    pid: int
    since: float


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the store remembers of a Statsig project, the last run first.

    Attributes:
        place: Its URL without password.
        version: The version of its schema; None where there is no store yet.
        writable: Whether this user may write it, or make it where there is none.
        size: Its bytes, with those of other projects.
        segments: What it remembers of segments, by Statsig id, as `held` and `kept` (the number of changes) have it.
    """

    place: str
    version: int | None = None
    writable: bool = True
    size: int = 0
    segments: dict[str, SegmentFacts] = field(default_factory=dict)
    runs: list[PastRun] = field(default_factory=list)
    held: dict[str, HeldMembers] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    holders: list[Holder] = field(default_factory=list)


def read_store_status(store_url: str, *, project: str) -> StoreStatus:
    """Read what the store remembers of a project, and whether this user may write it. It is not created.

    Raises:
        StoreError: The URL cannot be used, the database cannot be reached, or is no store of this version.
    """
    url = StoreUrl.parse(store_url)
    if url.path is None:
        opened = connect_postgres(url, LOOK_PATIENCE)
    elif may_exist(url.path):
        opened = Connection(url, functools.partial(_open_file, url.path), sqlite3.Error)
    else:
        return StoreStatus(url.place, writable=may_make(url.path))
    with closing(opened) as connection:
        version = VERSION if has_tables(connection) else None
        writable = _may_change(url.path) if url.path else _may_write(connection, version)
        if version is None:
            return StoreStatus(url.place, writable=writable)
        status = StoreStatus(url.place, version, writable, _size(connection, url.path))
        return _with_rows(status, connection, project)


def _with_rows(status: StoreStatus, connection: Connection, identity: str) -> StoreStatus:
    ours = "WHERE project = :project"
    number = connection.value("SELECT project FROM target_statsig_projects WHERE identity = :id", id=identity)
    rows = functools.partial(connection.run, project=number)  # no row has the number None
    segments = rows(f"SELECT name, {columns(SegmentFacts)} FROM target_statsig_segments {ours}")
    runs = rows(f"SELECT ended_at, command, report, sent FROM target_statsig_runs {ours} ORDER BY run DESC")
    held = rows(
        "SELECT name, count(*), min(missing_since), fed_by FROM target_statsig_segments "
        f"JOIN target_statsig_members USING (segment) {ours} AND missing_since IS NOT NULL "
        "GROUP BY name, fed_by ORDER BY name"
    )
    kept = rows(
        "SELECT name, count(*) FROM target_statsig_segments JOIN target_statsig_pending USING (segment) "
        f"{ours} GROUP BY name ORDER BY name"
    )
    holders = rows(f"SELECT name, run_id, host, pid, since FROM target_statsig_locks {ours} ORDER BY since")
    with closing(open_locks(connection.url, identity, LOOK_PATIENCE)) as locks:
        at_work = [Holder(*holder) for holder in holders if not locks.is_free(holder[0])]
    return replace(
        status,
        segments={name: SegmentFacts(*facts) for name, *facts in segments},
        runs=[
            PastRun(at, Command(command), json.loads(report), sent and msgspec.convert(json.loads(sent), SentItems))
            for at, command, report, sent in runs
        ],
        held={name: HeldMembers(*counts) for name, *counts in held},
        kept=dict(kept),
        holders=at_work,
    )


def _open_file(path: Path) -> sqlite3.Connection:
    # Where SQLite may write, it deletes its own files beside the store when it is closed. Elsewhere it must need none.
    how = "mode=ro&immutable=1" if not (_log_bytes(path) or _may_change(path)) else "mode=rw"
    return sqlite3.connect(_uri(path, how), uri=True, timeout=LOOK_PATIENCE, isolation_level=None)


def _may_change(path: Path) -> bool:
    """Return whether this user may write a file, its directory, and its log where there is one."""
    log = [place for place in [_log(path)] if os.access(place, os.F_OK)]
    return all(os.access(place, os.W_OK, effective_ids=True) for place in (path, path.parent, *log))


def _may_write(connection: Connection, version: int | None) -> bool:
    right = "has_schema_privilege(current_schema(), 'CREATE')"
    if version is not None:
        table = "'target_statsig_segments'"
        right = " AND ".join(f"has_table_privilege({table}, '{right}')" for right in ("INSERT", "UPDATE", "DELETE"))
    return bool(connection.value(f"SELECT {right} AND current_setting('transaction_read_only') <> 'on'"))


def _size(connection: Connection, path: Path | None) -> int:
    if path is not None:
        return path.stat().st_size + _log_bytes(path)
    tables = "relkind = 'r' AND left(relname, 15) = 'target_statsig_' AND pg_table_is_visible(oid)"
    return int(connection.value(f"SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class WHERE {tables}"))
