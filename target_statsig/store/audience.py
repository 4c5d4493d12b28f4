"""One segment's audience as this run's records tell it, and how that differs from the members that Statsig has.

Owns what the run saw, in temporary tables: a run that dies leaves nothing. Refuses to know whether the source was
complete, and sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, except_, exists, func, insert, intersect, select, update

from target_statsig.store.dialects import list_parameter, listed
from target_statsig.store.tables import CODE_POINT_TEXT, MEMBERS, SEGMENTS
from target_statsig.store.temporary import count, drop, sorted_table, temporary_table, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import CompoundSelect, Select, Table

    from target_statsig.store.engine import Lane


@dataclass(frozen=True, slots=True)
class Plan:
    """How many members to add and to remove."""

    added: int
    removed: int


class Audience:
    """What one run's records say of one segment; the last word on an id wins."""

    def __init__(self, lane: Lane, segment: int) -> None:
        """Take the connection to use and the segment's number in the store."""
        self._lane = lane
        self._segment = segment
        self._here = MEMBERS.c.segment == segment
        # A word is twice the number of the record, plus one for "a member": one integer orders and tells.
        self._seen = temporary_table("seen", Column("word", BigInteger), Column("id", CODE_POINT_TEXT, nullable=False))
        self._records = 0
        self._settled: Table | None = None
        self._added: Table | None = None
        self._removed: Table | None = None
        with lane.reading() as connection:
            self._seen.create(connection)

    def stage(self, ids: Sequence[str]) -> None:
        """Take ids that are members.

        Args:
            ids: In the order of their records; thousands at a time are quicker than one by one.

        Raises:
            StoreError: The database failed.
        """
        self._append(ids, member=True)

    def unstage(self, ids: Sequence[str]) -> None:
        """Take ids that are not members, or not any more.

        Args:
            ids: In the order of their records.

        Raises:
            StoreError: The database failed.
        """
        self._append(ids, member=False)

    def count_current(self) -> int:
        """Return how many ids are members by their last word."""
        settled = self._settle()
        return count(self._lane, settled, settled.c.member)

    def current(self) -> Iterator[str]:
        """Walk through the ids that are members by their last word, each once, in code-point order."""
        settled = self._settle()
        for page in walk(self._lane, select(settled.c.id).where(settled.c.member)):
            for (id_,) in page:
                yield id_

    def words(self) -> Iterator[tuple[str, bool]]:
        """Walk through all ids in code-point order, each with the last word on whether it is a member."""
        settled = self._settle()
        for page in walk(self._lane, select(settled.c.id, settled.c.member)):
            yield from ((id_, member) for id_, member in page)

    def plan(self, *, absent: bool, own_only: bool = False) -> Plan:
        """Work out whom to add and whom to remove, and keep both lists for `additions` and `removals`.

        To be added is who is a member by the last word and not known to be in Statsig. To be removed is who is in
        Statsig and not a member: by absence in a mirror, else by the last word alone. Where the whole list is not
        known, the last word removes also those whom the store does not know.

        Args:
            absent: Whether to remove whoever was not seen.
            own_only: Whether to remove only those that this target added.

        Raises:
            StoreError: The database failed.
        """
        settled = self._settle()
        current = select(settled.c.id).where(settled.c.member)
        known = select(MEMBERS.c.id).where(self._here)
        removable = known.where(MEMBERS.c.ours) if own_only else known
        removed: Select[Any] | CompoundSelect[Any]
        # Both sides come in order, so that the databases merge them; SQLite does so only when asked for an order.
        if absent:
            removed = except_(removable, current).order_by("id")
        else:
            removed = select(settled.c.id).where(~settled.c.member).order_by(settled.c.id)
            if own_only or self._whole_list_is_known():
                removed = intersect(removed.order_by(None), removable).order_by("id")
        drop(self._lane, self._added, self._removed)
        self._added = sorted_table(self._lane, "added", except_(current, known).order_by("id"))
        self._removed = sorted_table(self._lane, "removed", removed)
        return Plan(count(self._lane, self._added), count(self._lane, self._removed))

    def additions(self, size: int) -> Iterator[list[str]]:
        """Walk through whom to add; members may be recorded in between.

        Args:
            size: Ids in a list at most.
        """
        return self._lists(self._added, size)

    def removals(self, size: int) -> Iterator[list[str]]:
        """Walk through whom to remove; members may be recorded in between.

        Args:
            size: Ids in a list at most.
        """
        return self._lists(self._removed, size)

    def clear_missing(self) -> None:
        """Remember of nobody who is a member by this run's last word that he is missing."""
        settled = self._settle()
        back = exists().where(settled.c.id == MEMBERS.c.id, settled.c.member)
        with self._lane.writing() as connection:
            connection.execute(
                update(MEMBERS).where(self._here, MEMBERS.c.missing_since.is_not(None), back).values(missing_since=None)
            )

    def close(self) -> None:
        """Give the disk space back; the audience is of no use afterwards."""
        drop(self._lane, self._seen, self._settled, self._added, self._removed)
        self._settled = self._added = self._removed = None

    def _append(self, ids: Sequence[str], *, member: bool) -> None:
        with self._lane.reading() as connection:
            rows = listed(connection)
            words = select(2 * (rows.position + self._records) + int(member), rows.id)
            connection.execute(insert(self._seen).from_select(["word", "id"], words), list_parameter(ids))
        self._records += len(ids)
        if self._settled is not None:
            drop(self._lane, self._settled)
            self._settled = None

    def _settle(self) -> Table:
        if self._settled is None:
            seen = self._seen.c
            last = select(seen.id, (func.max(seen.word) % 2 == 1).label("member")).group_by(seen.id).order_by(seen.id)
            self._settled = sorted_table(self._lane, "settled", last)
        return self._settled

    def _whole_list_is_known(self) -> bool:
        with self._lane.reading() as connection:
            known = select(SEGMENTS.c.known).where(SEGMENTS.c.segment == self._segment)
            return bool(connection.execute(known).scalar_one())

    def _lists(self, table: Table | None, size: int) -> Iterator[list[str]]:
        if table is None:
            return
        for page in walk(self._lane, select(table.c.id), size):
            yield [row[0] for row in page]
