"""What SQLite and PostgreSQL say in different words: a list of ids as a table, and "insert or else update".

The ids travel as one JSON parameter, which both databases unfold themselves: twice as fast as a parameter for each.
Ids are Unicode text without NUL (which PostgreSQL cannot hold) and without lone surrogates (which no UTF-8 can).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Text, bindparam, cast, func
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Table


class Listed(NamedTuple):
    """The columns of a list: `id`, and `position` counted from 0."""

    id: ColumnElement[str]
    position: ColumnElement[int]


def listed(connection: Connection) -> Listed:
    """Return a list's columns; the statement takes the list itself from `list_parameter`.

    Args:
        connection: Where the statement will run.
    """
    ids = bindparam("ids", type_=Text())
    if connection.dialect.name == "postgresql":
        unfolded = func.json_array_elements_text(cast(ids, postgresql.JSON))
        rows = unfolded.table_valued("value", with_ordinality="number").render_derived()
        return Listed(cast(rows.c.value, Text), cast(rows.c.number, BigInteger) - 1)
    rows = func.json_each(ids).table_valued("value", "key")
    return Listed(rows.c.value, rows.c.key)


def list_parameter(ids: Sequence[str]) -> dict[str, str]:
    """Return the parameter for a statement over `listed`."""
    return {"ids": msgspec.json.encode(ids).decode()}


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing`.

    Args:
        connection: Where the statement will run.
        table: Where to insert.
    """
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
