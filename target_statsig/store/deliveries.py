"""One stream's delivery ledger, kept in the store: what is written down when, and what a written STATE lets it forget.

A batch is one row: its digests end to end, the highest replication-key value among its records, and its epoch, which
is the number of STATE messages that came before its last record, counted on from run to run.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, false, func, insert, not_, or_, select, true, update

from target_statsig._compat import override
from target_statsig.store.dialects import in_driver_words, inserted_number
from target_statsig.store.ledger import DIGEST_BYTES, UNORDERED, Bookmark, StreamLedger, each
from target_statsig.store.recollection import Recollection
from target_statsig.store.tables import BATCHES, STREAMS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Dialect

    from target_statsig.clock import Clock
    from target_statsig.store.database import Lane
    from target_statsig.store.locks import Lock

_DAY = 86_400.0

_SKIPPED_BYTES = 10_000 * DIGEST_BYTES
"""Digests of known records that wait to be written down together, where no batch is sent in between, in bytes."""

_FORGET_EVERY = 100
"""Batches between two times that a STATE has something forgotten: it takes as long for one of them as for all."""

_KEPT = 3
"""STATEs that are kept: the two from which a run may start, and the one behind which the rows at both bookmarks are."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What is written for every batch, spelled out once."""

    write: str
    acknowledge: str
    withdraw: str

    @classmethod
    def of(cls, dialect: Dialect) -> _Words:
        columns = [column.name for column in BATCHES.c if column is not BATCHES.c.batch]
        this = BATCHES.c.batch == bindparam("number")
        return cls(
            write=in_driver_words(dialect, insert(BATCHES), columns),
            acknowledge=in_driver_words(dialect, update(BATCHES).where(this).values(acknowledged=true())),
            withdraw=in_driver_words(dialect, delete(BATCHES).where(this)),
        )


@dataclass(slots=True)
class _Skipped:
    """Known records that were skipped and are not written down yet."""

    digests: bytearray = field(default_factory=bytearray)
    highest: Bookmark | None = None
    epoch: int = 0

    def add(self, digests: Sequence[bytes], highest: Bookmark | None, epoch: int) -> None:
        """Take more of them, with bookmarks of the same kind."""
        self.digests += b"".join(digests)
        self.epoch = max(self.epoch, epoch)
        if highest is not None and (self.highest is None or self.highest.text < highest.text):
            self.highest = highest


class StoredLedger(StreamLedger):
    """What the store remembers of one stream's deliveries."""

    def __init__(self, lane: Lane, lock: Lock, stream: int, *, run_id: str, clock: Clock, keep_days: int) -> None:
        """Look up where the last run stopped.

        Args:
            lane: The connection to use.
            lock: What keeps other runs out.
            stream: The stream's number in the store.
            run_id: This run.
            clock: The run's clock.
            keep_days: Days for which everything is remembered, whatever STATE says; 0: STATE decides.

        Raises:
            StoreError: The database failed.
        """
        self._lane = lane
        self._lock = lock
        self._stream = stream
        self._run_id = run_id
        self._clock = clock
        self._keep_days = keep_days
        self._turn = threading.RLock()
        self._recollection: Recollection | None = None
        self._skipped: dict[str | None, _Skipped] = {}
        self._unsettled = 0
        if keep_days:
            self._forget_the_old()
        self._states = _WrittenStates(lane, stream, run_id)
        self._words = _Words.of(lane.dialect)

    @override
    def begin(self) -> None:
        self._lock.acquire()
        # Another run may have ended since.
        self._states = _WrittenStates(self._lane, self._stream, self._run_id)

    @override
    def check(self) -> None:
        self._lock.check()

    @property
    @override
    def is_blank(self) -> bool:
        with self._turn:
            return self._recollect().is_empty

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        with self._turn:
            answers = self._recollect().known.take_each(digests)
            known = list(itertools.compress(digests, answers))
            if known:
                kind = highest.kind if highest else None
                self._skipped.setdefault(kind, _Skipped()).add(known, highest, epoch)
                if sum(len(skipped.digests) for skipped in self._skipped.values()) >= _SKIPPED_BYTES:
                    self._write()
            return answers

    @override
    def in_doubt(self, digests: bytes) -> int:
        with self._turn:
            doubtful = self._recollect().doubtful
            return sum(doubtful.take_each(each(digests))) if doubtful else 0

    @override
    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:
        return self._write(self._row(digests, highest, epoch, acknowledged=False))

    @override
    def acknowledge(self, batch: int) -> None:
        self._write_one(self._words.acknowledge, {"number": batch})

    @override
    def withdraw(self, batch: int) -> None:
        self._write_one(self._words.withdraw, {"number": batch})

    @override
    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        with self._turn:
            self._states.add(bookmark, epoch=epoch)
            if self._unsettled >= _FORGET_EVERY:
                self.settle()

    def settle(self) -> None:
        """Write down what is still to be remembered, and forget what the STATEs so far allow.

        A run that dies without it leaves more to the next one than that needs, and that is all.

        Raises:
            StoreError: The database failed.
        """
        with self._turn:
            if self._skipped:
                self._write()
            self._states.settle(self._recollection, forget=not self._keep_days)
            self._unsettled = 0

    def _recollect(self) -> Recollection:
        if self._recollection is None:
            self._recollection = Recollection(self._lane, self._stream, self._run_id)
        return self._recollection

    def _write(self, *rows: dict[str, Any]) -> int:
        """Write batches down, those that were known and skipped before them; return the number of the last."""
        if not self._skipped:
            return self._insert(rows)
        # Nobody may forget anything before they are committed: the earlier runs' batches still say it until then.
        with self._turn:
            skipped = [
                self._row(bytes(these.digests), these.highest, these.epoch, acknowledged=True)
                for these in self._skipped.values()
            ]
            number = self._insert((*skipped, *rows))
            self._skipped.clear()
            return number

    def _write_one(self, words: str, values: dict[str, Any]) -> None:
        with self._lane.writing(is_one_statement=True) as connection:
            connection.exec_driver_sql(words, values)

    def _insert(self, rows: Collection[dict[str, Any]]) -> int:
        number = 0
        with self._lane.writing(is_one_statement=len(rows) == 1) as connection:
            for row in rows:
                number = inserted_number(connection.exec_driver_sql(self._words.write, row))
                self._unsettled += 1
        return number

    def _row(self, digests: bytes, highest: Bookmark | None, epoch: int, *, acknowledged: bool) -> dict[str, Any]:
        return {
            "stream": self._stream,
            "run_id": self._run_id,
            "acknowledged": acknowledged,
            "epoch": self._states.epochs_before + epoch,
            "kind": highest.kind if highest else None,
            "highest": highest.text if highest else None,
            "at": self._clock.time(),
            "digests": digests,
        }

    def _forget_the_old(self) -> None:
        oldest = self._clock.time() - self._keep_days * _DAY
        with self._lane.writing() as connection:
            connection.execute(delete(BATCHES).where(BATCHES.c.stream == self._stream, BATCHES.c.at < oldest))


