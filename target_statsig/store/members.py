"""One segment's members: those that Statsig has, those that a run's records name, and changes that were left unsent.

Each acknowledged request is recorded in one transaction. What a run's records name stands in temporary tables.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, except_, exists, func, literal, null, select, true, update

from target_statsig.store.dialects import insert_into, list_parameter, listed
from target_statsig.store.tables import MEMBERS, PENDING, SEGMENTS
from target_statsig.store.temporary import PAGE, Spool, count, drop, sorted_table, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Table

    from target_statsig.store.database import Lane

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
    """The members of one segment that Statsig has, as far as the store was told."""

    def __init__(self, lane: Lane, segment: int) -> None:
        """Take the connection to use and the segment's number in the store."""
        self._lane = lane
        self._segment = segment
        self._here = MEMBERS.c.segment == segment

    def is_known(self) -> bool:
        """Return whether the whole list is known, and not just some who were added or removed."""
        with self._lane.reading() as connection:
            known = select(SEGMENTS.c.known).where(SEGMENTS.c.segment == self._segment)
            return bool(connection.execute(known).scalar_one())

    def count_known(self) -> int:
        """Return how many members the store has."""
        return count(self._lane, MEMBERS, self._here)

    def record_added(self, ids: Sequence[str], *, ours: bool = True) -> None:
        """Record an acknowledged request that added members; none of them is missing or pending any more.

        A member that was recorded before keeps its `ours`.

        Args:
            ids: At most 100,000 of them.
            ours: Whether this target put them there.

        Raises:
            StoreError: The database failed; nothing was recorded.
        """
        with self._lane.writing() as connection:
            self._insert(connection, ids, ours=ours)
            _clear_pending(connection, self._segment, ids)

    def record_removed(self, ids: Sequence[str]) -> None:
        """Record an acknowledged request that removed members; none of them is pending any more.

        Args:
            ids: At most 100,000 of them.

        Raises:
            StoreError: The database failed; nothing was recorded.
        """
        with self._lane.writing() as connection:
            self._delete(connection, ids)
            _clear_pending(connection, self._segment, ids)

    def replace_known(self, ids: Iterable[str]) -> int:
        """Replace the list by the one that was read from Statsig, and return its number of distinct ids.

        Members that are still there keep whether they are ours, and since when they are missing; new ones are not
        ours. Nothing changes until the last id was read; a run that dies after that leaves a list that does not count
        as known.

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
            with self._lane.writing() as connection:
                self._delete(connection, [row[0] for row in page])
        for page in walk(self._lane, select(new.c.id), _CHUNK):
            with self._lane.writing() as connection:
                self._insert(connection, [row[0] for row in page], ours=False)
        self._set_known(known=True)
        total = count(self._lane, baseline)
        drop(self._lane, baseline, gone, new)
        return total

    def forget(self) -> None:
        """Remove all members from the store: the next run reads the list from Statsig."""
        with self._lane.writing() as connection:
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
        """Record members as missing; those who were missing before keep their date.

        Args:
            ids: At most 100,000 of them.
            since: In seconds since 1970.
        """
        with self._lane.writing() as connection:
            them = MEMBERS.c.id.in_(select(listed(connection)))
            statement = update(MEMBERS).where(self._here, MEMBERS.c.missing_since.is_(None), them)
            connection.execute(statement.values(missing_since=since), list_parameter(ids))

    def _held(self, *, own_only: bool) -> list[ColumnElement[bool]]:
        return [self._here, MEMBERS.c.missing_since.is_not(None), *([MEMBERS.c.ours] if own_only else [])]

    def _set_known(self, *, known: bool) -> None:
        with self._lane.writing() as connection:
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.segment == self._segment).values(known=known))

    def _insert(self, connection: Connection, ids: Sequence[str], *, ours: bool) -> None:
        # `WHERE true`: without it SQLite takes the conflict clause for a join's.
        rows = select(literal(self._segment), listed(connection), literal(ours)).where(true())
        statement = insert_into(connection, MEMBERS).from_select(["segment", "id", "ours"], rows)
        here_again = statement.on_conflict_do_update(index_elements=["segment", "id"], set_={"missing_since": null()})
        connection.execute(here_again, list_parameter(ids))

    def _delete(self, connection: Connection, ids: Sequence[str]) -> None:
        gone = MEMBERS.c.id.in_(select(listed(connection)))
        connection.execute(delete(MEMBERS).where(self._here, gone), list_parameter(ids))


@dataclass(frozen=True, slots=True)
class Plan:
    """How many members to add and to remove."""

    added: int
    removed: int


class Audience:
    """What one run's records say of one segment; the last word on an id wins. A run that dies leaves nothing of it."""

    def __init__(self, lane: Lane, segment: int) -> None:
        """Take the connection to use and the segment's number in the store."""
        self._lane = lane
        self._here = MEMBERS.c.segment == segment
        self._spool = Spool(lane, "seen")
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
        if self._settled is not None:
            drop(self._lane, self._settled)
            self._settled = None

    def count_current(self) -> int:
        """Return how many ids are members by their last word."""
        self._settle()
        return self._current

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
            query = select(settled.c.id).where(settled.c.word, settled.c.id.in_(select(listed(connection))))
            return list(connection.execute(query, list_parameter(ids)).scalars())

    def plan(self, *, own_only: bool = False) -> Plan:
        """Work out whom to add and whom to remove, and keep both lists for `additions` and `removals`.

        To be added is who is a member by the last word and not recorded as one; to be removed, who is recorded and not
        a member by the last word.

        Args:
            own_only: Whether to remove only those that this target added.

        Raises:
            StoreError: The database failed.
        """
        drop(self._lane, self._added, self._removed)
        self._removed = None
        settled = self._settle()
        current = select(settled.c.id).where(settled.c.word)
        known = select(MEMBERS.c.id).where(self._here)
        # Both sides come in order, so that the databases merge them; SQLite does so only when asked for an order.
        self._added = sorted_table(self._lane, "added", except_(current, known).order_by("id"))
        added = count(self._lane, self._added)
        if count(self._lane, MEMBERS, self._here) == self._current - added:
            # All who are recorded are current.
            return Plan(added, 0)
        removable = known.where(MEMBERS.c.ours) if own_only else known
        self._removed = sorted_table(self._lane, "removed", except_(removable, current).order_by("id"))
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
        """Record of those who are members by this run's last word that they are not missing."""
        settled = self._settle()
        back = exists().where(settled.c.id == MEMBERS.c.id, settled.c.word)
        with self._lane.writing() as connection:
            connection.execute(
                update(MEMBERS).where(self._here, MEMBERS.c.missing_since.is_not(None), back).values(missing_since=None)
            )

    def close(self) -> None:
        """Give the disk space back; the audience is of no use afterwards."""
        self._spool.drop()
        drop(self._lane, self._settled, self._added, self._removed)
        self._settled = self._added = self._removed = None

    def _settle(self) -> Table:
        if self._settled is None:
            self._settled = self._spool.settled("settled")
            self._current = count(self._lane, self._settled, self._settled.c.word)
        return self._settled

    def _lists(self, table: Table | None, size: int) -> Iterator[list[str]]:
        if table is None:
            return
        for page in walk(self._lane, select(table.c.id), size):
            yield [row[0] for row in page]


