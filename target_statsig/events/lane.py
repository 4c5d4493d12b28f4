"""One stream's way to Statsig's events API: gathers records, seals batches, settles their receipts.

Refuses to know of Singer and HTTP. The reading thread fills a batch, a worker thread delivers it, and only when all of
it is acknowledged, rejected or skipped does a STATE pass.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_statsig.events.delivery import deliver
from target_statsig.events.lines import LineDelivery
from target_statsig.events.positions import bookmark_of
from target_statsig.events.prepare import Preparation
from target_statsig.exceptions import RecordError
from target_statsig.ledger import NoLedger
from target_statsig.remarks import REMARKS
from target_statsig.watch import ItemProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.clock import Clock
    from target_statsig.events.courier import Courier
    from target_statsig.events.lines import Look, Piece
    from target_statsig.events.receipt import Receipt
    from target_statsig.events.stream import ItemStream
    from target_statsig.events.workforce import Workforce
    from target_statsig.ledger import StreamLedger
    from target_statsig.record import Record
    from target_statsig.rejections import Rejections
    from target_statsig.report import ItemCounts, RunReport
    from target_statsig.state_gate import State, StateGate
    from target_statsig.validation import RecordCheck

logger = logging.getLogger(__name__)

MOST_TURNS = 10
"""Times that decoded records may come between undecoded ones. Each time a batch is sent that is not full; after so many
all records of the stream are decoded here."""


@dataclass(frozen=True, slots=True)
class ItemServices:
    """What all streams of items share in a run."""

    client: EventsClient
    courier: Courier
    workforce: Workforce
    gate: StateGate
    report: RunReport
    clock: Clock


class ItemLane:
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
        self._records: list[Record] = []
        self._pieces: list[Piece] = []
        self._line_delivery: LineDelivery | None = None
        self._gathered = self._gathered_bytes = 0
        self._turns = 0
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

    def accept(self, records: Sequence[Record]) -> None:
        """Take records; a full batch goes off at once, and this waits while all workers are busy.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        if self._pieces:
            self._turns += 1
            self.seal()
        while records:
            fitting = records[: self._room()]
            records = records[len(fitting) :]
            self._records += fitting
            self._gather(len(fitting))

    def opened_for_lines(self, check: RecordCheck, look: Look) -> Callable[[int, list[bytes]], bool] | None:
        """Return what takes undecoded RECORD messages; None where they come now so, now so.

        It takes the number of the first line and the lines, returns whether it will take more, and raises as `accept`.
        `check` is what the records have to pass; `look` decodes a line whose record must be looked at.
        """
        if self._turns >= MOST_TURNS:
            return None
        services, remembers = self._services, not isinstance(self._ledger, NoLedger)
        services.workforce.begin()
        preparation = Preparation(self.stream, check, remembers=remembers, compression=services.client.compression)
        delivery = LineDelivery(preparation, services.workforce, look, services.client, self._ledger)
        return functools.partial(self._accept_lines, delivery)

    def _accept_lines(self, delivery: LineDelivery, number: int, lines: list[bytes]) -> bool:
        if self._records or self._line_delivery is not delivery:
            self.seal()
            self._line_delivery = delivery
        while lines:
            fitting = lines[: self._room()]
            self._pieces.append((number, fitting))
            self._gathered_bytes += sum(map(len, fitting))
            lines, number = lines[len(fitting) :], number + len(fitting)
            self._gather(len(fitting))
        return self._turns < MOST_TURNS

    def _room(self) -> int:
        """Return how many more records fit into the batch; a new one is begun where there is none."""
        rows = self.stream.rows
        if self._gathered >= rows:
            self.seal()  # what fits has become less since it was gathered
        if not self._gathered:
            self._ticket = self._services.gate.open()
            self._is_old = False
        return rows - self._gathered

    def _gather(self, records: int) -> None:
        """Count records of the batch, and send it when it is full."""
        self._count_read(records)
        self._gathered += records
        # An item may take more bytes than the line that it comes from.
        if self._gathered >= self.stream.rows or 2 * self._gathered_bytes >= self.stream.bounds.largest:
            self.seal()

    def reject(self, record: Record, error: RecordError) -> None:
        """Keep a record out.

        Raises:
            RejectionsError: No record of this stream may be rejected.
        """
        self._count_read(1)
        self._rejections.add(record, error)

    def seal(self) -> None:
        """Send what is gathered, full or not."""
        if not self._gathered:
            return
        job: Callable[..., Receipt]
        if self._line_delivery is not None and self._pieces:
            job = functools.partial(self._line_delivery, self._pieces)
        else:
            job = functools.partial(
                deliver, self._records, stream=self.stream, client=self._services.client, ledger=self._ledger
            )
        self._records, self._pieces = [], []
        self._gathered = self._gathered_bytes = 0
        self._services.courier.submit(functools.partial(self._deliver, job, self._ticket, self._services.gate.received))

    def age(self) -> None:
        """Send what is gathered if it was begun before the last call.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        if self._is_old:
            self.seal()
        self._is_old = True

    @property
    def progress(self) -> ItemProgress:
        """Return how far the stream is."""
        counts = self._counts
        return ItemProgress(
            self.stream.name,
            counts.records,
            acknowledged=counts.delivered,
            in_flight=max(counts.records - counts.settled - self._gathered, 0),
            skipped=counts.skipped_duplicates,
            rejected=counts.rejected,
            retries=self._retries,
        )

    def judge(self) -> None:
        """Measure the stream against `max_rejected_percent`.

        Raises:
            RejectionsError: Too many of its records were rejected.
        """
        self._rejections.judge()

    def _deliver(self, job: Callable[..., Receipt], ticket: int, epoch: int) -> None:
        services = self._services
        now_ms = int(services.clock.time() * 1000)
        receipt = job(now_ms=now_ms, epoch=epoch, on_retry=self._note_retry)
        self._count(receipt)
        for rejection in receipt.rejections:
            self._rejections.add(
                rejection.record, RecordError(rejection.reason, rejection.field), words=rejection.words
            )
        if receipt.failure is not None:
            raise receipt.failure
        services.gate.close(ticket)

    def _count_read(self, records: int) -> None:
        with self._services.report.lock:  # a receipt may take back a line that is no record
            self._counts.records += records

    def _note_retry(self) -> None:
        with self._services.report.lock:
            self._retries += 1

    def _count(self, receipt: Receipt) -> None:
        with self._services.report.lock:
            receipt.add_to(self._counts)
            met = {name for name, _ in self._counts.remarks} - self._told
            self._told |= met
        for name, remark in REMARKS.items():
            if name in met and remark.warning:
                logger.warning("Stream '%s': %s", self.stream.name, remark.warning)
