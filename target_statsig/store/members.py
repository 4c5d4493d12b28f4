"""One segment's members: those in Statsig, those in a run's records, and unsent changes.

Each acknowledged request is recorded in one transaction. The ids of a run are in temporary tables, which belong to one
connection and end with it. SQLite keeps them in a file, not in memory.
"""

from __future__ import annotations

import itertools
from contextlib import closing
from itertools import chain, islice
from operator import lt
from typing import TYPE_CHECKING, Any

from target_statsig.store.database import PAGE, as_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from target_statsig.store.database import Connection

LIST = 4_000
"""Ids in a list, at least. Until then they are held in memory, half a megabyte of them, for each segment of a run."""

_numbers = itertools.count(1)

_HERE = "FROM target_statsig_members WHERE segment = :segment"
_PENDING = "FROM target_statsig_pending WHERE segment = :segment"


class _SegmentRows:
    """One segment's rows in the tables; `segment` is its number in the store."""

    def __init__(self, connection: Connection, segment: int) -> None:
        self._connection = connection
        self._segment = segment

    def _run(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.run(statement, segment=self._segment, **values)

    def _value(self, statement: str, **values: Any) -> Any:
        return self._connection.value(statement, segment=self._segment, **values)

    def _count(self, rows: str) -> int:
        return int(self._value(f"SELECT count(*) {rows}"))

    def _lists(self, rows: str, size: int) -> Iterator[list[str]]:
        for page in self._connection.walk(f"SELECT id {rows}", size=size, segment=self._segment):
            yield [id_ for (id_,) in page]

    def _clear_pending(self, ids: Sequence[str]) -> None:
        # Nearly always there is nothing, and then a list of ids need not be unfolded again.
        if self._run(f"SELECT 1 {_PENDING} LIMIT 1"):
            self._run(f"DELETE {_PENDING} AND id {self._connection.is_listed}", ids=as_list(ids))


class Members(_SegmentRows):
    """The known members of one segment in Statsig."""

    def is_known(self) -> bool:
        """Return whether the whole list is known, and not just some members that were added or removed."""
        return bool(self._value("SELECT known FROM target_statsig_segments WHERE segment = :segment"))

    def count_known(self) -> int:
        """Return how many members the store has."""
        return self._count(_HERE)

    def record_added(self, ids: Sequence[str]) -> None:
        """Record an acknowledged request that added members; none of them is missing or pending any more.

        A member that was recorded before stays whose it was; a new one is ours.
        """
        with self._connection.writing():
            self._insert(ids, ours=True)
            self._clear_pending(ids)

    def record_removed(self, ids: Sequence[str]) -> None:
        """Record an acknowledged request that removed members; none of them is pending any more."""
        with self._connection.writing():
            self._delete(ids)
            self._clear_pending(ids)

    def replace_known(self, ids: Iterable[str]) -> int:
        """Replace the list by the one that was read from Statsig, and return its number of distinct ids.

        Members that are still there keep whether they are ours, and since when they are missing; new ones are not
        ours. Nothing changes until the last id was read; a run that dies after that leaves a list that does not count
        as known. `ids` may come in any order, repeated or not.
        """
        remaining = iter(ids)
        with closing(Audience(self._connection, self._segment)) as there:
            while chunk := dict.fromkeys(islice(remaining, PAGE), True):
                there.take(chunk)
            there.plan()
            self._set_known(known=False)
            for gone in there.removals(PAGE):
                self._delete(gone)
            for new in there.additions(PAGE):
                self._insert(new, ours=False)
            self._set_known(known=True)
            return there.count()

    def forget(self) -> None:
        """Remove all members from the store: the next run reads the list from Statsig."""
        with self._connection.writing():
            self._set_known(known=False)
            self._run(f"DELETE {_HERE}")

    def missing_since(self) -> float | None:
        """Return when the first of the held members went missing, in seconds since 1970; None where there are none."""
        since: float | None = self._value(f"SELECT min(missing_since) {_HERE} AND missing_since IS NOT NULL")
        return since

    def held(self, size: int, *, own_only: bool) -> Iterator[list[str]]:
        """Yield lists of members that are held though missing, or of those among them that this target added.

        They may be recorded as removed in between.
        """
        return self._lists(_held(own_only=own_only), size)

    def count_held(self, *, own_only: bool) -> int:
        """Return how many ids `held` yields."""
        return self._count(_held(own_only=own_only))

    def mark_missing(self, ids: Sequence[str], since: float) -> None:
        """Record members as missing `since` (seconds since 1970); those missing before keep their date."""
        statement = "UPDATE target_statsig_members SET missing_since = :since WHERE segment = :segment"
        condition = f"missing_since IS NULL AND id {self._connection.is_listed}"
        self._run(f"{statement} AND {condition}", since=since, ids=as_list(ids))

    def _set_known(self, *, known: bool) -> None:
        self._run("UPDATE target_statsig_segments SET known = :known WHERE segment = :segment", known=known)

    def _insert(self, ids: Sequence[str], *, ours: bool) -> None:
        # `WHERE true`: without it SQLite takes the conflict clause for a join's.
        rows = f"SELECT :segment, value, :ours FROM {self._connection.unfolded(':ids')} WHERE true"
        conflict = "ON CONFLICT (segment, id) DO UPDATE SET missing_since = NULL"
        statement = f"INSERT INTO target_statsig_members (segment, id, ours) {rows} {conflict}"
        self._run(statement, ours=ours, ids=as_list(ids))

    def _delete(self, ids: Sequence[str]) -> None:
        self._run(f"DELETE {_HERE} AND id {self._connection.is_listed}", ids=as_list(ids))


def _held(*, own_only: bool) -> str:
    return f"{_HERE} AND missing_since IS NOT NULL{' AND ours' if own_only else ''}"


class Audience(_SegmentRows):
    """The audience of one segment in one run; the last record of an id counts.

    Ids stand in a temporary table of lists, in the order in which they come. The database unfolds the lists where it
    sorts them: a row for each id would take ten times as long to write.
    """

    def __init__(self, connection: Connection, segment: int) -> None:
        super().__init__(connection, segment)
        self._gathered: list[Mapping[str, bool]] = []
        self._ids_gathered = 0
        self._written = 0
        self._last = ""
        self._in_order = True  # of code points, each id once: then nothing has to be sorted
        self._settled: str | None = None
        self._current = 0
        self._added: str | None = None
        self._removed: str | None = None
        columns = "number INTEGER NOT NULL PRIMARY KEY, member BOOLEAN NOT NULL, ids TEXT NOT NULL"
        self._seen = f"seen_{next(_numbers)}"
        connection.run(f"CREATE TEMPORARY TABLE {self._seen} ({columns})")
        if not connection.is_sqlite:
            # To compress a list takes longer than to write it.
            connection.run(f"ALTER TABLE {self._seen} ALTER ids SET STORAGE EXTERNAL")

    def take(self, members: Mapping[str, bool]) -> None:
        """Take ids, each with whether it is a member; later calls override earlier ones.

        The mapping must not change afterwards.
        """
        self._gathered.append(members)
        self._ids_gathered += len(members)
        if self._ids_gathered >= LIST:
            self._write()
        self._drop(self._settled)
        self._settled = None

    def count(self) -> int:
        """Return how many ids are members in the end."""
        self._settle()
        return self._current

    def plan(self, *, own_only: bool = False) -> tuple[int, int]:
        """Work out which ids to add and which to remove, keep both lists, and return the number of each.

        Added are members in the end that are not recorded; removed, those recorded that are not members in the end, and
        with `own_only` only those that this target added.
        """
        self._drop(self._added, self._removed)
        self._removed = None
        current, known = f"SELECT id FROM {self._settle()} WHERE member", f"SELECT id {_HERE}"
        # Both sides come in order, so that the databases merge them; SQLite does so only when asked for an order.
        self._added = self._table("added", f"{current} EXCEPT {known} ORDER BY id")
        added = self._count(f"FROM {self._added}")
        if self._count(_HERE) == self._current - added:
            # All that are recorded are current.
            return added, 0
        removable = f"{known}{' AND ours' if own_only else ''}"
        self._removed = self._table("removed", f"{removable} EXCEPT {current} ORDER BY id")
        return added, self._count(f"FROM {self._removed}")

    def additions(self, size: int) -> Iterator[list[str]]:
        """Yield lists of ids to add, once that is planned; members may be recorded in between."""
        return self._lists(f"FROM {self._added} WHERE true", size)

    def removals(self, size: int) -> Iterator[list[str]]:
        """Yield lists of ids to remove; members may be recorded in between."""
        return self._lists(f"FROM {self._removed} WHERE true", size) if self._removed else iter(())

    def clear_missing(self) -> None:
        """Record that the members in the end are not missing."""
        seen = f"SELECT 1 FROM {self._settle()} AS seen WHERE seen.id = target_statsig_members.id AND seen.member"
        statement = "UPDATE target_statsig_members SET missing_since = NULL WHERE segment = :segment"
        self._run(f"{statement} AND missing_since IS NOT NULL AND EXISTS ({seen})")

    def close(self) -> None:
        """Free the disk space before the run ends; the audience cannot be used afterwards."""
        self._drop(self._seen, self._settled, self._added, self._removed)

    def _drop(self, *tables: str | None) -> None:
        for table in tables:
            if table is not None:
                # A connection that broke took its tables along; what broke it must stay the error.
                self._run(f"DROP TABLE IF EXISTS {table}")

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
        insert = f"INSERT INTO {self._seen} (number, member, ids) VALUES (:number, :member, :ids)"
        self._run(insert, number=self._written, member=member, ids=as_list(ids))

    def _settle(self) -> str:
        """Return a temporary table of the ids in code-point order, each once with what came last of it."""
        if self._settled is None:
            self._write()
            # The lists come first: PostgreSQL unfolds what stands to its left.
            source = f"FROM {self._seen} AS lists, {self._connection.unfolded('lists.ids')}"
            if self._in_order:
                query = f"SELECT listed.value, lists.member {source} ORDER BY lists.number"
            elif self._connection.is_sqlite:
                # Right in any order that keeps the lists', and quickest in that of the ids.
                query = f"SELECT listed.value, lists.member {source} ORDER BY 1, lists.number"
            else:
                value = 'listed.value COLLATE "C"'
                query = f"SELECT DISTINCT ON (1) {value}, lists.member {source} ORDER BY 1, lists.number DESC"
            self._settled = self._table("settled", query, columns="id, member")
            self._current = self._count(f"FROM {self._settled} WHERE member")
        return self._settled

    def _table(self, purpose: str, query: str, *, columns: str = "id") -> str:
        """Run a query and keep its rows in a temporary table with columns `id` and `member`; return the table's name.

        The query gives each id once, in code-point order, or the table takes long to fill. In SQLite ids may repeat,
        and the last row of an id stays.
        """
        name = f"{purpose}_{next(_numbers)}"
        if self._connection.is_sqlite:
            self._run(f"CREATE TEMPORARY TABLE {name} (id TEXT NOT NULL PRIMARY KEY, member BOOLEAN) WITHOUT ROWID")
            self._run(f"INSERT OR REPLACE INTO {name} ({columns}) {query}")
        else:
            self._run(f'CREATE TEMPORARY TABLE {name} (id TEXT COLLATE "C" NOT NULL, member BOOLEAN)')
            self._run(f"INSERT INTO {name} ({columns}) {query}")
            # An index over what is there already costs half, and no background job analyses a temporary table.
            self._run(f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
            self._run(f"ANALYZE {name}")
        return name


class Pending(_SegmentRows):
    """Changes that rows asked for and that an earlier run did not send; the next run sends them first."""

    def keep(self, changes: Mapping[str, bool]) -> None:
        """Keep changes for a later run: ids with whether each shall be a member. They replace those kept before."""
        rows = f"SELECT :segment, value, :member FROM {self._connection.unfolded(':ids')} WHERE true"
        conflict = "ON CONFLICT (segment, id) DO UPDATE SET member = excluded.member"
        statement = f"INSERT INTO target_statsig_pending (segment, id, member) {rows} {conflict}"
        for value in (True, False):
            remaining = iter([id_ for id_, member in changes.items() if member is value])
            while ids := list(islice(remaining, PAGE)):
                self._run(statement, member=value, ids=as_list(ids))

    def changes(self, size: int) -> Iterator[dict[str, bool]]:
        """Yield what was kept, in code-point order and at most `size` ids at a time; they may be cleared in between."""
        for page in self._connection.walk(f"SELECT id, member {_PENDING}", size=size, segment=self._segment):
            yield {id_: bool(member) for id_, member in page}

    def count(self) -> int:
        """Return how many changes are kept."""
        return self._count(_PENDING)

    def clear(self, ids: Sequence[str]) -> None:
        """Forget what was kept for these ids; acknowledged requests do so by themselves."""
        with self._connection.writing():
            self._clear_pending(ids)
