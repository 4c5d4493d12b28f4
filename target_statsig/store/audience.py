"""One segment's audience as this run's records tell it, and how that differs from the members that Statsig has.

Owns what the run saw, in temporary tables: a run that dies leaves nothing. What it saw is not even sorted where the
members were found to be just that audience before. Refuses to know whether the source was complete, and sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import except_, exists, func, intersect, select, update

from target_statsig.store.agreement import agree, agreed, changing_members
from target_statsig.store.dialects import list_parameter, listed
from target_statsig.store.fingerprint import Fingerprinter
from target_statsig.store.spool import Spool
from target_statsig.store.tables import MEMBERS, SEGMENTS
from target_statsig.store.temporary import count, drop, sorted_table, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import CompoundSelect, Connection, Select, Table

    from target_statsig.store.engine import Lane
    from target_statsig.store.fingerprint import Fingerprint
    from target_statsig.store.locks import Lock


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
        self._spool = Spool(lane, "seen")
        self._all_join = True
        self._agreed: Fingerprint | None = None
        self._settled: Table | None = None
        self._current = 0
        self._added: Table | None = None
        self._removed: Table | None = None

    def take(self, words: Mapping[str, bool]) -> None:
        """Take ids, each with the word on whether it is a member.

        Args:
            words: In any order; later words on an id win over those of earlier calls.

        Raises:
            StoreError: The database failed.
        """
        self._spool.take(words)
        # Where someone leaves, it counts who came last; a fingerprint knows no order.
        self._all_join = self._all_join and all(words.values())
        if self._all_join:
            self._fingerprinter.take(words)
        self._agreed = None
        if self._settled is not None:
            drop(self._lane, self._settled)
            self._settled = None

    @property
    def is_agreed(self) -> bool:
        """Whether the last plan was made without comparing: the members were found equal to this audience before."""
        return self._agreed is not None

    def count_current(self) -> int:
        """Return how many ids are members by their last word."""
        if self._agreed is not None:
            return self._agreed.count
        self._settle()
        return self._current

    def current(self) -> Iterator[str]:
        """Walk through the ids that are members by their last word, each once, in code-point order."""
        settled = self._settle()
        for page in walk(self._lane, select(settled.c.id).where(settled.c.word)):
            for (id_,) in page:
                yield id_

    def words(self) -> Iterator[tuple[str, bool]]:
        """Walk through all ids in code-point order, each with the last word on whether it is a member."""
        settled = self._settle()
        for page in walk(self._lane, select(settled.c.id, settled.c.word)):
            yield from ((id_, member) for id_, member in page)

    def among(self, ids: Sequence[str]) -> list[str]:
        """Return those of some ids that are members by their last word.

        Raises:
            StoreError: The database failed.
        """
        settled = self._settle()
        with self._lane.reading() as connection:
            query = select(settled.c.id).where(settled.c.word, settled.c.id.in_(select(listed(connection).id)))
            return list(connection.execute(query, list_parameter(ids)).scalars())

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
        drop(self._lane, self._added, self._removed)
        self._added = self._removed = None
        self._agreed = self._as_agreed() if absent else None
        if self._agreed is not None:
            return Plan(0, 0)
        settled = self._settle()
        current = select(settled.c.id).where(settled.c.word)
        known = select(MEMBERS.c.id).where(self._here)
        # Both sides come in order, so that the databases merge them; SQLite does so only when asked for an order.
        self._added = sorted_table(self._lane, "added", except_(current, known).order_by("id"))
        added = count(self._lane, self._added)
        if absent and count(self._lane, MEMBERS, self._here) == self._current - added:
            # All who are known are current.
            return Plan(added, 0)
        self._removed = sorted_table(self._lane, "removed", self._removable(settled, absent=absent, own_only=own_only))
        return Plan(added, count(self._lane, self._removed))

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
        if self._agreed is not None:
            return  # nobody is, or it would not be agreed
        settled = self._settle()
        back = exists().where(settled.c.id == MEMBERS.c.id, settled.c.word)
        with changing_members(self._lane, self._segment) as connection:
            connection.execute(
                update(MEMBERS).where(self._here, MEMBERS.c.missing_since.is_not(None), back).values(missing_since=None)
            )

    def agree(self, lock: Lock) -> None:
        """Remember that the members are this audience, if they are: a run that sees it again need not compare.

        To be called when a plan was carried out. Whether it was carried out in full is seen here.

        Args:
            lock: The segment's, held since before the plan was made; a run that took it over would know better.

        Raises:
            StoreError: The database failed.
        """
        if self._agreed is not None or self._added is None or not self._all_join:
            return
        seen = self._fingerprinter.fingerprint
        if seen.count != self._current:
            return  # some came twice, and would not always do so
        with changing_members(self._lane, self._segment) as connection:
            if lock.is_held and self._is_carried_out(connection, self._added):
                agree(connection, self._segment, seen)

    def close(self) -> None:
        """Give the disk space back; the audience is of no use afterwards."""
        self._spool.drop()
        drop(self._lane, self._settled, self._added, self._removed)
        self._settled = self._added = self._removed = None

    @cached_property
    def _fingerprinter(self) -> Fingerprinter:
        # Made for the first id, when other runs can change the members no more.
        audience = agreed(self._lane, self._segment)
        return Fingerprinter(None if audience is None else audience.key)

    def _as_agreed(self) -> Fingerprint | None:
        """Return what was agreed, if it is this audience; it may have ended since the first id came."""
        audience = agreed(self._lane, self._segment)
        return audience if self._all_join and audience == self._fingerprinter.fingerprint else None

    def _is_carried_out(self, connection: Connection, added: Table) -> bool:
        """Return whether the members are those who are current, and nobody else, and none of them is missing.

        All who are current were members, or were to be added. So they are members if each of the latter is, and the
        only ones if they are as many.
        """
        members = select(func.count(), func.count(MEMBERS.c.missing_since)).where(self._here)
        recorded = exists().where(self._here, MEMBERS.c.id == added.c.id)
        return (
            connection.execute(members).one() == (self._current, 0)
            and connection.execute(select(added.c.id).where(~recorded).limit(1)).first() is None
        )

    def _settle(self) -> Table:
        if self._settled is None:
            self._settled = self._spool.settled("settled")
            self._current = count(self._lane, self._settled, self._settled.c.word)
        return self._settled

    def _removable(self, settled: Table, *, absent: bool, own_only: bool) -> Select[Any] | CompoundSelect[Any]:
        removable = select(MEMBERS.c.id).where(self._here)
        if own_only:
            removable = removable.where(MEMBERS.c.ours)
        if absent:
            return except_(removable, select(settled.c.id).where(settled.c.word)).order_by("id")
        gone = select(settled.c.id).where(~settled.c.word)
        if own_only or self._whole_list_is_known():
            return intersect(gone, removable).order_by("id")
        return gone.order_by(settled.c.id)

    def _whole_list_is_known(self) -> bool:
        with self._lane.reading() as connection:
            known = select(SEGMENTS.c.known).where(SEGMENTS.c.segment == self._segment)
            return bool(connection.execute(known).scalar_one())

    def _lists(self, table: Table | None, size: int) -> Iterator[list[str]]:
        if table is None:
            return
        for page in walk(self._lane, select(table.c.id), size):
            yield [row[0] for row in page]
