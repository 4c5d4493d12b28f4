"""Delivering a batch: preparing it, skipping records that an earlier run delivered, sending it, and counting the rest.

A batch that Statsig refuses is halved and sent again. The ledger records each request before it is sent and after it is
acknowledged. All this runs in the threads of the delivery pool.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

from target_statsig.errors import FatalRunError, Heading, RecordError, RefusedError, TargetStatsigError, TooLargeError
from target_statsig.events.prepare import DIGESTS_ONLY, Limits, Preparation
from target_statsig.reports.report import ItemCounts, wider
from target_statsig.store.ledger import NoLedger, each

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.client.events import EventsClient
    from target_statsig.config.settings import StreamSettings
    from target_statsig.errors import RequestError
    from target_statsig.events.items import ItemType
    from target_statsig.events.prepare import Prepared, PreparedRequest
    from target_statsig.events.workers import Workers
    from target_statsig.singer.records import Batch, RecordReader
    from target_statsig.store.ledger import Bookmark, StreamLedger

NOT_ABOUT_THE_BODY = frozenset({*range(300, 400), 404, 405, 407})
"""Statuses of refusals that halving cannot fix: no events API is at `events_url`, or a proxy asks for a password."""

LEFT_OF_REFUSED = 0.55
"""The size of the next bodies as a share of one that was too large. With exactly half, its items might need a third
body for a small remainder."""


class Bounds:
    """How large a request may be, for all streams of a run.

    Attributes:
        limits: The current limits. After a 413 they are lowered for the rest of the run.
    """

    def __init__(self, rows: int, size: int) -> None:
        """Take the most items and the most uncompressed bytes of a request."""
        self.limits = Limits(rows, size, size)

    def lower(self, refused: int, *, alone: bool) -> None:
        """Lower the limits below the uncompressed bytes of a refused body, which may have held one item `alone`."""
        limits = self.limits
        largest = min(limits.largest, refused - 1) if alone else limits.largest
        size = largest if alone else max(int(refused * LEFT_OF_REFUSED), 1)
        self.limits = Limits(limits.rows, min(limits.bytes, size), largest)


class RefusalStreak:
    """Distinguishes single bad records from a broken mapping, by counting single items that Statsig refuses."""

    LIMIT = 20
    """Single items refused before any request was accepted, after which the mapping or the address must be wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accepted = False
        self._refused = 0

    def accepted(self) -> None:
        """Record that Statsig accepted a request."""
        self._accepted = True

    def refused(self) -> bool:
        """Record that Statsig refused a single item, and return whether to stop."""
        with self._lock:
            self._refused += 1
            return not self._accepted and self._refused >= self.LIMIT


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected record: its line as the tap sent it, the reason, and Statsig's message if Statsig refused it."""

    line: bytes
    error: RecordError
    message: str = ""


@dataclass(slots=True)
class BatchResult:
    """The outcome of one batch. Each record was delivered, skipped, rejected, of a deleted row, or is undelivered.

    Attributes:
        counts: The counts, apart from `records` and `rejected`.
        undelivered: Records not known to be delivered, because of `failure`. The next run sends them again.
        unreadable: The number of the first line that is no RECORD message, and what is wrong with it; None if there is
            none. That line and those after it were not processed.
        failure: The error that ended the delivery early, or None.
    """

    counts: ItemCounts
    rejections: list[Rejection] = field(default_factory=list)
    undelivered: int = 0
    unreadable: tuple[int, str] | None = None
    failure: TargetStatsigError | None = None

    def fail(self, error: TargetStatsigError, undelivered: int) -> None:
        """Record the error that ended the delivery, and how many records are undelivered because of it."""
        self.failure = error
        self.undelivered += undelivered


