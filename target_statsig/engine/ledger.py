"""The ledger of a prepared table, so that sending it again sends only what is missing.

Each request is recorded in two ledgers. The ledger of requests records which of the table's requests were acknowledged
in any run. The stream's ledger records the digests of their records, as in other runs. In the stream's ledger all runs
that send the table count as one, so that identical records in the table are all sent.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from typing_extensions import override
from xxhash import xxh3_128_digest

from target_statsig.store.deliveries import StoredLedger
from target_statsig.store.ledger import DIGEST_BYTES, Bookmark, StreamLedger, each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from target_statsig.engine.table import Row

SETTLED_AT_ONCE = 1_000
"""Rows with dead letters that are recorded together, because the dead letters must be written first each time."""


class TableLedger:
    """The deliveries of one table. Thread-safe."""

    def __init__(self, requests: StoredLedger, records: StreamLedger, flush: Callable[[], None]) -> None:
        """Take the ledger of requests, the stream's ledger, and the function that writes the dead letters."""
        self.requests = requests
        self.records = records
        self._flush = flush
        self._lock = threading.Lock()
        self._settled: list[bytes] = []
        self._unrecorded: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        """The acknowledged requests of each thread that are not recorded yet, by their numbers in both ledgers."""

    def intend(self, ids: bytes, digests: bytes) -> tuple[int, int]:
        """Record a request before it is sent, and return its numbers in both ledgers."""
        with self._recording():
            if isinstance(self.records, StoredLedger):
                return self.records.intend_for(self.requests, ids, digests, highest=None, epoch=0)
            return self.requests.intend(ids, highest=None, epoch=0), 0

    def acknowledge(self, numbers: tuple[int, int]) -> None:
        """Take the numbers of an acknowledged request.

        They are recorded with the next request of this thread, before that is sent. A thread without a next request
        calls `record`.
        """
        self._unrecorded[threading.get_ident()].append(numbers)

    def record(self) -> None:
        """Record the acknowledgements of this thread.

        Raises:
            StoreError: The store failed.
        """
        if self._unrecorded[threading.get_ident()]:
            with self._recording():
                pass

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Record the acknowledgements of this thread and the block's changes in one transaction."""
        acknowledged = self._unrecorded[threading.get_ident()]
        with self.requests.transaction():
            for number, of_records in acknowledged:
                self.requests.acknowledge(number, also=of_records)
            yield
        acknowledged.clear()

    def settle(self, row: RowLedger) -> None:
        """Record that every record of a row is delivered or a dead letter, after the dead letters are written.

        Raises:
            FatalRunError: The dead letters cannot be written.
            StoreError: The store failed.
        """
        self.record()  # first, because writing dead letters may take long
        self._settled.append(row.settled_id)
        if len(self._settled) >= SETTLED_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Record the rows that `settle` has gathered.

        Raises:
            FatalRunError: The dead letters cannot be written.
            StoreError: The store failed.
        """
        with self._lock:
            if settled := self._settled[:]:
                self._flush()
                _record_ids(self.requests, b"".join(settled))
                del self._settled[: len(settled)]


class RowLedger(StreamLedger):
    """The ledger of a row: its request or, if that was divided, each of its records.

    Nothing is forgotten, because a table may be sent again at any time.

    Attributes:
        is_settled: Whether, in an earlier run, all its records were delivered or dead letters.
        is_delivered: Whether, in an earlier run, its request was acknowledged.
        was_split: Whether its request was divided, in this run or an earlier one.
        settled_id: The id under which `is_settled` is recorded.
    """

    def __init__(self, row: Row, table: TableLedger) -> None:
        """Look up the row in the ledger of requests."""
        place = f"{row.stream}\n{row.config_digest}\n{row.partition}\n{row.attempt}\n{row.sequence}\n".encode()
        content = place + xxh3_128_digest(row.body or b"") + xxh3_128_digest(row.source or b"")
        self._id, self.settled_id, self._split_id = (xxh3_128_digest(content, seed) for seed in range(3))
        self._digests, self._count = row.digests, row.count
        self._table = table
        self._requests = requests = table.requests
        self._records = table.records
        self._numbers: dict[int, int] = {}
        self._is_doubted = False
        self.is_delivered = self.is_settled = self.was_split = False
        if not requests.is_blank:
            ids = [self._id, self.settled_id, self._split_id]
            self.is_delivered, is_settled, self.was_split = requests.known(ids, highest=None, epoch=0)
            self.is_settled = is_settled or (self.is_delivered and not row.rejections)
            self._is_doubted = not self.is_delivered and requests.in_doubt(self._id) > 0

    @override
    def check(self) -> None:
        self._requests.check()

    @property
    @override
    def is_blank(self) -> bool:
        return not self.was_split and self._records.is_blank

    @override
    def known(self, digests: Sequence[bytes], *, highest: Bookmark | None, epoch: int) -> list[bool]:
        known = [False] * len(digests)
        if self.was_split:
            known = self._requests.known(self._ids(digests), highest=None, epoch=0)
        others = [digest for digest, is_known in zip(digests, known, strict=True) if not is_known]
        others_known = iter(self._records.known(others, highest=highest, epoch=epoch))
        return [is_known or next(others_known) for is_known in known]

    @override
    def in_doubt(self, digests: bytes) -> int:
        of_records = self._records.in_doubt(digests)
        if self._is_doubted:
            return self._count if digests == self._digests else len(digests) // DIGEST_BYTES
        return max(of_records, self._requests.in_doubt(self._joined_ids(digests))) if self.was_split else of_records

    @override
    def intend(self, digests: bytes, *, highest: Bookmark | None, epoch: int) -> int:
        ids = self._id
        if digests != self._digests:
            ids = self._joined_ids(digests)
            if not self.was_split:
                self.was_split = True
                _record_ids(self._requests, self._split_id)
        number, self._numbers[number] = self._table.intend(ids, digests)
        return number

    @override
    def acknowledge(self, batch: int) -> None:
        self._table.acknowledge((batch, self._numbers.pop(batch)))

    @override
    def withdraw(self, batch: int) -> None:
        self._records.withdraw(self._numbers.pop(batch))
        self._requests.withdraw(batch)

    def _ids(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return the ids under which single records of the row are recorded."""
        return [xxh3_128_digest(self._id + digest) for digest in digests]

    def _joined_ids(self, digests: bytes) -> bytes:
        return b"".join(self._ids(each(digests)))


def _record_ids(requests: StreamLedger, ids: bytes) -> None:
    requests.acknowledge(requests.intend(ids, highest=None, epoch=0))
