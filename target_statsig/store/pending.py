"""Changes that rows asked for and that a run did not come to send: the next run sends them first.

Owns them, one segment at a time. Refuses to know why the run ended.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, literal, select, true

from target_statsig.store.dialects import insert_into, list_parameter, listed
from target_statsig.store.tables import PENDING
from target_statsig.store.temporary import PAGE, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from target_statsig.store.engine import Lane


class Pending:
    """The changes that one segment is still waiting for."""

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
            clear_pending(connection, self._segment, ids)

    def _upsert(self, connection: Connection, ids: Sequence[str], *, member: bool) -> None:
        rows = select(literal(self._segment), listed(connection).id, literal(member)).where(true())
        statement = insert_into(connection, PENDING).from_select(["segment", "id", "member"], rows)
        last_word = statement.on_conflict_do_update(
            index_elements=["segment", "id"], set_={"member": statement.excluded.member}
        )
        connection.execute(last_word, list_parameter(ids))


def clear_pending(connection: Connection, segment: int, ids: Sequence[str]) -> None:
    """Forget what was kept for these ids, within a transaction of the caller's.

    Args:
        connection: The caller's.
        segment: The segment's number in the store.
        ids: At most 100,000 of them.
    """
    here = PENDING.c.segment == segment
    # Nearly always there is nothing, and then a list of ids need not be unfolded again.
    if connection.execute(select(PENDING.c.id).where(here).limit(1)).first() is not None:
        them = PENDING.c.id.in_(select(listed(connection).id))
        connection.execute(delete(PENDING).where(here, them), list_parameter(ids))