class Pending:
    """Changes that rows asked for and that an earlier run did not come to send; the next run sends them first."""

    def __init__(self, lane: Lane, segment: int) -> None:
        """Take the connection to use and the segment's number in the store."""
        self._lane = lane
        self._segment = segment

    def keep(self, changes: Iterable[tuple[str, bool]]) -> None:
        """Keep changes for a later run; the last word on an id wins, over what was kept before too.

        Args:
            changes: Ids, each with whether it shall be a member.

        Raises:
            StoreError: The database failed.
        """
        remaining = iter(changes)
        while chunk := dict(itertools.islice(remaining, PAGE)):
            with self._lane.writing() as connection:
                for word in (True, False):
                    self._upsert(connection, [id_ for id_, member in chunk.items() if member is word], member=word)

    def changes(self) -> Iterator[tuple[str, bool]]:
        """Walk through what was kept, in code-point order of the ids; changes may be cleared in between."""
        for page in walk(self._lane, select(PENDING.c.id, PENDING.c.member).where(PENDING.c.segment == self._segment)):
            yield from ((id_, member) for id_, member in page)

    def count(self) -> int:
        """Return how many changes are kept.

        Raises:
            StoreError: The database failed.
        """
        with self._lane.reading() as connection:
            query = select(func.count()).select_from(PENDING).where(PENDING.c.segment == self._segment)
            return int(connection.execute(query).scalar_one())

    def clear(self, ids: Sequence[str]) -> None:
        """Forget what was kept for these ids; acknowledged requests do so by themselves."""
        with self._lane.writing() as connection:
            _clear_pending(connection, self._segment, ids)

    def _upsert(self, connection: Connection, ids: Sequence[str], *, member: bool) -> None:
        rows = select(literal(self._segment), listed(connection), literal(member)).where(true())
        statement = insert_into(connection, PENDING).from_select(["segment", "id", "member"], rows)
        last_word = statement.on_conflict_do_update(
            index_elements=["segment", "id"], set_={"member": statement.excluded.member}
        )
        connection.execute(last_word, list_parameter(ids))


def _clear_pending(connection: Connection, segment: int, ids: Sequence[str]) -> None:
    """Forget what was kept for these ids, within a transaction of the caller's.

    Args:
        connection: The caller's.
        segment: The segment's number in the store.
        ids: At most 100,000 of them.
    """
    here = PENDING.c.segment == segment
    # Nearly always there is nothing, and then a list of ids need not be unfolded again.
    if connection.execute(select(PENDING.c.id).where(here).limit(1)).first() is not None:
        them = PENDING.c.id.in_(select(listed(connection)))
        connection.execute(delete(PENDING).where(here, them), list_parameter(ids))
