"""The store's tables, the version of their schema, and how an older store is migrated.

Every name has a prefix, so that a PostgreSQL database may be shared with others. Ids compare by code point
everywhere: SQLite's BINARY does so by default, PostgreSQL does under COLLATE "C" in a UTF-8 database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.store.database import Connection

_TYPES = {
    True: {"number": "INTEGER", "counter": "INTEGER", "blob": "BLOB", "by_code_point": "", "keyed": "WITHOUT ROWID"},
    False: {
        "number": "SERIAL",
        "counter": "BIGSERIAL",
        "blob": "BYTEA",
        "by_code_point": 'COLLATE "C"',
        "keyed": "",
    },
}
"""What SQLite (True) and PostgreSQL call differently."""

_LOCKS = """
    CREATE TABLE target_statsig_locks (
        project INTEGER NOT NULL, name TEXT NOT NULL,
        run_id TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, since DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (project, name)
    )
"""
"""Who was at work last on a segment or a stream; whether that run still is, the lock itself shows."""

_HOLDS = """
    CREATE TABLE target_statsig_holds (
        segment INTEGER NOT NULL PRIMARY KEY, run_id TEXT NOT NULL, stream TEXT NOT NULL, state TEXT NOT NULL,
        "before" BIGINT NOT NULL, members BIGINT NOT NULL, removals BIGINT NOT NULL, "current" BIGINT NOT NULL,
        rejected BIGINT NOT NULL, doubt TEXT NOT NULL
    )
