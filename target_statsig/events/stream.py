"""One stream's way to Statsig's events API: batches are gathered, delivered in threads, and acknowledged.

The reading thread fills a batch and a thread of the pool delivers it; only when all of it is acknowledged, rejected or
skipped does a STATE pass.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.errors import RecordError
from target_statsig.events.delivery import Bounds, Delivery, RefusalStreak
from target_statsig.events.positions import bookmark_of
from target_statsig.reports.progress import ItemProgress
from target_statsig.reports.report import REMARKS
from target_statsig.singer.dead_letters import MARK
from target_statsig.singer.reader import unreadable
from target_statsig.singer.records import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.clock import Clock
    from target_statsig.config.choices import ObjectType
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.delivery import BatchResult
    from target_statsig.events.item_types import ItemType
    from target_statsig.events.prepare import Preparation, Prepares
    from target_statsig.events.workers import Workers
    from target_statsig.reports.report import ItemCounts, RunReport
    from target_statsig.singer.message import Message
    from target_statsig.singer.records import Reading
    from target_statsig.singer.rejections import Rejections
    from target_statsig.singer.state import State, StateGate
    from target_statsig.store.ledger import StreamLedger

logger = logging.getLogger(__name__)

WORKERS_AFTER = 5_000
"""Records of a stream after which worker processes are started: some 70 ms of work, as long as it takes to start
one."""


class DeliveryPool:
    """Runs jobs in worker threads and keeps the first failure for the one who hands over the next."""

    def __init__(self, workers: int) -> None:
        """Take how many jobs may be under way at once."""
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="pool")
        self._places = threading.BoundedSemaphore(workers)
        self._failure: BaseException | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job as soon as a worker is free, and wait until one is.

        Raises:
            BaseException: What an earlier job failed with; this job is not run.
        """
        self._places.acquire()
        try:
            self.check()
        except BaseException:
            self._places.release()
            raise
        self._pool.submit(self._run, job)

    def check(self) -> None:
        """See whether all is well so far.

        Raises:
            BaseException: What the first job that failed failed with.
        """
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Wait for all jobs.

        Raises:
            BaseException: What the first of them that failed failed with.
        """
        self._pool.shutdown(wait=True)
        self.check()

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 -- it is raised again by the thread that reads the input
            if self._failure is None:
                self._failure = error
        finally:
            self._places.release()


@dataclass(frozen=True, slots=True)
class EventResources:
    """What all event streams of a run share."""

    client: EventsClient
    pool: DeliveryPool
    workers: Workers
    gate: StateGate
    report: RunReport
    clock: Clock
    bounds: Bounds
    refusals: defaultdict[ObjectType, RefusalStreak] = field(default_factory=partial(defaultdict, RefusalStreak))


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


@dataclass(slots=True)
class _Gathering:
    """The batch that is being gathered of one stream of the tap.

    Attributes:
        reading: How its records are read.
        preparation: What prepares them.
        parts: What there is of it.
        rows: Its records.
        size: The bytes of its lines.
        ticket: What it holds STATEs back with.
        is_old: Whether it was begun before the last `flush_old`.
    """

    reading: Reading
    preparation: Preparation
    parts: list[_Part] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    ticket: int = -1
    is_old: bool = False


class EventStream:
    """Takes the records of one stream and sees them to Statsig.

    Streams of the tap that stream maps lead into one are gathered side by side: they are read differently.

    Attributes:
        expected: How many records will come; None where that is not known.
    """

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        item_type: ItemType,
        resources: EventResources,
        ledger: StreamLedger,
        counts: ItemCounts,
        rejections: Rejections,
    ) -> None:
        """Begin with nothing gathered."""
        self.expected: int | None = None
        self._resources = resources
        self._delivery = Delivery(
            stream,
            settings,
            item_type,
            resources.bounds,
            resources.refusals[item_type.object_type],
            resources.workers,
            resources.client,
            ledger,
        )
        self._counts = counts
        self._rejections = rejections
        self._replication_keys: dict[str, str | None] = {}
        self._gatherings: dict[str, _Gathering] = {}
        self._retries = 0
        self._warned: set[str] = set()

    @property
    def _replication_key(self) -> str | None:
        # Two streams have two bookmarks, and then a batch cannot be compared with either.
        keys = [*self._replication_keys.values()]
        return keys[0] if len(keys) == 1 else None

    def follow(self, tap_stream: str, replication_key: str | None) -> None:
        """Note which stream of the tap feeds this one, and by which column the tap says how far it has come."""
        self._replication_keys[tap_stream] = replication_key

    def state_written(self, state: State, number: int) -> None:
        """Let the ledger forget what no tap will send again after a STATE.

        Args:
            state: The STATE that was written.
            number: Its number in this run, from 1.
        """
        tap_streams, bookmark = [*self._replication_keys], None
        if len(tap_streams) == 1:
            bookmark = bookmark_of(state, tap_streams[0], self._replication_key)
        self._delivery.ledger.state_written(bookmark, epoch=number)

    def accept(self, number: int, batch: Batch, reading: Reading) -> None:
        """Take RECORD messages; a full batch goes off at once, and this waits while all threads are busy.

        Args:
            number: The number of the first line, in the input.
            batch: The messages.
            reading: What reads their records.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        gathering = self._gathering_of(reading)
        place = 0
        while place < len(batch):
            rows = self._delivery.rows  # asked once: a batch that is under way may change it meanwhile
            if gathering.rows >= rows:
                self._flush(gathering)  # what fits has become less since it was gathered
            if not gathering.rows:
                gathering.ticket, gathering.is_old = self._resources.gate.open(), False
            fitting = batch.part(place, rows - gathering.rows)
            gathering.parts.append(_Part(number + place, fitting, self._resources.gate.received))
            gathering.rows += len(fitting)
            gathering.size += sum(map(len, fitting.lines))
            place += len(fitting)
            self._count_read(len(fitting))
            # An item may take more bytes than the line that it comes from.
            if gathering.rows >= self._delivery.rows or 2 * gathering.size >= self._resources.bounds.limits.largest:
                self._flush(gathering)

    def run(self, job: Callable[[], None]) -> None:
        """Run a job in a thread of the pool, and wait until one is free.

        Raises:
            TargetStatsigError: What an earlier job failed with.
        """
        self._resources.pool.submit(job)

    def deliver_prepared(self, preparation: Prepares, schema: Message, batch: Batch, ledger: StreamLedger) -> None:
        """Deliver a batch that was prepared elsewhere, in this thread: then all of it is acknowledged or a dead letter.

        Args:
            preparation: Returns what it was prepared as, and prepares parts of it.
            schema: The SCHEMA message of its records.
            batch: The messages.
            ledger: What remembers its delivery.

        Raises:
            TargetStatsigError: What a request failed with.
        """
        with self._resources.report.lock:
            self._counts.records += len(batch)
        part, ticket = _Part(0, batch, 0), self._resources.gate.open()
        self._deliver(preparation, schema, [part], ticket, 0, replace(self._delivery, ledger=ledger))

    def _gathering_of(self, reading: Reading) -> _Gathering:
        key, tap_stream = self._replication_key, reading.schema["stream"]
        gathering = self._gatherings.get(tap_stream)
        # The key is gone once a second stream of the tap feeds this one.
        if gathering is None or gathering.reading is not reading or gathering.preparation.replication_key != key:
            if gathering is not None:
                self._flush(gathering)
            # What a dead letter holds was not delivered before, however far the tap has come since.
            is_late = bool(reading.schema.get(MARK))
            gathering = _Gathering(reading, self._delivery.preparation(reading.reader, key, is_late=is_late))
            self._gatherings[tap_stream] = gathering
        return gathering

    def _count_read(self, records: int) -> None:
        with self._resources.report.lock:  # a result may take back a line that is no record
            self._counts.records += records
        if self._counts.records > WORKERS_AFTER:
            self._resources.workers.start()

    def flush(self) -> None:
        """Send what is gathered, full or not.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        for gathering in self._gatherings.values():
            self._flush(gathering)

    def flush_old(self) -> None:
        """Send what is gathered and was begun before the last call.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        for gathering in self._gatherings.values():
            if gathering.is_old:
                self._flush(gathering)
            gathering.is_old = True

    def _flush(self, gathering: _Gathering) -> None:
        if not gathering.rows:
            return
        parts, gathering.parts = gathering.parts, []
        gathering.rows = gathering.size = 0
        schema, ticket, epoch = gathering.reading.schema, gathering.ticket, self._resources.gate.received
        self._resources.pool.submit(
            partial(self._deliver, gathering.preparation, schema, parts, ticket, epoch, self._delivery)
        )

    @property
    def progress(self) -> ItemProgress:
        """Return how far the stream is; any thread may ask."""
        counts = self._counts
        gathered = sum(gathering.rows for gathering in [*self._gatherings.values()])
        return ItemProgress(
            self._delivery.stream,
            counts.records,
            acknowledged=counts.delivered,
            in_flight=max(counts.not_sent - gathered, 0),
            skipped=counts.skipped_duplicates,
            rejected=counts.rejected,
            retries=self._retries,
            expected=self.expected,
        )

    def check_reject_limit(self) -> None:
        """Measure the stream against `max_rejected_percent`.

        Raises:
            RejectionsError: Too many of its records were rejected.
        """
        self._rejections.check_reject_limit()

    def _deliver(
        self,
        preparation: Prepares,
        schema: Message,
        parts: list[_Part],
        ticket: int,
        epoch: int,
        delivery: Delivery,
    ) -> None:
        resources = self._resources
        now_ms = int(resources.clock.time() * 1000)
        batch = Batch.of([part.batch for part in parts])
        result = delivery.deliver(preparation, batch, now_ms=now_ms, epoch=epoch, on_retry=self._count_retry)
        self._count(result)
        for rejection in result.rejections:
            error = RecordError(rejection.reason, rejection.field)
            self._rejections.add(rejection.line, schema, error, message=rejection.message)
        if result.unreadable is not None:
            row, what = result.unreadable
            part, number = _found(row, parts)
            if result.failure is None:
                resources.gate.settle(ticket, part.received)
            raise unreadable(number, what)
        if result.failure is not None:
            raise result.failure
        resources.gate.close(ticket)

    def _count_retry(self) -> None:
        with self._resources.report.lock:
            self._retries += 1

    def _count(self, result: BatchResult) -> None:
        with self._resources.report.lock:
            result.add_to(self._counts)
            new = {name for name, _ in self._counts.remarks} - self._warned
            self._warned |= new
        for name, remark in REMARKS.items():
            if name in new and remark.warning:
                logger.warning("Stream '%s': %s", self._delivery.stream, remark.warning)


def _found(row: int, parts: Sequence[_Part]) -> tuple[_Part, int]:
    """Return the part of a batch that holds a row, and the number of that row's line in the input."""
    for part in parts:
        if row < len(part.batch):
            return part, part.number + row
        row -= len(part.batch)
    raise IndexError(row)
