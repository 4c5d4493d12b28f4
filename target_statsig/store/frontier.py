"""How far a run has come in what earlier runs left, for streams whose bookmarks cannot be read.

A run that begins anew, since nobody saved the last STATE, meets again what earlier runs delivered; it must not forget
what it has not met yet. A stream keeps its order: of an earlier run, that lies behind which came before the last epoch
with a record that this run has met; all of it, where this run meets none of its records and others instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from target_statsig.ledger import DIGEST_BYTES
from target_statsig.store.dialects import list_parameter, listed
from target_statsig.store.tables import BATCHES
from target_statsig.store.temporary import walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Table

    from target_statsig.store.engine import Lane

BATCHES_AT_A_TIME = 100
"""Batches read at a time: a megabyte or so."""


class Frontier:
    """The last epoch of each earlier run of which this run has met a record."""

    def __init__(self, lane: Lane, stream: int, run_id: str, *, left: Table, runs: Sequence[str]) -> None:
        """Begin with nothing met.

        Args:
            lane: The connection to use.
            stream: The stream's number in the store.
            run_id: This run.
            left: A table that says in which `epoch` of which `run` a `digest` came first.
            runs: The identities of the runs, by their numbers in that table.
        """
        self._lane = lane
        self._own = (BATCHES.c.stream == stream, BATCHES.c.run_id == run_id)
        self._left = left
        self._runs = runs
        self._looked_at = 0
        self._last: dict[str, int] = {}

    def advance(self) -> None:
        """Take note of the records that this run has met: it wrote them down anew, or sent them again."""
        own = select(BATCHES.c.batch, BATCHES.c.digests).where(*self._own, BATCHES.c.batch > self._looked_at)
        for page in walk(self._lane, own, BATCHES_AT_A_TIME):
            self._meet([name for _, digests in page for name in names_of(digests)])
            self._looked_at = page[-1][0]

    def behind(self) -> ColumnElement[bool]:
        """Return the condition for batches of which this run will meet no more records."""
        own = and_(*self._own)
        if not self._looked_at:
            return own
        # This run's own batches are among those of runs that it has met nothing of.
        return or_(
            BATCHES.c.run_id.not_in(self._last),
            *(and_(BATCHES.c.run_id == run_id, BATCHES.c.epoch < epoch) for run_id, epoch in self._last.items()),
        )

    def _meet(self, names: Sequence[str]) -> None:
        left = self._left.c
        with self._lane.reading() as connection:
            met = left.digest.in_(select(listed(connection).id))
            query = select(left.run, func.max(left.epoch)).where(met).group_by(left.run)
            found = connection.execute(query, list_parameter(names)).all()
        for run, epoch in found:
            run_id = self._runs[run]
            self._last[run_id] = max(epoch, self._last.get(run_id, 0))


def names_of(digests: bytes) -> Iterator[str]:
    """Give a batch's digests one by one, in hexadecimal digits."""
    digits = bytes(digests).hex()
    width = 2 * DIGEST_BYTES
    return (digits[start : start + width] for start in range(0, len(digits), width))
