"""Temporary tables of ids, in code-point order or as they come (`Spool`), and walking through any table by its key.

A temporary table belongs to one connection and vanishes with it; SQLite keeps it in a file of its own, not in memory.
"""

from __future__ import annotations

import itertools
from itertools import chain, islice
from operator import lt
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, func, insert, select, text, type_coerce

from target_statsig.store.dialects import as_list, unfolded
from target_statsig.store.tables import CODE_POINT_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Row, Select

    from target_statsig.store.database import Lane

PAGE = 10_000
"""Ids read at a time while a table is walked: about a megabyte."""

LIST = 4_000
"""Ids in a list, at least. Until then they are held in memory, half a megabyte of them, for each segment of a run."""

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
    """Walk through a query's rows in the order of its first column; no cursor stays open, so others may write.

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


class Spool:
    """Ids, each with a word on it, in the order in which they come; the last word on an id wins.

    They stand in a temporary table of lists, which the database unfolds where it sorts them: a row for each id would
    take ten times as long to write.
    """

    def __init__(self, lane: Lane, purpose: str) -> None:
        """Begin with no ids.

        Args:
            lane: Whose connection shall own the tables.
            purpose: The beginning of the name of the table of lists.
        """
        self._lane = lane
        self._lists = temporary_table(
            purpose,
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("word", Boolean, nullable=False),
            Column("ids", Text, nullable=False),
        )
        self._append = insert(self._lists)
        self._written = 0
        self._gathered: list[Mapping[str, bool]] = []
        self._ids_gathered = 0
        self._last = ""
        # Whether they came in code-point order, each once: then nothing has to be sorted.
        self._in_order = True
        with lane.reading() as connection:
            self._lists.create(connection)
            if not lane.is_sqlite:
                # To compress a list takes longer than to write it.
                connection.execute(text(f"ALTER TABLE {self._lists.name} ALTER ids SET STORAGE EXTERNAL"))

    def take(self, words: Mapping[str, bool]) -> None:
        """Take ids that come next.

        Args:
            words: Each with its word; nobody changes them any more.

        Raises:
            StoreError: The database failed.
        """
        self._gathered.append(words)
        self._ids_gathered += len(words)
        if self._ids_gathered >= LIST:
            self._write()

    def settled(self, purpose: str) -> Table:
        """Return a temporary table of the ids, each once with the last word on it, in code-point order.

        Args:
            purpose: The beginning of its name.

        Raises:
            StoreError: The database failed.
        """
        self._write()
        lists, is_sqlite = self._lists.c, self._lane.is_sqlite
        with self._lane.reading() as connection:
            unfolded_id = unfolded(connection, lists.ids)
        id_ = type_coerce(unfolded_id if is_sqlite else unfolded_id.collate("C"), CODE_POINT_TEXT).label("id")
        # The lists come first: PostgreSQL unfolds what stands to its left.
        words = select(id_, lists.word).select_from(self._lists)
        if self._in_order:
            words = words.order_by(lists.number)
        elif is_sqlite:
            # Right in any order that keeps the lists', and quickest in that of the ids.
            words = words.order_by(id_, lists.number)
        else:
            words = words.distinct(id_).order_by(id_, lists.number.desc())
        return sorted_table(self._lane, purpose, words, last_wins=is_sqlite)

    def drop(self) -> None:
        """Give the disk space back; the spool is of no use afterwards."""
        drop(self._lane, self._lists)

    def _write(self) -> None:
        gathered, self._gathered, self._ids_gathered = self._gathered, [], 0
        said = set(chain.from_iterable(words.values() for words in gathered))
        if len(said) == 1:
            self._write_list(list(chain.from_iterable(gathered)), word=said.pop())
            return
        last_words = dict(chain.from_iterable(words.items() for words in gathered))
        for word in said:
            ids = [id_ for id_, last_word in last_words.items() if last_word is word]
            if ids:
                self._write_list(ids, word=word)

    def _write_list(self, ids: Sequence[str], *, word: bool) -> None:
        if self._in_order:
            self._in_order = self._last < ids[0] and all(map(lt, ids, islice(ids, 1, None)))
            self._last = ids[-1]
        self._written += 1
        with self._lane.reading() as connection:
            connection.execute(self._append, {"number": self._written, "word": word, "ids": as_list(ids)})
