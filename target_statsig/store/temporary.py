"""Sets of ids that live as long as the run: temporary tables in code-point order, and walking through any table so.

A temporary table belongs to one connection and vanishes with it, however the run ends; SQLite keeps it in a file of its
own, not in memory. A walk takes a page at a time by key and leaves no cursor open, so that others may write in between.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, MetaData, Table, func, insert, select, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Row, Select

    from target_statsig.store.engine import Lane

PAGE = 10_000
"""Ids read at a time while a table is walked: about a megabyte."""

_numbers = itertools.count(1)


def temporary_table(purpose: str, *columns: Column[Any], keyed: bool = False) -> Table:
    """Describe a temporary table under a name that no other of this process has.

    Args:
        purpose: The name's beginning.
        columns: Its columns.
        keyed: Whether SQLite stores the rows in their primary key and nowhere else.
    """
    name = f"{purpose}_{next(_numbers)}"
    return Table(name, MetaData(), *columns, prefixes=["TEMPORARY"], sqlite_with_rowid=not keyed)


def sorted_table(
    lane: Lane, purpose: str, query: Select[Any] | CompoundSelect[Any], *, last_wins: bool = False
) -> Table:
    """Run a query and keep its answer in a temporary table.

    Args:
        lane: Whose connection shall own the table.
        purpose: The beginning of the table's name.
        query: Gives `id` first, each id once; in code-point order, or the table takes long to fill.
        last_wins: For SQLite alone: ids may repeat, and of several rows the last one stays.

    Raises:
        StoreError: The database failed.
    """
    first, *others = query.selected_columns
    table = temporary_table(
        purpose,
        Column(first.name, first.type, primary_key=lane.is_sqlite, nullable=False),
        *(Column(other.name, other.type) for other in others),
        keyed=lane.is_sqlite,
    )
    with lane.reading() as connection:
        table.create(connection)
        filling = insert(table).prefix_with("OR REPLACE") if last_wins else insert(table)
        connection.execute(filling.from_select([*query.selected_columns.keys()], query))
        if not lane.is_sqlite:
            # An index over what is there already costs half, and nobody else analyses a temporary table.
            connection.execute(text(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({first.name})"))
            connection.execute(text(f"ANALYZE {table.name}"))
    return table


def drop(lane: Lane, *tables: Table | None) -> None:
    """Give the space of temporary tables back before the run ends."""
    with lane.reading() as connection:
        for table in tables:
            if table is not None:
                table.drop(connection)


def count(lane: Lane, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Return how many rows of a table meet all the conditions."""
    with lane.reading() as connection:
        return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()


def walk(lane: Lane, query: Select[Any], size: int = PAGE) -> Iterator[Sequence[Row[Any]]]:
    """Walk through a query's rows in the order of its first column.

    Args:
        lane: The connection to use.
        query: Its first column is unique among its rows; it has no order of its own.
        size: Rows in a page.

    Yields:
        Pages of at most `size` rows, none of them empty.
    """
    key = query.selected_columns[0]
    page_query = query.order_by(key).limit(size)
    conditions: tuple[ColumnElement[bool], ...] = ()
    while True:
        with lane.reading() as connection:
            page = connection.execute(page_query.where(*conditions)).all()
        if page:
            yield page
        if len(page) < size:
            return
        conditions = (key > page[-1][0],)