@dataclass(frozen=True, slots=True)
class _State:
    """A STATE that was written: its number over all runs, and its bookmark where that can be read."""

    epoch: int
    bookmark: Bookmark | None


class _WrittenStates:
    """The last three STATEs that were written for one stream, in this run or earlier ones, and what they let it forget.

    The next run may start from the last STATE, or from the one before it, where the last got lost. A batch goes that
    came before both and lies strictly below both bookmarks: no tap sends those records again. Where bookmarks have no
    order, a batch goes that came before the STATE before these two: the rows at a bookmark, which a tap sends again,
    came after the STATE before it.

    Attributes:
        epochs_before: How many STATEs earlier runs have read, as far as anything in the store tells.
    """

    def __init__(self, lane: Lane, stream: int, run_id: str) -> None:
        self._lane = lane
        self._stream = stream
        self._run_id = run_id
        self._states, newest = self._look_up()
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
        with self._lane.writing() as connection:
            if forgotten is not None:
                connection.execute(delete(BATCHES).where(forgotten))
            connection.execute(update(STREAMS).where(STREAMS.c.stream == self._stream).values(values))
        self._stored = last

    def _forgotten(self, before: _State, last: _State, recollection: Recollection | None) -> ColumnElement[bool]:
        """Return the condition for batches that no run will meet, whichever of two STATEs it starts from."""
        here = BATCHES.c.stream == self._stream
        behind: ColumnElement[bool] = false()
        if len(self._states) == _KEPT:
            own = BATCHES.c.run_id == self._run_id
            # Where no record has come yet, nobody knows where the stream will start.
            met = or_(own, recollection.behind()) if recollection else own
            behind = and_(BATCHES.c.epoch < self._states[0].epoch, met)
        if not (before.bookmark and last.bookmark and before.bookmark.kind == last.bookmark.kind != UNORDERED):
            return and_(here, behind)
        comparable = and_(BATCHES.c.kind.is_not(None), BATCHES.c.kind == last.bookmark.kind)
        below = and_(BATCHES.c.epoch < before.epoch, BATCHES.c.highest < min(before.bookmark.text, last.bookmark.text))
        return and_(here, or_(and_(comparable, below), and_(not_(comparable), behind)))

    def _look_up(self) -> tuple[list[_State], int]:
        """Return the last STATEs that earlier runs wrote, and the epoch of the newest batch."""
        columns = (STREAMS.c.before_epoch, STREAMS.c.state_epoch, STREAMS.c.state_kind, STREAMS.c.state_bookmark)
        with self._lane.reading() as connection:
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
