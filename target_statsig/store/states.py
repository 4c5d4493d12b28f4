"""The STATEs that were written for a stream, and what they let its ledger forget.

Owns the rule. The next run may start from the last STATE, or from the one before it, where the last got lost. A batch
goes that came before both and lies strictly below both bookmarks: no tap sends those records again. Where bookmarks
have no order, a batch goes that came before the STATE before these two: the rows at a bookmark, which a tap sends
again, came behind the STATE before it. Refuses to know when it is time to forget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, false, func, not_, or_, select, true, update

from target_statsig.ledger import UNORDERED, Bookmark
from target_statsig.store.tables import BATCHES, STREAMS

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from target_statsig.store.engine import Lane
    from target_statsig.store.journal import Journal
    from target_statsig.store.recollection import Recollection


_KEPT = 3
"""STATEs that are kept: the two from which a run may start, and the one behind which the rows at both bookmarks are."""


@dataclass(frozen=True, slots=True)
class _State:
    """A STATE that was written: its number over all runs, and its bookmark where that can be read."""

    epoch: int
    bookmark: Bookmark | None


class WrittenStates:
    """The last three STATEs of one stream, in this run or earlier ones; one thread at a time uses them.

    Attributes:
        epochs_before: How many STATEs earlier runs have read, as far as anything in the store tells.
    """

    def __init__(self, lane: Lane, journal: Journal, stream: int, run_id: str) -> None:
        """Look up where the last run stopped.

        Args:
            lane: The connection to read from.
            journal: What writes.
            stream: The stream's number in the store.
            run_id: This run.

        Raises:
            StoreError: The database failed.
        """
        self._journal = journal
        self._stream = stream
        self._run_id = run_id
        self._states, newest = self._look_up(lane)
        self._stored = self._states[-1] if self._states else None
        self.epochs_before = max(self._stored.epoch if self._stored else 0, newest)
        self._has_own = False

    def add(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        """Take note of a STATE that was written; only `settle` brings it into the store.

        Args:
            bookmark: Its bookmark of this stream; None where it has none.
            epoch: Its number in this run, from 1.
        """
        is_unordered = bookmark is not None and bookmark.kind == UNORDERED
        if is_unordered and self._has_own and bookmark == self._states[-1].bookmark:
            return  # it is about other streams
        self._has_own = True
        self._states = [*self._states[-_KEPT + 1 :], _State(self.epochs_before + epoch, bookmark)]

    def settle(self, recollection: Recollection | None, *, forget: bool) -> None:
        """Write the last STATE down, and forget what goes with it; a run that dies before leaves that to the next.

        What this run has met so far is to be written down before, or it might be forgotten.

        Args:
            recollection: What earlier runs left; None where no record has come yet.
            forget: Whether anything is to be forgotten.

        Raises:
            StoreError: The database failed.
        """
        if not self._states or self._states[-1] is self._stored:
            return
        *_, last = self._states
        before = self._states[-2] if len(self._states) > 1 else None
        forgotten = self._forgotten(before, last, recollection) if before and forget else None
        values = {
            "before_epoch": before.epoch if before else None,
            "state_epoch": last.epoch,
            "state_kind": last.bookmark.kind if last.bookmark else None,
            "state_bookmark": last.bookmark.text if last.bookmark else None,
        }

        def write(connection: Connection) -> None:
            if forgotten is not None:
                connection.execute(delete(BATCHES).where(forgotten))
            connection.execute(update(STREAMS).where(STREAMS.c.stream == self._stream).values(values))

        self._journal.write(write)
        self._stored = last

    def _forgotten(self, before: _State, last: _State, recollection: Recollection | None) -> ColumnElement[bool]:
        """Return the condition for batches that no run will meet, whichever of two STATEs it starts from."""
        here = BATCHES.c.stream == self._stream
        behind: ColumnElement[bool] = false()
        if len(self._states) == _KEPT:
            behind = and_(BATCHES.c.epoch < self._states[0].epoch, self._behind(recollection))
        if not (before.bookmark and last.bookmark and before.bookmark.kind == last.bookmark.kind != UNORDERED):
            return and_(here, behind)
        comparable = and_(BATCHES.c.kind.is_not(None), BATCHES.c.kind == last.bookmark.kind)
        below = and_(BATCHES.c.epoch < before.epoch, BATCHES.c.highest < min(before.bookmark.text, last.bookmark.text))
        return and_(here, or_(and_(comparable, below), and_(not_(comparable), behind)))

    def _behind(self, recollection: Recollection | None) -> ColumnElement[bool]:
        if recollection is None:
            # Of this stream nothing has come yet, and so nobody knows where it will start.
            return BATCHES.c.run_id == self._run_id
        if recollection.frontier is None:
            return true()
        recollection.frontier.advance()
        return recollection.frontier.behind()

    def _look_up(self, lane: Lane) -> tuple[list[_State], int]:
        """Return the last STATEs that earlier runs wrote, and the epoch of the newest batch."""
        columns = (STREAMS.c.before_epoch, STREAMS.c.state_epoch, STREAMS.c.state_kind, STREAMS.c.state_bookmark)
        with lane.reading() as connection:
            before, epoch, kind, text = connection.execute(
                select(*columns).where(STREAMS.c.stream == self._stream)
            ).one()
            newest = connection.execute(
                select(func.max(BATCHES.c.epoch)).where(BATCHES.c.stream == self._stream)
            ).scalar_one()
        states = [] if before is None else [_State(before, None)]
        if epoch is not None:
            states.append(_State(epoch, None if kind is None else Bookmark(kind, text)))
        return states, newest or 0
