"""The store's tables, the version of their schema, and what others read from their rows.

Every name has a prefix, so that a PostgreSQL database may be shared with others. Ids compare by code point
everywhere: SQLite's BINARY does so by default, PostgreSQL does under COLLATE "C" in a UTF-8 database.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import ObjectType
from target_statsig.reports.report import ItemCounts

if TYPE_CHECKING:
    from target_statsig.reports.report import RunReport
    from target_statsig.store.database import Connection

_TYPES = {
    True: {"number": "INTEGER", "blob": "BLOB", "by_code_point": "", "keyed": "WITHOUT ROWID"},
    False: {"number": "BIGSERIAL", "blob": "BYTEA", "by_code_point": 'COLLATE "C"', "keyed": ""},
}
"""What SQLite (True) and PostgreSQL call differently."""

_SCHEMA = """
CREATE TABLE target_statsig_version (version INTEGER NOT NULL);

-- Statsig projects. Every other row belongs to one of them.
CREATE TABLE target_statsig_projects (project {number} NOT NULL PRIMARY KEY, identity TEXT NOT NULL UNIQUE);

-- Segments, by their Statsig id, and what is remembered of each. If `known`, the members are the whole list.
CREATE TABLE target_statsig_segments (
    segment {number} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, name TEXT NOT NULL, known BOOLEAN NOT NULL,
    fed_by TEXT, list_version BIGINT, expected_count BIGINT, last_sync_at DOUBLE PRECISION,
    list_read_at DOUBLE PRECISION, UNIQUE (project, name)
);

-- Members that Statsig has. This target added those that are `ours`. `missing_since` is in seconds since 1970.
CREATE TABLE target_statsig_members (
    segment INTEGER NOT NULL, id TEXT {by_code_point} NOT NULL, ours BOOLEAN NOT NULL, missing_since DOUBLE PRECISION,
    PRIMARY KEY (segment, id)
) {keyed};
CREATE INDEX target_statsig_members_missing ON target_statsig_members (segment, missing_since)
    WHERE missing_since IS NOT NULL;

-- What the last run of a mirrored segment left undone, if anything. Who is held is marked among the members.
CREATE TABLE target_statsig_holds (
    segment INTEGER NOT NULL PRIMARY KEY, run_id TEXT NOT NULL, stream TEXT NOT NULL, state TEXT NOT NULL,
    "before" BIGINT NOT NULL, members BIGINT NOT NULL, removals BIGINT NOT NULL, "current" BIGINT NOT NULL,
    rejected BIGINT NOT NULL, doubt TEXT NOT NULL
);

-- Changes that rows asked for and that an earlier run did not come to send.
CREATE TABLE target_statsig_pending (
    segment INTEGER NOT NULL, id TEXT {by_code_point} NOT NULL, member BOOLEAN NOT NULL, PRIMARY KEY (segment, id)
) {keyed};

-- Who was at work last on a segment or a stream. The lock itself shows whether that run still is.
CREATE TABLE target_statsig_locks (
    project INTEGER NOT NULL, name TEXT NOT NULL, run_id TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
    since DOUBLE PRECISION NOT NULL, PRIMARY KEY (project, name)
);

-- When list mutations were sent, in seconds since 1970. The rate windows outlive a process.
CREATE TABLE target_statsig_requests (
    request {number} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, at DOUBLE PRECISION NOT NULL
);
CREATE INDEX target_statsig_requests_at ON target_statsig_requests (project, at);

-- Streams of events, the STATE that was written last for each, and the epoch of the one before it.
CREATE TABLE target_statsig_streams (
    stream {number} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, name TEXT NOT NULL, state_epoch BIGINT,
    state_kind TEXT, state_bookmark TEXT {by_code_point}, before_epoch BIGINT, UNIQUE (project, name)
);

-- The delivery ledger, with one row for each request's records, 16 bytes a record.
CREATE TABLE target_statsig_batches (
    batch {number} NOT NULL PRIMARY KEY, stream INTEGER NOT NULL, run_id TEXT NOT NULL, acknowledged BOOLEAN NOT NULL,
    epoch BIGINT NOT NULL, kind TEXT, highest TEXT {by_code_point}, at DOUBLE PRECISION NOT NULL,
    digests {blob} NOT NULL
);
CREATE INDEX target_statsig_batches_stream ON target_statsig_batches (stream, batch);

