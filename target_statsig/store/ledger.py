"""One stream's delivery ledger, kept in the store.

Owns what is written down when, and when it is time to forget; what may be forgotten is `states`' to say. Refuses to
know what a record is, and how a bookmark is read.

A batch is one row: its digests end to end, the highest replication-key value among its records, and its epoch, which
is the number of STATE messages that came before its last record, counted on from run to run.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, true, update

from target_statsig._compat import override
from target_statsig.ledger import DIGEST_BYTES, Bookmark, StreamLedger
from target_statsig.store.dialects import in_driver_words, inserted_number
from target_statsig.store.recall import EmptyRecall
from target_statsig.store.recollection import Recollection, recollect
from target_statsig.store.states import WrittenStates
from target_statsig.store.tables import BATCHES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Dialect

    from target_statsig.clock import Clock
    from target_statsig.store.engine import Lane
    from target_statsig.store.journal import Journal
    from target_statsig.store.locks import Lock

_DAY = 86_400.0

_SKIPPED_BYTES = 10_000 * DIGEST_BYTES
"""Digests of known records that wait to be written down together, where no batch is sent in between, in bytes."""

_FORGET_EVERY = 100
"""Batches between two times that a STATE has something forgotten: it takes as long for one of them as for all."""


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

    def __init__(
        self, lane: Lane, journal: Journal, lock: Lock, stream: int, *, run_id: str, clock: Clock, keep_days: int
    ) -> None:
        """Look up where the last run stopped.

        Args:
            lane: The connection to use.
            journal: What writes, on the same connection.
            lock: What keeps other runs out.
            stream: The stream's number in the store.
            run_id: This run.
            clock: The run's clock.
            keep_days: Days for which everything is remembered, whatever STATE says; 0: STATE decides.

        Raises:
            StoreError: The database failed.
        """
        self._lane = lane
        self._journal = journal
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
        self._states = WrittenStates(lane, journal, stream, run_id)
        self._words = _Words.of(lane.dialect)

    @override
    def begin(self) -> None:
        self._lock.acquire()
        # What a run that ended meanwhile has left.
        self._states = WrittenStates(self._lane, self._journal, self._stream, self._run_id)

    @override
    def check(self) -> None:
        self._lock.check()

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
                    self._write()
            return answers

    @override
    def in_doubt(self, digests: bytes) -> int:
        with self._turn:
            return self._recollect().recall.take_doubtful(digests)

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
            self._recollection = recollect(self._lane, self._stream, self._run_id, follow=not self._keep_days)
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
        self._journal.write(lambda connection: connection.exec_driver_sql(words, values), is_one_statement=True)

    def _insert(self, rows: Collection[dict[str, Any]]) -> int:
        def write(connection: Connection) -> int:
            number = 0
            for row in rows:
                number = inserted_number(connection.exec_driver_sql(self._words.write, row))
                self._unsettled += 1
            return number

        return self._journal.write(write, is_one_statement=len(rows) == 1)

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
