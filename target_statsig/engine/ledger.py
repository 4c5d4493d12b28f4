"""What is remembered of a prepared table's requests, so that the same command again sends only what is missing.

Two ledgers have it. That of the requests knows which of them were acknowledged, whoever sent them; that of the stream
knows the digests of their records, as of any other run. For the second one all senders of a table are one run: what one
of them has sent, another does not take for delivered before, so that twins stay twins.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from xxhash import xxh3_128_digest

from target_statsig._compat import override
from target_statsig.store.ledger import DIGEST_BYTES, Bookmark, StreamLedger, each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.engine.table import Row
    from target_statsig.store.deliveries import StoredLedger

REMEMBERED_AT_ONCE = 1_000
"""Rows with dead letters that are remembered together: each time, the dead letters are brought to their files."""


class TableLedger:
    """What is remembered of one table; any thread may ask."""

    def __init__(self, requests: StoredLedger, records: StreamLedger, flush: Callable[[], None]) -> None:
        """Take the ledgers.

        Args:
            requests: The ledger of requests.
            records: The ledger of the stream's records.
            flush: Brings dead letters to where they last.
        """
        self._requests = requests
        self._records = records
        self._flush = flush
        self._lock = threading.Lock()
        self._settled: list[bytes] = []
        self._of_thread = _Answered()

    def of(self, row: Row) -> RowLedger:
        """Return what is remembered of a row.

        What was answered is written down with the next request of the same thread, before that is sent; a thread that
        sends none at once calls `record`.
        """
        return RowLedger(row, self, self._requests, self._records)

    def intend(self, ids: bytes, digests: bytes, highest: Bookmark | None, epoch: int) -> tuple[int, int]:
        """Write a request down before it is sent, and return its numbers in both ledgers."""
        with self._requests.transaction():
            self._record()
            number = self._requests.intend(ids, highest=None, epoch=epoch)
            of_records = self._records.intend(digests, highest=highest, epoch=epoch)
        self._of_thread.numbers.clear()
        return number, of_records

    def acknowledge(self, numbers: tuple[int, int]) -> None:
        """Take a request that was answered, by its numbers; `intend` and `record` write it down."""
        self._of_thread.numbers.append(numbers)

    def record(self) -> None:
        """Write down what this thread had answered.

        Raises:
            StoreError: The store failed.
        """
        if self._of_thread.numbers:
            with self._requests.transaction():
                self._record()
            self._of_thread.numbers.clear()

    def _record(self) -> None:
        for number, of_records in self._of_thread.numbers:
            self._records.acknowledge(of_records)
            self._requests.acknowledge(number)

    def settle(self, row: RowLedger) -> None:
        """Remember that all of a row is delivered or a dead letter, once the dead letters are where they last.

        Raises:
            FatalRunError: The dead letters cannot be written.
            StoreError: The store failed.
        """
        self.record()  # before another thread, or this one, takes its time with the dead letters
        with self._lock:
            self._settled.append(row.settled_id)
            if len(self._settled) >= REMEMBERED_AT_ONCE:
                self._remember()

    def flush(self) -> None:
        """Remember the rows that wait for it.

        Raises:
            FatalRunError: The dead letters cannot be written.
            StoreError: The store failed.
        """
        with self._lock:
            if self._settled:
                self._remember()

    def _remember(self) -> None:
        self._flush()
        _note(self._requests, b"".join(self._settled))
        self._settled.clear()


class _Answered(threading.local):
    """What a thread had answered and is not written down for sure: the numbers of requests in both ledgers."""

    def __init__(self) -> None:
        self.numbers: list[tuple[int, int]] = []


class RowLedger(StreamLedger):
    """What is remembered of a row: its request or, where that did not go as it is, each record of its parts.

    Attributes:
        is_settled: Whether an earlier run saw all of the row delivered or a dead letter.
        is_delivered: Whether an earlier run saw its request acknowledged.
        was_split: Whether its records went, or were to go, in other requests.
        settled_id: By what it is remembered that all of it is settled.
    """

    def __init__(self, row: Row, table: TableLedger, requests: StreamLedger, records: StreamLedger) -> None:
        """Look up what became of the row."""
        place = f"{row.stream}\n{row.config_digest}\n{row.partition}\n{row.attempt}\n{row.sequence}\n".encode()
        content = place + xxh3_128_digest(row.body or b"") + xxh3_128_digest(row.source or b"")
        self._id, self.settled_id, self._split_id = (xxh3_128_digest(content, seed) for seed in range(3))
        self._digests, self._count = row.digests, row.count
        self._table = table
        self._requests = requests
        self._records = records
        self._numbers: dict[int, int] = {}
        self._is_doubted = False
        self.is_delivered = self.is_settled = self.was_split = False
        if not requests.is_blank:
            ids = [self._id, self.settled_id, self._split_id]
            self.is_delivered, is_settled, self.was_split = requests.known(ids, highest=None, epoch=0)
            self.is_settled = is_settled or (self.is_delivered and not row.rejections)
            self._is_doubted = not self.is_delivered and requests.in_doubt(self._id) > 0

    @override
    def begin(self) -> None:
        self._requests.begin()

    @override
    def check(self) -> None:
        self._requests.check()

    @property
    @override
    def is_blank(self) -> bool:
        return not self.was_split and self._records.is_blank

    @property
    @override
    def passed(self) -> Bookmark | None:
        return None

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        known = [False] * len(digests)
        if self.was_split:
            known = self._requests.known(self._ids(digests), highest=None, epoch=0)
        unsent = [digest for digest, is_known in zip(digests, known, strict=True) if not is_known]
        answers = iter(self._records.known(unsent, highest=highest, epoch=epoch))
        return [is_known or next(answers) for is_known in known]

    @override
    def in_doubt(self, digests: bytes) -> int:
        of_records = self._records.in_doubt(digests)
        if self._is_doubted:
            return self._count if digests == self._digests else len(digests) // DIGEST_BYTES
        return max(of_records, self._requests.in_doubt(self._parts(digests))) if self.was_split else of_records

    @override
    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:
        ids = self._id
        if digests != self._digests:
            ids = self._parts(digests)
            if not self.was_split:
                self.was_split = True
                _note(self._requests, self._split_id)
        number, self._numbers[number] = self._table.intend(ids, digests, highest, epoch)
        return number

    @override
    def acknowledge(self, batch: int) -> None:
        self._table.acknowledge((batch, self._numbers.pop(batch)))

    @override
    def withdraw(self, batch: int) -> None:
        self._records.withdraw(self._numbers.pop(batch))
        self._requests.withdraw(batch)

    @override
    def state_written(self, bookmark: Bookmark | None, *, epoch: int) -> None:
        """Forget nothing: a table may be sent again at any time."""

    def _ids(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return by what records of the row are remembered that go in other requests than its own."""
        return [xxh3_128_digest(self._id + digest) for digest in digests]

    def _parts(self, digests: bytes) -> bytes:
        return b"".join(self._ids(each(digests)))


def _note(requests: StreamLedger, ids: bytes) -> None:
    requests.acknowledge(requests.intend(ids, highest=None, epoch=0))