-- The last runs, each with its report as JSON. `sent` has names of events and exposures, of the last run that had any.
CREATE TABLE target_statsig_runs (
    run {number} NOT NULL PRIMARY KEY, project INTEGER NOT NULL, ended_at DOUBLE PRECISION NOT NULL,
    command TEXT NOT NULL, report TEXT NOT NULL, sent TEXT
);
CREATE INDEX target_statsig_runs_project ON target_statsig_runs (project, run)
"""

OWNED = {
    **dict.fromkeys(("projects", "segments", "requests", "streams", "locks", "runs"), "project"),
    **dict.fromkeys(("members", "holds", "pending"), "segment"),
    "batches": "stream",
}
"""The tables whose rows belong to a Statsig project, and the column that shows which one: by itself, or by its segment
or stream."""

VERSION = 8
"""The version of the schema, which is recorded in the store."""


def create_tables(connection: Connection) -> None:
    """Create the tables where there are none.

    Raises:
        StoreError: The store has the schema of another version.
    """
    if has_tables(connection):
        return
    with connection.writing():
        if not connection.is_sqlite:
            connection.run("SELECT pg_advisory_xact_lock(2053600116)")  # a number that others are unlikely to use
        # Another run may have done it meanwhile.
        if has_tables(connection):
            return
        for statement in _SCHEMA.format(**_TYPES[connection.is_sqlite]).split(";"):
            connection.run(statement)
        connection.run("INSERT INTO target_statsig_version (version) VALUES (:version)", version=VERSION)


def has_tables(connection: Connection) -> bool:
    """Return whether the database has the store's tables.

    Raises:
        StoreError: They have the schema of another version.
    """
    query = "SELECT 1 FROM sqlite_master WHERE name = 'target_statsig_version'"
    if not connection.is_sqlite:
        # Not to_regclass: it may still say no though another run has just made it.
        query = "SELECT 1 FROM pg_class WHERE relname = 'target_statsig_version' AND pg_table_is_visible(oid)"
    if not connection.value(query):
        return False
    version = connection.value("SELECT version FROM target_statsig_version")
    if version == VERSION:
        return True
    age, upgrade = ("a newer", "upgrade target-statsig, or ") if version > VERSION else ("an older", "")
    what = f"was written by {age} target-statsig (schema {version}; this one knows {VERSION})"
    msg = f"{what}; {upgrade}set `store_url` to another store"
    raise connection.url.error(msg)


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Facts about a segment, and its last sync; None stands for what was never recorded.

    Attributes:
        list_version: The list's version in Statsig after the last change that was seen through.
        expected_count: How many members Statsig should count.
        last_sync_at: When the last sync ended, in seconds since 1970.
        list_read_at: When the whole list was last read from Statsig, in seconds since 1970.
    """

    fed_by: str | None = None
    list_version: int | None = None
    expected_count: int | None = None
    last_sync_at: float | None = None
    list_read_at: float | None = None


class HoldState(StrEnum):
    """How far a segment's last run, and what it held, have come."""

    BEGUN = "begun"
    """A run began to mirror the segment, and did not end it well up to now."""
    HELD = "held"
    """It ended, and holds removals."""
    APPLYING = "applying"
    """They are being carried out."""
    OUTDATED = "outdated"
    """A run came after it that could have mirrored the segment and did not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What the last run of a segment left; the counts are its own.

    Attributes:
        before: Members before the run; `members` has those after it.
        removals: Members that it held.
        current: Members in the audience that the stream showed.
        doubt: Why no operator may vouch for the missing proof; empty where one may.
        run_id: The run that recorded it.
    """

    stream: str
    state: HoldState = HoldState.BEGUN
    before: int = 0
    members: int = 0
    removals: int = 0
    current: int = 0
    rejected: int = 0
    doubt: str = ""
    run_id: str = ""


def columns(kind: type[SegmentFacts | Hold]) -> str:
    """Return the columns of the values, in their order, as a query names them."""
    return ", ".join(f'"{each.name}"' for each in fields(kind))


class Command(StrEnum):
    """What a run was started for."""

    RUN = "run"
    REPLAY = "replay"
    APPLY_HELD = "apply-held"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class SentItems:
    """The events and exposures that a run delivered; names come from records.

    Attributes:
        names: How many events of each name.
        span: The earliest and the latest time of an event, unix milliseconds; None where that is not known.
        exposures: How many exposures of each experiment, and of each gate, as they are counted.
    """

    names: dict[str, int]
    span: tuple[int, int] | None
    exposures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastRun:
    """What is remembered of a run.

    Attributes:
        ended_at: When it ended, in seconds since 1970.
        report: Its report, without what is 0 or empty.
        sent: What it delivered, by name; None where that was nothing, and of all but the last run that did.
    """

    ended_at: float
    command: Command
    report: dict[str, Any]
    sent: SentItems | None = None


_ALSO_WHERE_EMPTY = frozenset({"exit_code", "held"})
"""Members of which 0 and null are two things."""


def past_run(report: RunReport, command: Command, ended_at: float) -> PastRun:
    """Return what to remember of a run that ended so many seconds after 1970, given its report."""
    # One count for all streams of a type, so that it lists no more names than that of a stream.
    sent = {object_type: ItemCounts(object_type) for object_type in ObjectType}
    with report.lock:
        for counts in report.item_streams.values():
            sent[counts.object_type].add(counts)
    events, exposures = sent[ObjectType.EVENT], sent[ObjectType.EXPOSURE]
    items = SentItems(dict(events.names), events.span, dict(exposures.names))
    content = _trimmed(report.as_json(ended_at))
    return PastRun(ended_at, command, content, items if items.names or items.exposures else None)


def _trimmed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object without what is 0 or empty: a hundred of them are kept."""
    inner = {name: _trimmed(value) if isinstance(value, dict) else value for name, value in content.items()}
    return {name: value for name, value in inner.items() if value or name in _ALSO_WHERE_EMPTY}
