"""One segment's members as Statsig has them, to the best of the store's knowledge.

Owns what was read from Statsig and what was acknowledged since, whose member each is, and since when one is missing
from the source. Refuses to know what this run saw (`audience`) and what Statsig thinks. Each acknowledged request is
one transaction, which ends what was agreed about the list before.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, except_, func, literal, null, select, true, update

from target_statsig.store.agreement import agreed, changing_members
from target_statsig.store.dialects import insert_into, list_parameter, listed
from target_statsig.store.pending import clear_pending
from target_statsig.store.spool import Spool
from target_statsig.store.tables import MEMBERS, SEGMENTS
from target_statsig.store.temporary import PAGE, count, drop, sorted_table, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from target_statsig.store.engine import Lane

_CHUNK = 50_000
"""Members written in one transaction where no request sets the size: half a second that others wait at most."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Members that are missing from the source and were not removed.

    Attributes:
        count: How many.
        since: When the first of them went missing, in seconds since 1970; None where there are none.
    """

    count: int
    since: float | None


class Members:
    """The members of one segment that Statsig is known to have."""

    def __init__(self, lane: Lane, segment: int) -> None:
        """Take the connection to use and the segment's number in the store."""
        self._lane = lane
        self._segment = segment
        self._here = MEMBERS.c.segment == segment

    def is_known(self) -> bool:
        """Tell whether the whole list is known, and not just some who were added or removed."""
        with self._lane.reading() as connection:
            known = select(SEGMENTS.c.known).where(SEGMENTS.c.segment == self._segment)
            return bool(connection.execute(known).scalar_one())

    def count_known(self) -> int:
        """Return how many members the store knows."""
        audience = agreed(self._lane, self._segment)
        return count(self._lane, MEMBERS, self._here) if audience is None else audience.count

    def count_own(self) -> int:
        """Return how many of them this target added."""
        return count(self._lane, MEMBERS, self._here, MEMBERS.c.ours)

    def previous(self) -> Iterator[str]:
        """Walk through the members that the store knows, in code-point order.

        Memory is constant, and members may be recorded in between.
        """
        for page in walk(self._lane, select(MEMBERS.c.id).where(self._here)):
            for (member,) in page:
                yield member

    def record_added(self, ids: Sequence[str], *, ours: bool = True) -> None:
        """Remember an acknowledged request that added members.

        Whose a member is that was known before does not change. None of them is missing or pending any more.

        Args:
            ids: At most 100,000 of them.
            ours: Whether this target put them there.

        Raises:
            StoreError: The database failed; nothing of it was remembered.
        """
        with changing_members(self._lane, self._segment) as connection:
            self._insert(connection, ids, ours=ours)
            clear_pending(connection, self._segment, ids)

    def record_removed(self, ids: Sequence[str]) -> None:
        """Remember an acknowledged request that removed members; none of them is pending any more.

        Args:
            ids: At most 100,000 of them.

        Raises:
            StoreError: The database failed; nothing of it was remembered.
        """
        with changing_members(self._lane, self._segment) as connection:
            self._delete(connection, ids)
            clear_pending(connection, self._segment, ids)

    def replace_known(self, ids: Iterable[str]) -> int:
        """Take over the whole list as it was read from Statsig, and return its number of distinct ids.

        Whoever is still there stays ours, and missing, as before; the others who are there are strangers. Nothing
        changes until the last id was read; a run that dies after that leaves a list that does not count as known.

        Args:
            ids: The list, in any order, ids repeated or not; it is read once, and may take its time.

        Raises:
            StoreError: The database failed.
        """
        spool = Spool(self._lane, "read")
        remaining = iter(ids)
        try:
            while chunk := dict.fromkeys(itertools.islice(remaining, PAGE), True):
                spool.take(chunk)
            baseline = spool.settled("baseline")
        finally:
            spool.drop()
        known, there = select(MEMBERS.c.id).where(self._here), select(baseline.c.id)
        gone = sorted_table(self._lane, "gone", except_(known, there).order_by("id"))
        new = sorted_table(self._lane, "new", except_(there, known).order_by("id"))
        self._set_known(known=False)
        for page in walk(self._lane, select(gone.c.id), _CHUNK):
            with changing_members(self._lane, self._segment) as connection:
                self._delete(connection, [row[0] for row in page])
        for page in walk(self._lane, select(new.c.id), _CHUNK):
            with changing_members(self._lane, self._segment) as connection:
                self._insert(connection, [row[0] for row in page], ours=False)
        self._set_known(known=True)
        total = count(self._lane, baseline)
        drop(self._lane, baseline, gone, new)
        return total

    def forget(self) -> None:
        """Know nobody any more: the next run starts from what it reads."""
        with changing_members(self._lane, self._segment) as connection:
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.segment == self._segment).values(known=False))
            connection.execute(delete(MEMBERS).where(self._here))

    def missing(self) -> Missing:
        """Return how many members are held though they are missing, and since when."""
        with self._lane.reading() as connection:
            held, since = connection.execute(
                select(func.count(), func.min(MEMBERS.c.missing_since)).where(
                    self._here, MEMBERS.c.missing_since.is_not(None)
                )
            ).one()
        return Missing(held, since)

    def held(self, size: int, *, own_only: bool) -> Iterator[list[str]]:
        """Walk through those who are held though they are missing; they may be recorded as removed in between.

        Args:
            size: Ids in a list at most.
            own_only: Whether to leave out whom this target did not add.
        """
        for page in walk(self._lane, select(MEMBERS.c.id).where(*self._held(own_only=own_only)), size):
            yield [row[0] for row in page]

    def count_held(self, *, own_only: bool) -> int:
        """Return how many `held` walks through."""
        return count(self._lane, MEMBERS, *self._held(own_only=own_only))

    def mark_missing(self, ids: Sequence[str], since: float) -> None:
        """Remember members as missing; the date of those who were missing before stays.

        Args:
            ids: At most 100,000 of them.
            since: In seconds since 1970.
        """
        with changing_members(self._lane, self._segment) as connection:
            them = MEMBERS.c.id.in_(select(listed(connection).id))
            statement = update(MEMBERS).where(self._here, MEMBERS.c.missing_since.is_(None), them)
            connection.execute(statement.values(missing_since=since), list_parameter(ids))

    def _held(self, *, own_only: bool) -> list[ColumnElement[bool]]:
        return [self._here, MEMBERS.c.missing_since.is_not(None), *([MEMBERS.c.ours] if own_only else [])]

    def _set_known(self, *, known: bool) -> None:
        with changing_members(self._lane, self._segment) as connection:
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.segment == self._segment).values(known=known))

    def _insert(self, connection: Connection, ids: Sequence[str], *, ours: bool) -> None:
        # `WHERE true`: without it SQLite takes the conflict clause for a join's.
        rows = select(literal(self._segment), listed(connection).id, literal(ours)).where(true())
        statement = insert_into(connection, MEMBERS).from_select(["segment", "id", "ours"], rows)
        here_again = statement.on_conflict_do_update(index_elements=["segment", "id"], set_={"missing_since": null()})
        connection.execute(here_again, list_parameter(ids))

    def _delete(self, connection: Connection, ids: Sequence[str]) -> None:
        gone = MEMBERS.c.id.in_(select(listed(connection).id))
        connection.execute(delete(MEMBERS).where(self._here, gone), list_parameter(ids))
