"""What earlier runs remembered of a stream, in a form that answers quickly.

Owns the answers: each uses up what it told, since a record is known only as often as it was delivered. Refuses to know
where they come from (`recollection`) and what is done about them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select, update

from target_statsig._compat import override
from target_statsig.ledger import each
from target_statsig.store.dialects import list_parameter, listed
from target_statsig.store.digests import DigestBag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Table

    from target_statsig.store.engine import Lane


class Recall(Protocol):
    """How often each record was delivered by an earlier run."""

    def take_known(self, digests: Sequence[bytes]) -> list[bool]:
        """Tell of each record whether it was delivered."""

    def take_doubtful(self, digests: bytes) -> int:
        """Return how many of the records may have been delivered; their digests stand end to end."""


class EmptyRecall(Recall):
    """No earlier run left anything."""

    @override
    def take_known(self, digests: Sequence[bytes]) -> list[bool]:
        return [False] * len(digests)

    @override
    def take_doubtful(self, digests: bytes) -> int:
        return 0


class RecallInMemory(Recall):
    """What earlier runs left fits into memory."""

    def __init__(self, expected: int) -> None:
        """Make room for a number of records that are known; few are expected to be doubtful."""
        self.known = DigestBag(expected)
        self.doubtful = DigestBag(0)

    @override
    def take_known(self, digests: Sequence[bytes]) -> list[bool]:
        return self.known.take_each(digests)

    @override
    def take_doubtful(self, digests: bytes) -> int:
        return sum(self.doubtful.take_each(each(digests))) if self.doubtful else 0


class RecallOnDisk(Recall):
    """What earlier runs left stays in a temporary table."""

    def __init__(self, lane: Lane, table: Table) -> None:
        """Take the connection to use, and its table of `digest`, `known` and `doubtful`."""
        self._lane = lane
        self._table = table

    @override
    def take_known(self, digests: Sequence[bytes]) -> list[bool]:
        return self._take(digests, self._table.c.known)

    @override
    def take_doubtful(self, digests: bytes) -> int:
        return sum(self._take(each(digests), self._table.c.doubtful))

    def _take(self, digests: Sequence[bytes], column: Column[int]) -> list[bool]:
        names = [digest.hex() for digest in digests]
        key = self._table.c.digest
        with self._lane.reading() as connection:
            asked = key.in_(select(listed(connection).id))
            rows = connection.execute(
                select(key, column.label("times")).where(asked, column > 0), list_parameter(names)
            )
            left = {row.digest: row.times for row in rows}
            taken: Counter[str] = Counter()
            answers = []
            for name in names:
                answers.append(taken[name] < left.get(name, 0))
                taken[name] += answers[-1]
            for times in set(taken.values()) - {0}:
                used = [name for name, number in taken.items() if number == times]
                connection.execute(
                    update(self._table).where(asked).values({column: column - times}), list_parameter(used)
                )
        return answers