"""
"""What the last run of a mirrored segment left undone; no row: nothing. Who is held is marked among the members."""

_RUNS = (
    """
    CREATE TABLE target_statsig_runs (
        run {counter} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, ended_at DOUBLE PRECISION NOT NULL,
        command TEXT NOT NULL, report TEXT NOT NULL, sent TEXT
    )
    """,
    "CREATE INDEX target_statsig_runs_project ON target_statsig_runs (project, run)",
)
"""The last runs, each with its report as JSON; `sent`: names of events and exposures, of the last run that had any."""

_SCHEMA = (
    "CREATE TABLE target_statsig_version (version INTEGER NOT NULL)",
    # Statsig projects; every other row belongs to one of them.
    "CREATE TABLE target_statsig_projects (project {number} NOT NULL PRIMARY KEY, identity TEXT NOT NULL UNIQUE)",
    # Segments, by their Statsig id, and what is remembered of each; `known`: the members are the whole list.
    """
    CREATE TABLE target_statsig_segments (
        segment {number} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, name TEXT NOT NULL, known BOOLEAN NOT NULL,
        fed_by TEXT, list_version BIGINT, expected_count BIGINT, last_sync_at DOUBLE PRECISION, last_status TEXT,
        last_added BIGINT, last_removed BIGINT, list_read_at DOUBLE PRECISION,
        UNIQUE (project, name)
    )
    """,
    # Members that Statsig has; `ours` were added by this target; `missing_since` is in seconds since 1970.
    """
    CREATE TABLE target_statsig_members (
        segment INTEGER NOT NULL, id TEXT {by_code_point} NOT NULL,
        ours BOOLEAN NOT NULL, missing_since DOUBLE PRECISION,
        PRIMARY KEY (segment, id)
    ) {keyed}
    """,
    """
    CREATE INDEX target_statsig_members_missing ON target_statsig_members (segment, missing_since)
    WHERE missing_since IS NOT NULL
    """,
    _HOLDS,
    # Changes that rows asked for and that an earlier run did not come to send.
    """
    CREATE TABLE target_statsig_pending (
        segment INTEGER NOT NULL, id TEXT {by_code_point} NOT NULL, member BOOLEAN NOT NULL, PRIMARY KEY (segment, id)
    ) {keyed}
    """,
    _LOCKS,
    # When list mutations were sent, in seconds since 1970: the rate windows outlive a process.
    """
    CREATE TABLE target_statsig_requests (
        request {counter} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL
    )
    """,
    "CREATE INDEX target_statsig_requests_at ON target_statsig_requests (project, at)",
    # Streams of events, the STATE that was written last for each, and the epoch of the one before it.
    """
    CREATE TABLE target_statsig_streams (
        stream {number} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, name TEXT NOT NULL,
        state_epoch BIGINT, state_kind TEXT, state_bookmark TEXT {by_code_point}, before_epoch BIGINT,
        UNIQUE (project, name)
    )
    """,
    # The delivery ledger: one row for each request's records, 16 bytes a record.
    """
    CREATE TABLE target_statsig_batches (
        batch {counter} NOT NULL PRIMARY KEY, stream INTEGER NOT NULL, run_id TEXT NOT NULL,
        acknowledged BOOLEAN NOT NULL, epoch BIGINT NOT NULL, kind TEXT, highest TEXT {by_code_point},
        at DOUBLE PRECISION NOT NULL, digests {blob} NOT NULL
    )
    """,
    "CREATE INDEX target_statsig_batches_stream ON target_statsig_batches (stream, batch)",
    "CREATE INDEX target_statsig_batches_epoch ON target_statsig_batches (stream, epoch)",
    *_RUNS,
)

OWNED = {
    "projects": "project",
    "segments": "project",
    "requests": "project",
    "streams": "project",
    "locks": "project",
    "runs": "project",
    "members": "segment",
    "holds": "segment",
    "pending": "segment",
    "batches": "stream",
}
"""The tables whose rows belong to a Statsig project, and the column that shows which one: by itself, or by its segment
or stream."""


MIGRATIONS: tuple[tuple[str, ...], ...] = (
    # Only three columns of segments (agreed_…) are not used any more.
    (),
    # The database itself keeps others out: of locks only their holders' names are left.
    ("DROP TABLE target_statsig_locks", _LOCKS),
    # Of older rows the STATE before the last is not known.
    ("ALTER TABLE target_statsig_streams ADD COLUMN before_epoch BIGINT",),
    # What runs held before this is not known.
    (_HOLDS,),
    (),
    # When a list was read before this is not known.
    ("ALTER TABLE target_statsig_segments ADD COLUMN list_read_at DOUBLE PRECISION",),
    _RUNS,
)
"""The statements of step n (from 0) take a store from version n + 1 to version n + 2. An empty step lets an older
target-statsig, which needs the columns that are gone, refuse a store that lacks them."""

_RACE = 0x7A67_7374
"""Key of the advisory lock under which a PostgreSQL schema is made: any number that others are unlikely to use."""


def bring_up_to_date(connection: Connection) -> None:
    """Create the schema, or bring it to this version.

    Raises:
        StoreError: The store was written by a newer target-statsig.
    """
    if has_this_version(connection):
        return
    with connection.writing():
        if not connection.is_sqlite:
            connection.run("SELECT pg_advisory_xact_lock(:race)", race=_RACE)
        # Another run may have done it meanwhile.
        version = read_version(connection)
        if version is None:
            _run_all(connection, _SCHEMA)
            connection.run("INSERT INTO target_statsig_version (version) VALUES (:newest)", newest=newest())
            return
        for step in MIGRATIONS[version - 1 :]:
            _run_all(connection, step)
        connection.run("UPDATE target_statsig_version SET version = :newest", newest=newest())


def _run_all(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.run(statement.format(**_TYPES[connection.is_sqlite]))


def has_this_version(connection: Connection) -> bool:
    """Return whether the store has the schema of this version; False where it has none yet, or an older one.

    Raises:
        StoreError: The store was written by a newer target-statsig.
    """
    version = read_version(connection)
    if version is not None and version > newest():
        msg = (
            f"{connection.url.named} was written by a newer target-statsig (schema {version}; this one knows "
            f"{newest()}); upgrade target-statsig, or set `store_url` to another store"
        )
        raise StoreError(msg)
    return version == newest()


def read_version(connection: Connection) -> int | None:
    """Return the version of the store's schema; None where it has none yet."""
    if connection.is_sqlite:
        there = connection.value("SELECT 1 FROM sqlite_master WHERE name = 'target_statsig_version'")
    else:
        # Not to_regclass: it may still say no though another run has just made it.
        there = connection.value(
            "SELECT 1 FROM pg_class WHERE relname = 'target_statsig_version' AND pg_table_is_visible(oid)"
        )
    version: int | None = there and connection.value("SELECT version FROM target_statsig_version")
    return version


def newest() -> int:
    """Return the version that this target-statsig writes."""
    return len(MIGRATIONS) + 1
