"""One stream's delivery ledger, kept in the store.

Owns what is written down when, and when it is forgotten. Refuses to know what a record is, and how a bookmark is read.

A batch is one row: its digests end to end, the highest replication-key value among its records, and its epoch, which
is the number of STATE messages that came before its last record, counted on from run to run. When a STATE has been
written, a batch goes that came before the STATE before it and lies, where both can be read, strictly below that one's
bookmark: whichever of the two the next run starts from, no tap sends those records again.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import and_, bindparam, delete, func, insert, not_, or_, select, true, update

from target_statsig._compat import override
from target_statsig.exceptions import StoreError
from target_statsig.ledger import DIGEST_BYTES, Bookmark, StreamLedger
from target_statsig.store.recall import EmptyRecall
from target_statsig.store.recollection import Recollection, recollect
from target_statsig.store.tables import BATCHES, STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from target_statsig.clock import Clock
    from target_statsig.store.engine import Lane

_DAY = 86_400.0

_SKIPPED_BYTES = 10_000 * DIGEST_BYTES
"""Digests of known records that wait to be written down together, where no batch is sent in between, in bytes."""


# Built once: to build a statement takes as long as to run it.
_WRITE = insert(BATCHES)
_ACKNOWLEDGE = update(BATCHES).where(BATCHES.c.batch == bindparam("number")).values(acknowledged=true())
_WITHDRAW = delete(BATCHES).where(BATCHES.c.batch == bindparam("number"))


@dataclass(frozen=True, slots=True)
class _State:
    """A STATE that was written: its number over all runs, and its bookmark where that can be read."""

    epoch: int
    bookmark: Bookmark | None


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

    def __init__(self, lane: Lane, stream: int, *, run_id: str, clock: Clock, keep_days: int) -> None:
        """Look up where the last run stopped.

        Args:
            lane: The connection to use.
            stream: The stream's number in the store.
            run_id: This run.
            clock: The run's clock.
            keep_days: Days for which everything is remembered, whatever STATE says; 0: STATE decides.

        Raises:
            StoreError: The database failed.
        """
        self._lane = lane
        self._stream = stream
        self._run_id = run_id
        self._clock = clock
        self._keep_days = keep_days
        self._turn = threading.RLock()
        self._recollection: Recollection | None = None
        self._skipped: dict[str | None, _Skipped] = {}
        if keep_days:
            self._forget_the_old()
        self._epochs_before, self._last_state = self._look_up()

    @property
    @override
    def is_blank(self) -> bool:
        with self._turn:
            return isinstance(self._recollect().recall, EmptyRecall)

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        with self._turn:
            answers = self._recollect().recall.take_known(digests)
            known = list(itertools.compress(digests, answers))
            if known:
                kind = highest.kind if highest else None
                self._skipped.setdefault(kind, _Skipped()).add(known, highest, epoch)
                if sum(len(skipped.digests) for skipped in self._skipped.values()) >= _SKIPPED_BYTES:
                    self._write_skipped()
            return answers

    @override
    def in_doubt(self, digests: Sequence[bytes]) -> int:
        with self._turn:
            return self._recollect().recall.take_doubtful(digests)

    @override
    def intend(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> int:
        with self._writing() as connection:
            return self._write(connection, b"".join(digests), highest, epoch, acknowledged=False)

    @override
    def acknowledge(self, batch: int) -> None:
        with self._lane.writing() as connection:
            connection.execute(_ACKNOWLEDGE, {"number": batch})

    @override
    def withdraw(self, batch: int) -> None:
        with self._lane.writing() as connection:
            connection.execute(_WITHDRAW, {"number": batch})

    @override
    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        before, now = self._last_state, _State(self._epochs_before + epoch, bookmark)
        with self._turn:
            # What is still to be remembered is written down first.
            self._write_skipped()
            forgotten = None if before is None or self._keep_days else self._forgotten(before, now)
            with self._lane.writing() as connection:
                if forgotten is not None:
                    connection.execute(delete(BATCHES).where(forgotten))
                values = {
                    "state_epoch": now.epoch,
                    "state_kind": bookmark.kind if bookmark else None,
                    "state_bookmark": bookmark.text if bookmark else None,
                }
                connection.execute(update(STREAMS).where(STREAMS.c.stream == self._stream).values(values))
            self._last_state = now

    def close(self) -> None:
        """Write down what is still to be remembered; should that fail, the earlier runs' batches still say it."""
        with contextlib.suppress(StoreError):
            self._write_skipped()

    def _recollect(self) -> Recollection:
        if self._recollection is None:
            self._recollection = recollect(self._lane, self._stream, self._run_id, follow=not self._keep_days)
        return self._recollection

    def _write_skipped(self) -> None:
        if self._skipped:
            with self._writing():
                pass

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Give a transaction that begins by writing down what was known and skipped."""
        with self._turn:
            with self._lane.writing() as connection:
                for skipped in self._skipped.values():
                    self._write(connection, bytes(skipped.digests), skipped.highest, skipped.epoch, acknowledged=True)
                yield connection
            self._skipped.clear()

    def _forgotten(self, before: _State, now: _State) -> ColumnElement[bool]:
        """Return the condition for batches that no run will meet, whichever of two STATEs it starts from."""
        earlier = and_(BATCHES.c.stream == self._stream, BATCHES.c.epoch < before.epoch)
        if not (before.bookmark and now.bookmark and before.bookmark.kind == now.bookmark.kind):
            return and_(earlier, self._behind())
        comparable = and_(BATCHES.c.kind.is_not(None), BATCHES.c.kind == now.bookmark.kind)
        below = BATCHES.c.highest < min(before.bookmark.text, now.bookmark.text)
        return and_(earlier, or_(and_(comparable, below), and_(not_(comparable), self._behind())))

    def _behind(self) -> ColumnElement[bool]:
        if self._recollection is None:
            # Of this stream nothing has come yet, and so nobody knows where it will start.
            return BATCHES.c.run_id == self._run_id
        if self._recollection.frontier is None:
            return true()
        self._recollection.frontier.advance()
        return self._recollection.frontier.behind()

    def _forget_the_old(self) -> None:
        oldest = self._clock.time() - self._keep_days * _DAY
        with self._lane.writing() as connection:
            connection.execute(delete(BATCHES).where(BATCHES.c.stream == self._stream, BATCHES.c.at < oldest))

    def _look_up(self) -> tuple[int, _State | None]:
        """Return the number of STATEs of earlier runs, and the last one that was written."""
        columns = (STREAMS.c.state_epoch, STREAMS.c.state_kind, STREAMS.c.state_bookmark)
        with self._lane.reading() as connection:
            epoch, kind, text = connection.execute(select(*columns).where(STREAMS.c.stream == self._stream)).one()
            newest = connection.execute(
                select(func.max(BATCHES.c.epoch)).where(BATCHES.c.stream == self._stream)
            ).scalar_one()
        last = None if epoch is None else _State(epoch, None if kind is None else Bookmark(kind, text))
        return max(epoch or 0, newest or 0), last

    def _write(
        self, connection: Connection, digests: bytes, highest: Bookmark | None, epoch: int, *, acknowledged: bool
    ) -> int:
        row = {
            "stream": self._stream,
            "run_id": self._run_id,
            "acknowledged": acknowledged,
            "epoch": self._epochs_before + epoch,
            "kind": highest.kind if highest else None,
            "highest": highest.text if highest else None,
            "at": self._clock.time(),
            "digests": digests,
        }
        (batch,) = connection.execute(_WRITE, row).inserted_primary_key or (0,)
        return int(batch)