@dataclass(slots=True)
class Delivery:
    """What the deliveries of one stream's batches share. Thread-safe.

    Attributes:
        refusals: Counts refused items of this type, in all streams.
        item_bytes: The average bytes of an item in the last batch; 0 before the first.
        all_known: Whether an earlier run delivered the whole last batch. The next one was then probably delivered, too,
            so only its digests are prepared first.
    """

    stream: str
    settings: StreamSettings
    item_type: ItemType
    bounds: Bounds
    refusals: RefusalStreak
    workers: Workers
    client: EventsClient
    ledger: StreamLedger
    item_bytes: float = field(default=0.0, init=False)
    all_known: bool = field(default=False, init=False)

    @property
    def rows(self) -> int:
        """The number of items to gather for a request, by the size of the last ones."""
        return self.bounds.limits.rows_of(self.item_bytes)

    def preparation(self, reader: RecordReader, replication_key: str | None, *, is_late: bool = False) -> Preparation:
        """Return the preparation of the batches that a reader decodes.

        `replication_key` is the column of the tap's bookmarks, if its SCHEMA names one. Records that are late are dead
        letters, which no bookmark covers.
        """
        return Preparation(
            reader,
            self.settings,
            self.item_type,
            not isinstance(self.ledger, NoLedger),
            self.client.compression,
            replication_key,
            None if is_late else self.ledger.passed,
        )


