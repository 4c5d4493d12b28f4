"""One stream's delivery ledger, kept in the store.

Owns what is written down when, and when it is forgotten. Refuses to know what a record is, and how a bookmark is read.

A batch is one row: its digests end to end, the highest replication-key value among its records, and its epoch, which is
the number of STATE messages that came before its last record, counted on from run to run. When a STATE has been written,
a batch goes that came before the STATE before it and lies, where both can be read, strictly below that one's bookmark:
whichever of the two the next run starts from, no tap sends those records again.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, or_, select, update

from target_statsig._compat import override
from target_statsig.ledger import DIGEST_BYTES, Bookmark, StreamLedger
from target_statsig.store.recollection import recollect
from target_statsig.store.tables import BATCHES, STREAMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from target_statsig.clock import Clock
    from target_statsig.store.engine import Lane
    from target_statsig.store.recall import Recall

_DAY = 86_400.0

_SKIPPED_BYTES = 10_000 * DIGEST_BYTES
"""Digests of known records that wait to be written down together, where no batch is sent in between, in bytes."""


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
        self._recall: Recall | None = None
        self._skipped: dict[str | None, _Skipped] = {}
        if keep_days:
            self._forget_the_old()
        self._epochs_before, self._last_state = self._look_up()

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        with self._turn:
            if self._recall is None:
                self._recall = recollect(self._lane, self._stream, self._run_id)
            answers = self._recall.take_known(digests)
            known = list(itertools.compress(digests, answers))
            if known:
                kind = highest.kind if highest else None
                self._skipped.setdefault(kind, _Skipped()).add(known, highest, epoch)
                if sum(len(skipped.digests) for skipped in self._skipped.values()) >= _SKIPPED_BYTES:
                    with self._lane.writing() as connection:
                        self._write_skipped(connection)
                    self._skipped.clear()
            return answers

    @override
    def in_doubt(self, digests: Sequence[bytes]) -> int:
        with self._turn:
            if self._recall is None:
                self._recall = recollect(self._lane, self._stream, self._run_id)
            return self._recall.take_doubtful(digests)

    @override
    def intend(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> int:
        with self._turn:
            with self._lane.writing() as connection:
                self._write_skipped(connection)
                batch = self._write(connection, b"".join(digests), highest, epoch, acknowledged=False)
            self._skipped.clear()
        return batch

    @override
    def acknowledge(self, batch: int) -> None:
        with self._lane.writing() as connection:
            connection.execute(update(BATCHES).where(BATCHES.c.batch == batch).values(acknowledged=True))

    @override
    def withdraw(self, batch: int) -> None:
        with self._lane.writing() as connection:
            connection.execute(delete(BATCHES).where(BATCHES.c.batch == batch))

    @override
    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        state = _State(self._epochs_before + epoch, bookmark)
        with self._turn:
            with self._lane.writing() as connection:
                # First what is still to be remembered, then what may be forgotten.
                self._write_skipped(connection)
                if self._last_state is not None and not self._keep_days:
                    self._forget_before(connection, self._last_state)
                connection.execute(
                    update(STREAMS)
                    .where(STREAMS.c.stream == self._stream)
                    .values(
                        state_epoch=state.epoch,
                        state_kind=bookmark.kind if bookmark else None,
                        state_bookmark=bookmark.text if bookmark else None,
                    )
                )
            self._skipped.clear()
            self._last_state = state

    def _forget_before(self, connection: Connection, state: _State) -> None:
        forgotten = delete(BATCHES).where(BATCHES.c.stream == self._stream, BATCHES.c.epoch < state.epoch)
        if state.bookmark is not None:
            incomparable = or_(BATCHES.c.kind.is_(None), BATCHES.c.kind != state.bookmark.kind)
            forgotten = forgotten.where(or_(incomparable, BATCHES.c.highest < state.bookmark.text))
        connection.execute(forgotten)

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

    def _write_skipped(self, connection: Connection) -> None:
        for skipped in self._skipped.values():
            self._write(connection, bytes(skipped.digests), skipped.highest, skipped.epoch, acknowledged=True)

    def _write(
        self, connection: Connection, digests: bytes, highest: Bookmark | None, epoch: int, *, acknowledged: bool
    ) -> int:
        row = insert(BATCHES).values(
            stream=self._stream,
            run_id=self._run_id,
            acknowledged=acknowledged,
            epoch=self._epochs_before + epoch,
            kind=highest.kind if highest else None,
            highest=highest.text if highest else None,
            at=self._clock.time(),
            digests=digests,
        )
        return int(connection.execute(row).inserted_primary_key[0])
