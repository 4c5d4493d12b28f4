"""The store's tables, as SQLAlchemy describes them: one description for SQLite and PostgreSQL.

Owns names, columns and keys. Refuses to know who reads or writes them, and how they come to be (`schema`).

Every name bears a prefix, so that a PostgreSQL database may be shared with others. Ids compare by code point
everywhere: SQLite's BINARY does so by default, PostgreSQL does under COLLATE "C" in a UTF-8 database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

PREFIX = "target_statsig_"

METADATA = MetaData()

CODE_POINT_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts and compares by code point."""

_COUNTER = BigInteger().with_variant(Integer, "sqlite")
"""A key that the database counts up; SQLite counts only what is declared INTEGER."""

VERSION = Table(f"{PREFIX}version", METADATA, Column("version", Integer, nullable=False))
"""One row: the version of the schema."""

PROJECTS = Table(
    f"{PREFIX}projects",
    METADATA,
    Column("project", Integer, primary_key=True),
    Column("identity", Text, nullable=False, unique=True),
)
"""Statsig projects; every other row belongs to one of them."""

SEGMENTS = Table(
    f"{PREFIX}segments",
    METADATA,
    Column("segment", Integer, primary_key=True),
    Column("project", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("known", Boolean, nullable=False, default=False),
    Column("fed_by", Text),
    Column("list_version", BigInteger),
    Column("expected_count", BigInteger),
    Column("last_sync_at", Double),
    Column("last_status", Text),
    Column("last_added", BigInteger),
    Column("last_removed", BigInteger),
    Column("agreed_key", BigInteger),
    Column("agreed_count", BigInteger),
    Column("agreed_sum", LargeBinary),
    UniqueConstraint("project", "name"),
)
"""Segments, by their Statsig id, and what is remembered of each; `known` says that MEMBERS is the whole list. What is
`agreed` is the fingerprint of an audience: MEMBERS holds exactly those, and none of them is missing."""

MEMBERS = Table(
    f"{PREFIX}members",
    METADATA,
    Column("segment", Integer, primary_key=True, autoincrement=False),
    Column("id", CODE_POINT_TEXT, primary_key=True),
    Column("ours", Boolean, nullable=False),
    Column("missing_since", Double),
    sqlite_with_rowid=False,
)
"""Members that Statsig has; `ours` were added by this target; `missing_since` is in seconds since 1970."""

Index(
    f"{PREFIX}members_missing",
    MEMBERS.c.segment,
    MEMBERS.c.missing_since,
    sqlite_where=MEMBERS.c.missing_since.is_not(None),
    postgresql_where=MEMBERS.c.missing_since.is_not(None),
)

HOLDS = Table(
    f"{PREFIX}holds",
    METADATA,
    Column("segment", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("before", BigInteger, nullable=False),
    Column("members", BigInteger, nullable=False),
    Column("removals", BigInteger, nullable=False),
    Column("current", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("doubt", Text, nullable=False),
)
"""What the last run of a mirrored segment left undone; no row: nothing. Who is held is marked in MEMBERS."""

PENDING = Table(
    f"{PREFIX}pending",
    METADATA,
    Column("segment", Integer, primary_key=True, autoincrement=False),
    Column("id", CODE_POINT_TEXT, primary_key=True),
    Column("member", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
"""Changes that rows asked for and that an earlier run did not come to send."""

LOCKS = Table(
    f"{PREFIX}locks",
    METADATA,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("since", Double, nullable=False),
)
"""Who was at work last on a segment or a stream; whether he still is, the lock itself tells."""

REQUESTS = Table(
    f"{PREFIX}requests",
    METADATA,
    Column("request", _COUNTER, primary_key=True),
    Column("project", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Index(f"{PREFIX}requests_at", "project", "at"),
)
"""When list mutations were sent, in seconds since 1970: the rate windows outlive a process."""

STREAMS = Table(
    f"{PREFIX}streams",
    METADATA,
    Column("stream", Integer, primary_key=True),
    Column("project", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("state_epoch", BigInteger),
    Column("state_kind", Text),
    Column("state_bookmark", CODE_POINT_TEXT),
    Column("before_epoch", BigInteger),
    UniqueConstraint("project", "name"),
)
"""Streams of events, the STATE that was written last for each, and the epoch of the one before it."""

BATCHES = Table(
    f"{PREFIX}batches",
    METADATA,
    Column("batch", _COUNTER, primary_key=True),
    Column("stream", Integer, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("kind", Text),
    Column("highest", CODE_POINT_TEXT),
    Column("at", Double, nullable=False),
    Column("digests", LargeBinary, nullable=False),
    Index(f"{PREFIX}batches_stream", "stream", "batch"),
    Index(f"{PREFIX}batches_epoch", "stream", "epoch"),
)
"""The delivery ledger: one row for each request's records, 16 bytes a record."""
