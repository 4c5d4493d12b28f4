"""Where SQLite and PostgreSQL differ: a list of ids as a table, "insert or else update", and what their errors mean.

Ids travel as one JSON parameter, which both databases unfold themselves: twice as fast as a parameter for each. They
are Unicode text without NUL (which PostgreSQL cannot hold) and without lone surrogates (which no UTF-8 can).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Text, bindparam, cast, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from target_statsig.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import URL, ColumnElement, Connection, CursorResult, Delete, Dialect, Insert, Table, Update
    from sqlalchemy.exc import SQLAlchemyError


def listed(connection: Connection) -> ColumnElement[str]:
    """Return a list's ids as a column; the statement takes the list itself from `list_parameter`.

    Args:
        connection: Where the statement will run.
    """
    return unfolded(connection, bindparam("ids", type_=Text()))


def unfolded(connection: Connection, ids: ColumnElement[str]) -> ColumnElement[str]:
    """Return the ids of a list, or of several that stand in a column as `as_list` returns them.

    Args:
        connection: Where the statement will run.
        ids: The list, or a column of a table from which the statement selects as well.
    """
    if connection.dialect.name == "postgresql":
        elements = func.json_array_elements_text(cast(ids, postgresql.JSON))
        return cast(elements.table_valued("value", joins_implicitly=True).render_derived().c.value, Text)
    return func.json_each(ids).table_valued("value", joins_implicitly=True).c.value


def as_list(ids: Sequence[str]) -> str:
    """Return ids as one text, which the database can unfold."""
    return msgspec.json.encode(ids).decode()


def list_parameter(ids: Sequence[str]) -> dict[str, str]:
    """Return the parameter for a statement over `listed`."""
    return {"ids": as_list(ids)}


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing`.

    Args:
        connection: Where the statement will run.
        table: Where to insert.
    """
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def in_driver_words(dialect: Dialect, statement: Insert | Update | Delete, columns: Sequence[str] = ()) -> str:
    """Return the text of a statement for `exec_driver_sql`, which takes its parameters as a dictionary.

    Args:
        dialect: Of the connection on which it will run.
        statement: What to spell out.
        columns: The columns that an INSERT is given.
    """
    speller = sqlite.dialect(paramstyle="named") if dialect.name == "sqlite" else dialect
    return str(statement.compile(dialect=speller, column_keys=list(columns) or None))


def inserted_number(result: CursorResult[Any]) -> int:
    """Return the number that the database gave to the row of an INSERT that ran in the driver's words."""
    # PostgreSQL has no other way than RETURNING, which SQLAlchemy puts there; SQLite's own takes half the time.
    return int(result.scalar_one() if result.returns_rows else result.lastrowid)


_MOVE_ASIDE = (
    "move the file aside and run again: memberships are read from Statsig anew, though events sent lately may be "
    "sent a second time"
)

_DAMAGED = f"is damaged; {_MOVE_ASIDE}"

_FULL = (
    "has no room left on its disk, or on that of temporary files; make room, point store_url at another disk, or "
    "SQLITE_TMPDIR at another directory"
)

_SQLITE_CAUSES = (
    ("not a database", f"is not a SQLite database; point store_url at another file, or {_MOVE_ASIDE}"),
    ("malformed", _DAMAGED),
    ("locked", "is kept busy by another run; let it end, or give this job a store_url of its own"),
    ("readonly", "cannot be written; let this user write the file and its directory, or change store_url"),
    ("unable to open", "cannot be opened; let this user write the file and its directory, or change store_url"),
    ("full", _FULL),
    ("disk i/o", "cannot be read or written (disk I/O error); check the disk, or change store_url"),
)
"""What SQLite says, in part, and what that means here."""


def named(url: URL) -> str:
    """Return how a message names the store: by its URL without password and query."""
    return f"the store of store_url ({url.set(query={}).render_as_string(hide_password=True)})"


def explain(error: SQLAlchemyError, url: URL) -> StoreError:
    """Return what to raise instead of an error of the database: one sentence that says what to do.

    It quotes neither a statement nor a value: a driver's words only where they speak of the database and not of rows.

    Args:
        error: What SQLAlchemy raised.
        url: The store's URL.
    """
    words = str(error.orig).strip() if isinstance(error, DBAPIError) else ""
    if url.get_backend_name() == "sqlite":
        for sign, cause in _SQLITE_CAUSES:
            if sign in words.lower():
                return StoreError(f"{named(url)} {cause}")
    if isinstance(error, (OperationalError, ProgrammingError)):
        # These speak of connections, disks and permissions; those of other errors may hold the row at fault.
        first_line = words.partition("\n")[0]
        return StoreError(
            f"{named(url)} cannot be used: {first_line}; "
            "check store_url, that the database is up, and that its user may create and write tables"
        )
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return StoreError(
        f"{named(url)} failed ({type(error).__name__}{f', SQLSTATE {state}' if state else ''}); "
        "check the database's own log, or point store_url at another store"
    )


def unusable(url: URL, error: OSError) -> StoreError:
    """Return what to raise when the store's file or directory cannot be made.

    Args:
        url: The store's URL.
        error: What the operating system said.
    """
    return StoreError(
        f"{named(url)} cannot be opened ({error.strerror or type(error).__name__}); "
        "let this user write there, or change store_url"
    )


def damaged(url: URL) -> StoreError:
    """Return what to raise when a check finds a SQLite file damaged.

    Args:
        url: The store's URL.
    """
    return StoreError(f"{named(url)} {_DAMAGED}")
