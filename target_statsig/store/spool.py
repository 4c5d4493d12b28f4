"""Ids in the order in which they come, put aside on disk until they are wanted in code-point order.

Owns a temporary table of lists: thousands of ids are one row, which the database unfolds where it sorts them; a row for
each would take ten times as long to write. Refuses to know whose ids they are.
"""

from __future__ import annotations

from itertools import chain, islice
from operator import lt
from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Column, Integer, Text, insert, select, text, type_coerce

from target_statsig.store.dialects import as_list, unfolded
from target_statsig.store.tables import CODE_POINT_TEXT
from target_statsig.store.temporary import drop, sorted_table, temporary_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Table

    from target_statsig.store.engine import Lane

LIST = 4_000
"""Ids in a list, at least. Until then they are held in memory, half a megabyte of them, for each segment of a run."""


class Spool:
    """Ids, each with a word on it; the last word on an id wins."""

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
            unfolded_id = unfolded(connection, lists.ids).id
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
