"""One stream's way to Statsig's events API: gathers records, sends them in batches, counts what became of them.

The reading thread fills a batch, a worker thread delivers it, and only when all of it is acknowledged, rejected or
skipped does a STATE pass.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.errors import RecordError
from target_statsig.events.delivery import Delivery
from target_statsig.events.positions import bookmark_of
from target_statsig.events.prepare import Preparation
from target_statsig.reports.progress import ItemProgress
from target_statsig.reports.remarks import REMARKS
from target_statsig.singer.reader import unreadable
from target_statsig.singer.records import Batch
from target_statsig.store.ledger import NoLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.clock import Clock
    from target_statsig.events.pool import DeliveryPool
    from target_statsig.events.receipt import BatchResult
    from target_statsig.events.stream import ItemStream
    from target_statsig.events.workforce import Workforce
    from target_statsig.reports.report import ItemCounts, RunReport
    from target_statsig.singer.records import Reading
    from target_statsig.singer.rejections import Rejections
    from target_statsig.singer.state_gate import State, StateGate
    from target_statsig.store.ledger import StreamLedger

logger = logging.getLogger(__name__)

WORKERS_AFTER = 5_000
"""Records of a stream after which worker processes are started: some 50 ms of work, half as long as it takes to start
one."""


@dataclass(frozen=True, slots=True)
class ItemServices:
    """What all streams of items share in a run."""

    client: EventsClient
    pool: DeliveryPool
    workforce: Workforce
    gate: StateGate
    report: RunReport
    clock: Clock


class _Part(NamedTuple):
    """Messages that follow each other in the input.

    Attributes:
        number: The number of the first line.
        batch: The messages.
        received: How many STATE messages came before them.
    """

    number: int
    batch: Batch
    received: int


class _Sending(NamedTuple):
    """How the records of a stream are read and delivered, from one SCHEMA message to the next."""

    reading: Reading
    delivery: Delivery


class EventStream:
    """Takes the records of one stream and sees them to Statsig."""

    def __init__(
        self,
        stream: ItemStream,
        services: ItemServices,
        ledger: StreamLedger,
        counts: ItemCounts,
        rejections: Rejections,
    ) -> None:
        """Begin with nothing gathered."""
        self.stream = stream
        self._services = services
        self._ledger = ledger
        self._counts = counts
        self._rejections = rejections
        self._tap_streams: dict[str, str | None] = {}
        self._sending: _Sending | None = None
        self._gathered: list[_Part] = []
        self._rows = self._gathered_bytes = 0
        self._ticket = -1
        self._is_old = False
        self._retries = 0
        self._told: set[str] = set()

    def follow(self, tap_stream: str, replication_key: str | None) -> None:
        """Note which stream of the tap feeds this one, and by which column the tap says how far it has come."""
        self._tap_streams[tap_stream] = replication_key
        # Two streams have two bookmarks, and then a batch cannot be compared with either.
        self.stream.replication_key = replication_key if len(self._tap_streams) == 1 else None

    def state_written(self, state: State, number: int) -> None:
        """Let the ledger forget what no tap will send again after a STATE.

        Args:
            state: The STATE that was written.
            number: Its number in this run, from 1.
        """
        bookmark = None
        tap_streams = list(self._tap_streams.items())
        if len(tap_streams) == 1:
            ((tap_stream, replication_key),) = tap_streams
            bookmark = bookmark_of(state, tap_stream, replication_key)
        self._ledger.state_written(bookmark, epoch=number)

    def accept(self, number: int, batch: Batch, reading: Reading) -> None:
        """Take RECORD messages; a full batch goes off at once, and this waits while all workers are busy.

        Args:
            number: The number of the first line, in the input.
            batch: The messages.
            reading: What reads their records.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        sending, key = self._sending, self.stream.replication_key
        # The key is gone once a second stream of the tap feeds this one.
        if sending is None or sending.reading is not reading or sending.delivery.preparation.replication_key != key:
            self.flush()
            self._sending = _Sending(reading, self._delivery_of(reading))
        place = 0
        while place < len(batch):
            fitting = batch.part(place, self._room())
            self._gathered.append(_Part(number + place, fitting, self._services.gate.received))
            self._gathered_bytes += sum(map(len, fitting.lines))
            place += len(fitting)
            self._gather(len(fitting))

    def _delivery_of(self, reading: Reading) -> Delivery:
        services, remembers = self._services, not isinstance(self._ledger, NoLedger)
        preparation = Preparation(
            reading.reader,
            self.stream.settings,
            self.stream.item_type,
            remembers=remembers,
            compression=services.client.compression,
            replication_key=self.stream.replication_key,
        )
        return Delivery(preparation, self.stream, services.workforce, services.client, self._ledger)

    def _room(self) -> int:
        """Return how many more records fit into the batch; a new one is begun where there is none."""
        rows = self.stream.rows
        if self._rows >= rows:
            self.flush()  # what fits has become less since it was gathered
        if not self._rows:
            self._ticket = self._services.gate.open()
            self._is_old = False
        return rows - self._rows

    def _gather(self, records: int) -> None:
        """Count records of the batch, and send it when it is full."""
        with self._services.report.lock:  # a result may take back a line that is no record
            self._counts.records += records
        self._rows += records
        if self._counts.records >= WORKERS_AFTER:
            self._services.workforce.begin()
        # An item may take more bytes than the line that it comes from.
        if self._rows >= self.stream.rows or 2 * self._gathered_bytes >= self.stream.bounds.largest:
            self.flush()

    def flush(self) -> None:
        """Send what is gathered, full or not."""
        if not self._rows or self._sending is None:
            return
        gathered, self._gathered = self._gathered, []
        self._rows = self._gathered_bytes = 0
        job = partial(self._deliver, self._sending, gathered)
        self._services.pool.submit(partial(job, self._ticket, self._services.gate.received))

    def flush_old(self) -> None:
        """Send what is gathered if it was begun before the last call.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        if self._is_old:
            self.flush()
        self._is_old = True

    @property
    def progress(self) -> ItemProgress:
        """Return how far the stream is."""
        counts = self._counts
        return ItemProgress(
            self.stream.name,
            counts.records,
            acknowledged=counts.delivered,
            in_flight=max(counts.records - counts.settled - self._rows, 0),
            skipped=counts.skipped_duplicates,
            rejected=counts.rejected,
            retries=self._retries,
        )

    def check_reject_limit(self) -> None:
        """Measure the stream against `max_rejected_percent`.

        Raises:
            RejectionsError: Too many of its records were rejected.
        """
        self._rejections.check_reject_limit()

    def _deliver(self, sending: _Sending, gathered: list[_Part], ticket: int, epoch: int) -> None:
        services = self._services
        now_ms = int(services.clock.time() * 1000)
        batch = Batch.of([part.batch for part in gathered])
        receipt = sending.delivery(batch, now_ms=now_ms, epoch=epoch, on_retry=self._note_retry)
        self._count(receipt)
        for rejection in receipt.rejections:
            error = RecordError(rejection.reason, rejection.field)
            self._rejections.add(rejection.line, sending.reading.schema, error, message=rejection.message)
        if receipt.unreadable is not None:
            row, what = receipt.unreadable
            part, number = _found(row, gathered)
            if receipt.failure is None:
                services.gate.settle(ticket, part.received)
            raise unreadable(number, what)
        if receipt.failure is not None:
            raise receipt.failure
        services.gate.close(ticket)

    def _note_retry(self) -> None:
        with self._services.report.lock:
            self._retries += 1

    def _count(self, receipt: BatchResult) -> None:
        with self._services.report.lock:
            receipt.add_to(self._counts)
            met = {name for name, _ in self._counts.remarks} - self._told
            self._told |= met
        for name, remark in REMARKS.items():
            if name in met and remark.warning:
                logger.warning("Stream '%s': %s", self.stream.name, remark.warning)


def _found(row: int, gathered: Sequence[_Part]) -> tuple[_Part, int]:
    """Return the part of a batch that holds a row, and the number of that row's line in the input."""
    for part in gathered:
        if row < len(part.batch):
            return part, part.number + row
        row -= len(part.batch)
    raise IndexError(row)
