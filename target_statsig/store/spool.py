"""Ids put aside by a run: in temporary tables in code-point order, and before that as they come (`Spool`).

A temporary table belongs to one connection and vanishes with it; SQLite keeps it in a file of its own, not in memory.
"""

from __future__ import annotations

import itertools
from itertools import chain, islice
from operator import lt
from typing import TYPE_CHECKING, Any

from target_statsig.store.database import as_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_statsig.store.database import Connection

LIST = 4_000
"""Ids in a list, at least. Until then they are held in memory, half a megabyte of them, for each segment of a run."""

_numbers = itertools.count(1)


def sorted_table(connection: Connection, purpose: str, query: str, *, columns: str = "id", **values: Any) -> str:
    """Run a query and keep its rows in a temporary table with columns `id` and `member`; return the table's name.

    Args:
        connection: Owns the table.
        purpose: The name's beginning.
        query: Gives each id once, in code-point order, or the table takes long to fill. In SQLite ids may repeat, and
            the last row of an id stays.
        columns: The columns that it gives.
        values: The query's values.
    """
    name = f"{purpose}_{next(_numbers)}"
    if connection.is_sqlite:
        connection.run(f"CREATE TEMPORARY TABLE {name} (id TEXT NOT NULL PRIMARY KEY, member BOOLEAN) WITHOUT ROWID")
        connection.run(f"INSERT OR REPLACE INTO {name} ({columns}) {query}", **values)
    else:
        connection.run(f'CREATE TEMPORARY TABLE {name} (id TEXT COLLATE "C" NOT NULL, member BOOLEAN)')
        connection.run(f"INSERT INTO {name} ({columns}) {query}", **values)
        # An index over what is there already costs half, and nobody else analyses a temporary table.
        connection.run(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
        connection.run(f"ANALYZE {name}")
    return name


def drop(connection: Connection, *tables: str | None) -> None:
    """Free the space of temporary tables before the run ends."""
    for table in tables:
        if table is not None:
            connection.run(f"DROP TABLE {table}")


class Spool:
    """Ids in the order in which they come, each with whether it is a member; the last one of an id counts.

    They stand in a temporary table of lists, which the database unfolds where it sorts them: a row for each id would
    take ten times as long to write.
    """

    def __init__(self, connection: Connection, purpose: str) -> None:
        self._connection = connection
        self._lists = f"{purpose}_{next(_numbers)}"
        self._written = 0
        self._gathered: list[Mapping[str, bool]] = []
        self._ids_gathered = 0
        self._last = ""
        # Whether they came in code-point order, each once: then nothing has to be sorted.
        self._in_order = True
        columns = "number INTEGER NOT NULL PRIMARY KEY, member BOOLEAN NOT NULL, ids TEXT NOT NULL"
        connection.run(f"CREATE TEMPORARY TABLE {self._lists} ({columns})")
        if not connection.is_sqlite:
            # To compress a list takes longer than to write it.
            connection.run(f"ALTER TABLE {self._lists} ALTER ids SET STORAGE EXTERNAL")

    def take(self, members: Mapping[str, bool]) -> None:
        """Take ids that come next, each with whether it is a member; the mapping must not change afterwards."""
        self._gathered.append(members)
        self._ids_gathered += len(members)
        if self._ids_gathered >= LIST:
            self._write()

    def settled(self, purpose: str) -> str:
        """Return a temporary table of the ids in code-point order, each once with what came last of it."""
        self._write()
        # The lists come first: PostgreSQL unfolds what stands to its left.
        source = f"FROM {self._lists} AS lists, {self._connection.unfolded('lists.ids')}"
        if self._in_order:
            query = f"SELECT listed.value, lists.member {source} ORDER BY lists.number"
        elif self._connection.is_sqlite:
            # Right in any order that keeps the lists', and quickest in that of the ids.
            query = f"SELECT listed.value, lists.member {source} ORDER BY 1, lists.number"
        else:
            value = 'listed.value COLLATE "C"'
            query = f"SELECT DISTINCT ON (1) {value}, lists.member {source} ORDER BY 1, lists.number DESC"
        return sorted_table(self._connection, purpose, query, columns="id, member")

    def drop(self) -> None:
        """Free the disk space; the spool cannot be used afterwards."""
        drop(self._connection, self._lists)

    def _write(self) -> None:
        gathered, self._gathered, self._ids_gathered = self._gathered, [], 0
        values = set(chain.from_iterable(members.values() for members in gathered))
        if len(values) == 1:
            self._write_list(list(chain.from_iterable(gathered)), member=values.pop())
            return
        last = dict(chain.from_iterable(members.items() for members in gathered))
        for value in values:
            if ids := [id_ for id_, member in last.items() if member is value]:
                self._write_list(ids, member=value)

    def _write_list(self, ids: Sequence[str], *, member: bool) -> None:
        if self._in_order:
            self._in_order = self._last < ids[0] and all(map(lt, ids, islice(ids, 1, None)))
            self._last = ids[-1]
        self._written += 1
        self._connection.run(
            f"INSERT INTO {self._lists} (number, member, ids) VALUES (:number, :member, :ids)",
            number=self._written,
            member=member,
            ids=as_list(ids),
        )
