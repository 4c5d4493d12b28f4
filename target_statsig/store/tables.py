"""The store's tables, the version of their schema, and how an older store is migrated.

Every name bears a prefix, so that a PostgreSQL database may be shared with others. Ids compare by code point
everywhere: SQLite's BINARY does so by default, PostgreSQL does under COLLATE "C" in a UTF-8 database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

from target_statsig.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

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
    UniqueConstraint("project", "name"),
)
"""Segments, by their Statsig id, and what is remembered of each; `known` says that MEMBERS is the whole list."""

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


def _leave_as_it_is(_connection: Connection) -> None:
    """Keep the tables: what changed is that nothing uses three columns of segments any more (agreed_…)."""


def _let_the_database_lock(connection: Connection) -> None:
    """Keep of locks only who holds them, now that the database itself keeps others out."""
    connection.execute(text(f"DROP TABLE {PREFIX}locks"))
    LOCKS.create(connection)


def _add_the_state_before(connection: Connection) -> None:
    """Give streams a place for the epoch of the STATE before the last; of none it is known yet."""
    connection.execute(text(f"ALTER TABLE {PREFIX}streams ADD COLUMN before_epoch BIGINT"))


def _add_holds(connection: Connection) -> None:
    """Make a place for what the last run of a segment held; of runs up to now that is not known."""
    counts = ("before", "members", "removals", "current", "rejected")
    columns = ", ".join(
        [
            "segment INTEGER NOT NULL PRIMARY KEY",
            *(f"{name} TEXT NOT NULL" for name in ("run_id", "stream", "state")),
            *(f'"{name}" BIGINT NOT NULL' for name in counts),
            "doubt TEXT NOT NULL",
        ]
    )
    connection.execute(text(f"CREATE TABLE {PREFIX}holds ({columns})"))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _leave_as_it_is,
    _let_the_database_lock,
    _add_the_state_before,
    _add_holds,
    _leave_as_it_is,
)
"""Step n (from 0) takes a store from version n + 1 to version n + 2. What `_leave_as_it_is` adds is that an older
target-statsig, which needs the columns, refuses a store that lacks them."""

_RACE = 0x7A67_7374
"""Key of the advisory lock under which a PostgreSQL schema is made: any number that others are unlikely to use."""


def bring_up_to_date(connection: Connection, store: str) -> None:
    """Create the schema, or bring it to this version.

    Args:
        connection: A connection within a transaction that may write.
        store: How a message names the store.

    Raises:
        StoreError: The store was written by a newer target-statsig.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_RACE)))
    if not inspect(connection).has_table(VERSION.name):
        METADATA.create_all(connection)
        connection.execute(insert(VERSION).values(version=newest()))
        return
    version = _version(connection, store)
    for step in MIGRATIONS[version - 1 :]:
        step(connection)
    if version < newest():
        connection.execute(update(VERSION).values(version=newest()))


def has_this_version(connection: Connection, store: str) -> bool:
    """Return whether a database that may only be read has the schema; False where it has none yet.

    Args:
        connection: A connection within a transaction.
        store: How a message names the store.

    Raises:
        StoreError: It has the schema of another version.
    """
    if not inspect(connection).has_table(VERSION.name):
        return False
    version = _version(connection, store)
    if version < newest():
        msg = (
            f"{store} was written by an older target-statsig (schema {version}, this one has {newest()}), and a dry "
            "run cannot bring it up to date: let a run do so first"
        )
        raise StoreError(msg)
    return True


def newest() -> int:
    """Return the version that this target-statsig writes."""
    return len(MIGRATIONS) + 1


def _version(connection: Connection, store: str) -> int:
    version: int = connection.execute(select(VERSION.c.version)).scalar_one()
    if version > newest():
        msg = (
            f"{store} was written by a newer target-statsig (schema {version}, this one knows {newest()}); "
            "upgrade target-statsig, or point store_url at another store"
        )
        raise StoreError(msg)
    return version
