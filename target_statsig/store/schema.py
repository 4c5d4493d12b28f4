"""The version of the store's schema, and how an older store is brought forward.

Owns VERSION and the steps. A fresh store is created whole; an older one walks the steps from where it is; a newer one
is refused. Each happens in one transaction, which the caller holds, so that two runs cannot do it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select, text, update

from target_statsig.exceptions import StoreError
from target_statsig.store.tables import LOCKS, METADATA, PREFIX, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection


def _add_what_is_agreed(connection: Connection) -> None:
    """Give segments a place for the audience that their members were found equal to; nothing is agreed yet."""
    binary = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    for column in ("agreed_key BIGINT", "agreed_count BIGINT", f"agreed_sum {binary}"):
        connection.execute(text(f"ALTER TABLE {PREFIX}segments ADD COLUMN {column}"))


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
    _add_what_is_agreed,
    _let_the_database_lock,
    _add_the_state_before,
    _add_holds,
)
"""Step n (from 0) takes a store from version n + 1 to version n + 2."""

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
