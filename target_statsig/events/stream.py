"""A stream that goes to Statsig's events API.

The reading thread gathers a batch, and a thread of the pool delivers it. A STATE waits until every record before it is
acknowledged, rejected or skipped.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.events.delivery import BatchDelivery, Delivery
from target_statsig.events.remembered import bookmark_of
from target_statsig.reports.progress import Progress
from target_statsig.reports.text import REMARKS, counted, remarks
from target_statsig.singer.dead_letters import MARK
from target_statsig.singer.reader import unreadable
from target_statsig.singer.records import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.delivery import BatchResult
    from target_statsig.events.items import ItemType
    from target_statsig.events.prepare import Preparation, Prepared
    from target_statsig.reports.report import ItemCounts
    from target_statsig.singer.dead_letters import Rejections
    from target_statsig.singer.message import Message
    from target_statsig.singer.records import Reading
    from target_statsig.singer.state import State
    from target_statsig.store.ledger import StreamLedger

logger = logging.getLogger(__name__)

WORKERS_AFTER = 5_000
"""Records of a stream after which worker processes are started. They take 70 ms, as long as a worker's start."""


class DeliveryPool:
    """Runs jobs in threads. Its methods raise the error of the first job that failed."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pool")
        self._threads = threads
        self._free_threads = threading.BoundedSemaphore(threads)
        self._failure: BaseException | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Wait until a thread is free, and run a job in it, unless an earlier one has failed."""
        self._wait_for_a_thread()
        try:
            self.check()
        except BaseException:
            self._free_threads.release()
            raise
        self._pool.submit(self._run, job)

    def check(self) -> None:
        """Check that no job has failed."""
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Wait for all jobs."""
        for _ in range(self._threads):
            self._wait_for_a_thread()
        self._free_threads.release(self._threads)
        self._pool.shutdown(wait=True)
        self.check()

    def _wait_for_a_thread(self) -> None:
        # In steps, because Python sleeps through a signal that comes just before a wait without an end.
        while not self._free_threads.acquire(timeout=1.0):
            pass

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 -- raised again in the reading thread
            self._failure = self._failure or error
        finally:
            self._free_threads.release()


class _Part(NamedTuple):
    """Consecutive messages of the input; the first is on line `number`, after `received` STATE messages."""

    number: int
    batch: Batch
    received: int


@dataclass(slots=True)
class _Gathering:
    """The batch that is being gathered from one stream of the tap.

    Attributes:
        rows: The number of records so far.
        size: The bytes of their lines.
        ticket: The ticket with which the batch holds STATEs back.
        is_old: Whether it was started before the last `flush_old`.
    """

    reading: Reading
    preparation: Preparation
    parts: list[_Part] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    ticket: int = -1
    is_old: bool = False


class EventStream:
    """Gathers the records of one stream into batches, and delivers them.

    If stream maps join several streams of the tap, each has a batch of its own, because their records are read
    differently. Every method that sends may raise the TargetStatsigError of an earlier batch.

    Attributes:
        expected: The number of records that will come; 0 if unknown.
        rejections: The rejected records.
    """

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        item_type: ItemType,
        run: Run,
        ledger: StreamLedger,
        counts: ItemCounts,
        rejections: Rejections,
    ) -> None:
        self.expected = 0
        self._run = run
        self._delivery = Delivery(
            stream,
            settings,
            item_type,
            run.bounds,
            run.refusals[item_type.object_type],
            run.workers,
            run.events_client,
            ledger,
        )
        self._counts = counts
        self.rejections = rejections
        self._replication_keys: dict[str, str | None] = {}
        self._gatherings: dict[str, _Gathering] = {}
        self._retries = 0
        self._warned: set[str] = set()

    @property
    def _replication_key(self) -> str | None:
        # None if several streams of the tap feed this one, because their bookmarks cannot be compared with one another.
        keys = [*self._replication_keys.values()]
        return keys[0] if len(keys) == 1 else None

    def follow(self, tap_stream: str, replication_key: str | None) -> None:
        """Record that a stream of the tap feeds this one, and the column of its bookmarks, if its SCHEMA names one."""
        self._replication_keys[tap_stream] = replication_key

    def state_written(self, state: State, number: int) -> None:
        """Let the ledger forget records that the tap will not send again after this run's `number`th STATE."""
        tap_streams, bookmark = [*self._replication_keys], None
        if len(tap_streams) == 1:
            bookmark = bookmark_of(state, tap_streams[0], self._replication_key)
        self._delivery.ledger.state_written(bookmark, epoch=number)

    def accept(self, number: int, batch: Batch, reading: Reading) -> None:
        """Take RECORD messages, of which the first is on line `number` of the input.

        A full batch is delivered at once; this waits while all threads are busy.
        """
        gathering = self._gathering_of(reading)
        start = 0
        while start < len(batch):
            rows = self._delivery.rows  # read once, because a batch in flight may change it meanwhile
            if gathering.rows >= rows:
                self._flush(gathering)  # `rows` has become smaller
            if not gathering.rows:
                gathering.ticket, gathering.is_old = self._run.gate.open(), False
            fitting = batch.part(start, rows - gathering.rows)
            gathering.parts.append(_Part(number + start, fitting, self._run.gate.received))
            gathering.rows += len(fitting)
            gathering.size += sum(map(len, fitting.lines))
            start += len(fitting)
            with self._run.report.lock:  # other threads may subtract a line that is no record
                self._counts.records += len(fitting)
            if self._counts.records > WORKERS_AFTER:
                self._run.workers.start()
            # An item may take more bytes than its line.
            if gathering.rows >= self._delivery.rows or 2 * gathering.size >= self._run.bounds.limits.largest:
                self._flush(gathering)

    def deliver_prepared(
        self,
        prepared: Prepared | None,
        preparation: Preparation,
        schema: Message,
        batch: Batch,
        ledger: StreamLedger,
    ) -> None:
        """Deliver a batch that was prepared elsewhere, in this thread, until all is acknowledged or a dead letter.

        `preparation` prepares parts of the batch again, and all of it if `prepared` is None. `schema` is the SCHEMA
        message.

        Raises:
            TargetStatsigError: The error of a request.
        """
        with self._run.report.lock:
            self._counts.records += len(batch)
        part, ticket = _Part(0, batch, 0), self._run.gate.open()
        self._deliver(preparation, schema, [part], ticket, 0, prepared, ledger)

    def _gathering_of(self, reading: Reading) -> _Gathering:
        key, tap_stream = self._replication_key, reading.schema["stream"]
        gathering = self._gatherings.get(tap_stream)
        # The key becomes None when a second stream of the tap feeds this one.
        if gathering is None or gathering.reading is not reading or gathering.preparation.replication_key != key:
            if gathering is not None:
                self._flush(gathering)
            # Dead letters may be older than the tap's bookmark, although they were not delivered.
            is_late = bool(reading.schema.get(MARK))
            gathering = _Gathering(reading, self._delivery.preparation(reading.reader, key, is_late=is_late))
            self._gatherings[tap_stream] = gathering
        return gathering

    def flush(self) -> None:
        """Deliver what is gathered, even if the batch is not full."""
        for gathering in self._gatherings.values():
            self._flush(gathering)

    def flush_old(self) -> None:
        """Deliver batches that were started before the last call."""
        for gathering in self._gatherings.values():
            if gathering.is_old:
                self._flush(gathering)
            gathering.is_old = True

    def _flush(self, gathering: _Gathering) -> None:
        if not gathering.rows:
            return
        parts, gathering.parts = gathering.parts, []
        gathering.rows = gathering.size = 0
        schema, ticket, epoch = gathering.reading.schema, gathering.ticket, self._run.gate.received
        self._run.pool.submit(partial(self._deliver, gathering.preparation, schema, parts, ticket, epoch))

    @property
    def progress(self) -> Progress:
        """The progress of the stream. Thread-safe."""
        counts = self._counts
        gathered = sum(gathering.rows for gathering in [*self._gatherings.values()])
        in_flight = max(counts.not_sent - gathered, 0)
        parts = [
            f"{counts.delivered:,} acknowledged",
            f"{in_flight:,} in flight",
            counted(self._retries, "retry", "retries"),
        ]
        sometimes = ((counts.skipped_duplicates, "skipped"), (counts.rejected, "rejected"))
        parts += [f"{number:,} {word}" for number, word in sometimes if number]
        records_left = max(self.expected - counts.records, 0)
        return Progress(self._delivery.stream, counts.records, parts, busy=in_flight > 0, records_left=records_left)

    def _deliver(
        self,
        preparation: Preparation,
        schema: Message,
        parts: list[_Part],
        ticket: int,
        epoch: int,
        prepared: Prepared | None = None,
        ledger: StreamLedger | None = None,
    ) -> None:
        run, ledger = self._run, ledger or self._delivery.ledger
        now_ms = int(run.clock.time() * 1000)
        delivery = BatchDelivery(self._delivery, preparation, now_ms, epoch, ledger, self._count_retry)
        result = delivery.run(Batch.of([part.batch for part in parts]), prepared)
        self._count(result)
        for rejection in result.rejections:
            self.rejections.add(rejection.line, schema, rejection.error, message=rejection.message)
        if result.unreadable is not None:
            row, what = result.unreadable
            while row >= len(parts[0].batch):
                row -= len(parts.pop(0).batch)
            if result.failure is None:
                run.gate.settle(ticket, parts[0].received)
            raise unreadable(parts[0].number + row, what)
        if result.failure is not None:
            raise result.failure
        run.gate.close(ticket)

    def _count_retry(self) -> None:
        with self._run.report.lock:
            self._retries += 1

    def _count(self, result: BatchResult) -> None:
        with self._run.report.lock:
            self._counts.add(result.counts)
            if result.unreadable is not None:
                self._counts.records -= 1
            new = [name for name, _ in remarks(self._counts) if name not in self._warned]
            self._warned.update(new)
        for name in new:
            if warning := REMARKS[name].warning:
                logger.warning("Stream '%s': %s", self._delivery.stream, warning)