@dataclass(slots=True)
class BatchDelivery:
    """Delivers one batch of a stream.

    Attributes:
        now_ms: The time for items without one, in unix milliseconds.
        epoch: The number of STATE messages before the last record.
        ledger: Records the batch.
        on_retry: Called before each retry of a request.
    """

    delivery: Delivery
    preparation: Preparation
    now_ms: int
    epoch: int
    ledger: StreamLedger
    on_retry: Callable[[], None]
    result: BatchResult = field(init=False)
    highest: Bookmark | None = field(default=None, init=False)

    def run(self, batch: Batch, prepared: Prepared | None = None) -> BatchResult:
        """Deliver the batch. A failed request raises nothing; the result holds the error and the undelivered records.

        `prepared` is the batch as it was prepared earlier, if it was.
        """
        delivery = self.delivery
        result = self.result = BatchResult(ItemCounts(delivery.item_type.object_type))
        limits = DIGESTS_ONLY if delivery.all_known else delivery.bounds.limits
        prepared = prepared or self._prepare(batch, limits)
        if prepared.unreadable is not None:
            result.unreadable = (prepared.readable, prepared.unreadable)
            result.undelivered = len(batch) - 1 - prepared.readable
        self.highest = prepared.highest
        try:
            known = self._known_rows(prepared, len(batch))
        except TargetStatsigError as error:
            result.fail(error, prepared.readable)
            return result
        delivery.all_known = 0 < len(known) == prepared.readable
        result.counts.skipped_duplicates = len(known)
        if delivery.all_known:
            return result
        if known or limits is DIGESTS_ONLY:
            batch = batch.take([row for row in range(prepared.readable) if row not in known])
            prepared = self._prepare(batch)
        result.counts.deleted_row = prepared.deleted
        result.counts.warnings = prepared.warnings
        self._send_all(batch, prepared)
        return result

    def _prepare(self, batch: Batch, limits: Limits | None = None) -> Prepared:
        """Prepare a batch within given limits, or within the current ones."""
        delivery = self.delivery
        return delivery.workers.prepare(self.preparation, batch, limits or delivery.bounds.limits, self.now_ms)

    def _known_rows(self, prepared: Prepared, count: int) -> set[int]:
        """Return the numbers of the lines whose records an earlier run delivered."""
        if self.ledger.is_blank or not prepared.digests:
            return set()
        are_known = self.ledger.known(each(prepared.digests), highest=prepared.highest, epoch=self.epoch)
        rows = range(count) if prepared.rows is None else prepared.rows
        return set(compress(rows, are_known))

    def _send_all(self, batch: Batch, prepared: Prepared, *, doubted: bool = False) -> None:
        self.result.rejections += [
            Rejection(batch.lines[row], RecordError(reason, field)) for row, reason, field in prepared.rejected
        ]
        self.delivery.item_bytes = prepared.item_bytes or self.delivery.item_bytes
        for request in prepared.requests:
            # The limits may have been lowered since the request was prepared.
            is_too_large = request.count > 1 and request.size > self.delivery.bounds.limits.bytes
            if is_too_large and self.result.failure is None:
                part = _lines_of(batch, request)
                self._send_all(part, self._prepare(part), doubted=doubted)
            else:
                self._send(batch, request, doubted=doubted)

    def _send(self, batch: Batch, request: PreparedRequest, *, doubted: bool) -> None:
        """Send a request of a batch; `doubted` if Statsig may have accepted a larger one with the same items."""
        result, count = self.result, request.count
        if result.failure is not None:
            result.undelivered += count
            return
        try:
            maybe_duplicated = self._post(request)
        except (RefusedError, TooLargeError) as error:
            doubted = doubted or error.maybe_taken
            if isinstance(error, RefusedError) and error.status in NOT_ABOUT_THE_BODY:
                result.fail(error, count)
            else:
                self._split_or_reject(_lines_of(batch, request), request, error, doubted=doubted)
        except TargetStatsigError as error:
            result.fail(error, count)
        else:
            self.delivery.refusals.accepted()
            counts = self.result.counts
            counts.delivered += count
            counts.names.update(request.names)
            counts.span = wider(counts.span, request.span)
            counts.maybe_duplicated += count if doubted else maybe_duplicated
            counts.billable += request.billed

    def _post(self, request: PreparedRequest) -> int:
        """Send a request, recorded before and after, and return how many of its items may be in Statsig twice."""
        batch = self.ledger.intend(request.digests, highest=self.highest, epoch=self.epoch)
        try:
            call = self.delivery.client.send_body(
                self.delivery.item_type.endpoint,
                request.body,
                request.count,
                what=f"{self.delivery.item_type.count(request.count)} of stream '{self.delivery.stream}'",
                on_try=self._begin_try,
            )
        except TargetStatsigError as error:
            if not error.maybe_taken:
                self.ledger.withdraw(batch)
            raise
        self.ledger.acknowledge(batch)
        # Only now: `in_doubt` counts each record once, and the halves of a refused batch are still to be counted.
        in_doubt = self.ledger.in_doubt(request.digests)
        return request.count if call.maybe_taken else in_doubt

    def _begin_try(self, tries_before: int, size: int) -> None:
        self.ledger.check()
        self.result.counts.requests += 1
        if tries_before:
            self.result.counts.retries += 1
            self.on_retry()
        self.result.counts.bytes_sent += size

    def _split_or_reject(self, batch: Batch, request: PreparedRequest, error: RequestError, *, doubted: bool) -> None:
        """Prepare and send the lines of a refused request again, in parts; reject a single line."""
        too_large = isinstance(error, TooLargeError)
        if too_large:
            self.delivery.bounds.lower(request.size, alone=request.count == 1)
        if request.count > 1:
            # A batch that was too large is divided by `prepare`, within the lowered limits.
            middle = len(batch) // 2
            parts = [batch] if too_large else [batch.part(0, middle), batch.part(middle, len(batch))]
            for part in parts:
                self._send_all(part, self._prepare(part), doubted=doubted)
            return
        reason = f"{self.delivery.item_type.object_type}_too_large" if too_large else "refused_by_statsig"
        self.result.rejections.append(Rejection(batch.lines[0], RecordError(reason), error.message))
        if self.delivery.refusals.refused():
            what = f"{self.delivery.item_type.count(RefusalStreak.LIMIT)} of stream '{self.delivery.stream}'"
            self.result.failure = FatalRunError(
                f"Statsig refused {what} one by one and took none, so the mapping or `events_url` is wrong. Statsig's "
                f"message: {error.message or 'none'}. The refused records are in the dead letters. Fix the "
                "configuration and run again.",
                heading=Heading.REFUSED,
            )


def _lines_of(batch: Batch, request: PreparedRequest) -> Batch:
    """Return the lines from which a request was prepared."""
    return batch if request.rows is None else batch.take(request.rows)
