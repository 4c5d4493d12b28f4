"""What SQLite and PostgreSQL say in different words: a list of ids as a table, and "insert or else update".

Also statements in the driver's own words, for the few that run so often that SQLAlchemy's share of their time counts.

The ids travel as one JSON parameter, which both databases unfold themselves: twice as fast as a parameter for each.
Ids are Unicode text without NUL (which PostgreSQL cannot hold) and without lone surrogates (which no UTF-8 can).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Text, bindparam, cast, func
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, CursorResult, Delete, Dialect, Insert, Table, Update


class Listed(NamedTuple):
    """The columns of a list: `id`, and `position` counted from 0."""

    id: ColumnElement[str]
    position: ColumnElement[int]


def listed(connection: Connection) -> Listed:
    """Return a list's columns; the statement takes the list itself from `list_parameter`.

    Args:
        connection: Where the statement will run.
    """
    return unfolded(connection, bindparam("ids", type_=Text()))


def unfolded(connection: Connection, ids: ColumnElement[str]) -> Listed:
    """Return the columns of a list, or of several that stand in a column as `as_list` returns them.

    Args:
        connection: Where the statement will run.
        ids: The list, or a column of a table from which the statement selects as well.
    """
    if connection.dialect.name == "postgresql":
        elements = func.json_array_elements_text(cast(ids, postgresql.JSON))
        rows = elements.table_valued("value", with_ordinality="number", joins_implicitly=True).render_derived()
        return Listed(cast(rows.c.value, Text), cast(rows.c.number, BigInteger) - 1)
    rows = func.json_each(ids).table_valued("value", "key", joins_implicitly=True)
    return Listed(rows.c.value, rows.c.key)


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
