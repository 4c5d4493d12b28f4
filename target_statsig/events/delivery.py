"""A batch on its way to Statsig: prepared, sent, split where it is refused, and every record accounted for.

What an earlier run delivered is skipped, and each request is written down before and after. Runs in the threads of the
delivery pool.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import TYPE_CHECKING

from target_statsig.errors import FatalRunError, Heading, RefusedError, TargetStatsigError, TooLargeError
from target_statsig.events.mapper import COUNTS, RENAMED_LISTED, MappingWarnings
from target_statsig.events.prepare import DIGESTS_ONLY, Limits, Preparation
from target_statsig.reports.report import wider
from target_statsig.store.ledger import NoLedger, each

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.client.events import EventsClient
    from target_statsig.config.settings import StreamSettings
    from target_statsig.errors import RequestError
    from target_statsig.events.item_types import ItemType
    from target_statsig.events.prepare import Prepared, PreparedRequest, Prepares
    from target_statsig.events.workers import Workers
    from target_statsig.reports.report import ItemCounts, Span
    from target_statsig.singer.records import Batch, RecordReader
    from target_statsig.store.ledger import Bookmark, StreamLedger

REFUSED = "refused_by_statsig"

NOT_ABOUT_THE_BODY = frozenset({301, 302, 303, 307, 308, 404, 405})
"""Refusals that halving cannot fix: there is no events API at `events_url`."""

LEFT_OF_REFUSED = 0.55
"""How much of a body that was too large may be in the next ones: a little more than half, so that what filled one
request fills two, and not two and a remainder."""


class Bounds:
    """How large a request may be; shared by all streams of a run.

    Attributes:
        limits: The bounds as they are now; lowered for the rest of the run where Statsig says 413.
    """

    def __init__(self, rows: int, size: int) -> None:
        """Take the items a request at most, and its uncompressed bytes; one item may take them all."""
        self.limits = Limits(rows, size, size)

    def lower(self, refused: int, *, alone: bool) -> None:
        """Stay under a size that Statsig refused.

        Args:
            refused: The uncompressed bytes of the body that was too large.
            alone: Whether it held one item only.
        """
        limits = self.limits
        largest = min(limits.largest, refused - 1) if alone else limits.largest
        size = largest if alone else max(int(refused * LEFT_OF_REFUSED), 1)
        self.limits = Limits(limits.rows, min(limits.bytes, size), largest)


class RefusalStreak:
    """Tells poison from a broken mapping: single items refused in a row, while none was ever taken."""

    LIMIT = 20
    """So many refused items, and none taken, are no accident: the mapping or the key is at fault."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._lock = threading.Lock()
        self._taken = False
        self._refused = 0

    def taken(self) -> None:
        """Note that Statsig took a request."""
        self._taken = True

    def refused(self) -> bool:
        """Note that a single item was refused, and return whether to stop."""
        with self._lock:
            self._refused += 1
            return not self._taken and self._refused >= self.LIMIT


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that was kept out, as the line that it came in, and why."""

    line: bytes
    reason: str
    field: str | None = None
    message: str = ""


@dataclass(slots=True)
class BatchResult:
    """What became of the records of one batch.

    `records` is the sum of `delivered`, `skipped_duplicates`, `deleted_row`, the rejections and `undelivered`.

    Attributes:
        unreadable: The line in the batch that is no RECORD message, and what is wrong with it; neither it nor those
            behind it were looked at.
        deleted_row: Records of deleted rows, which are not sent.
        undelivered: Records not known to be delivered, because of `failure`; the next run sends them again.
        failure: What ended the work before its end, if anything did.
        names: Delivered items by name.
        span: The times of delivered events, as far as they are known.
        maybe_duplicated: Delivered records that an earlier attempt, whose answer was lost or does not deny it, may have
            delivered too.
        billable: Delivered items that Statsig bills.
        bytes_sent: Bytes of bodies on the wire, all attempts counted.
    """

    records: int = 0
    delivered: int = 0
    skipped_duplicates: int = 0
    deleted_row: int = 0
    undelivered: int = 0
    unreadable: tuple[int, str] | None = None
    rejections: list[Rejection] = field(default_factory=list)
    maybe_duplicated: int = 0
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    billable: int = 0
    warnings: MappingWarnings = field(default_factory=MappingWarnings)
    failure: TargetStatsigError | None = None
    names: Counter[str] = field(default_factory=Counter)
    span: Span | None = None

    def fail(self, error: TargetStatsigError, undelivered: int) -> None:
        """Note what ended the work, and how many records are not known to be delivered because of it."""
        self.failure = error
        self.undelivered += undelivered

    def add_to(self, counts: ItemCounts) -> None:
        """Add what was sent to a stream's counts; its rejections are counted where they are kept."""
        if self.unreadable is not None:
            counts.records -= 1
        counts.delivered += self.delivered
        counts.skipped_duplicates += self.skipped_duplicates
        counts.deleted_row += self.deleted_row
        counts.maybe_duplicated += self.maybe_duplicated
        if self.warnings != MappingWarnings():
            for name in COUNTS:
                setattr(counts, name, getattr(counts, name) + getattr(self.warnings, name))
            # As many as one batch may list: where every record has a name of its own, the report stays short.
            counts.renamed = dict(islice((counts.renamed | self.warnings.renamed).items(), RENAMED_LISTED))
        counts.requests += self.requests
        counts.retries += self.retries
        counts.bytes_sent += self.bytes_sent
        counts.billable += self.billable
        counts.count_names(self.names)
        counts.span = wider(counts.span, self.span)


@dataclass(slots=True)
class Delivery:
    """Delivers the batches of one stream, from any thread.

    Attributes:
        stream: The stream's name, after the stream maps.
        settings: Its settings.
        item_type: What its records become.
        bounds: How large a request may be.
        refusals: Refused items of this type.
        workers: What prepares, here or in another process.
        client: What sends.
        ledger: What remembers deliveries.
        item_bytes: The bytes of an item in the batch prepared last, on average; 0 before the first.
        all_known: Whether all records of the last batch were known, so that those of the next one may be, too.
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
        """How many items to gather for a request: as many as it may hold, going by the size of the last ones."""
        return self.bounds.limits.rows_of(self.item_bytes)

    def preparation(self, reader: RecordReader, replication_key: str | None, *, is_late: bool = False) -> Preparation:
        """Return what prepares the batches that a reader reads.

        Args:
            reader: The reader.
            replication_key: The column by which the tap says how far it has come, where its SCHEMA names one.
            is_late: Whether the records come behind others of their stream, so that a bookmark says nothing of them.
        """
        remembers = not isinstance(self.ledger, NoLedger)
        return Preparation(
            reader,
            self.settings,
            self.item_type,
            remembers,
            self.client.compression,
            replication_key,
            None if is_late else self.ledger.passed,
        )

    def deliver(
        self, preparation: Prepares, batch: Batch, *, now_ms: int, epoch: int = 0, on_retry: Callable[[], None]
    ) -> BatchResult:
        """Deliver a batch; for a failed request nothing is raised: the result says what was not delivered, and why.

        Args:
            preparation: What prepares it.
            batch: The batch.
            now_ms: The time of items that have none, unix milliseconds.
            epoch: How many STATE messages came before the last of the records.
            on_retry: Called for each request that is tried again.
        """
        return _BatchDelivery(self, preparation, now_ms, epoch, on_retry).run(batch)


class _BatchDelivery:
    """The delivery of one batch."""

    def __init__(
        self, delivery: Delivery, preparation: Prepares, now_ms: int, epoch: int, on_retry: Callable[[], None]
    ) -> None:
        self._delivery = delivery
        self._preparation = preparation
        self._ledger = delivery.ledger
        self._now_ms = now_ms
        self._epoch = epoch
        self._on_retry = on_retry
        self._highest: Bookmark | None = None
        self._result = BatchResult()

    def run(self, batch: Batch) -> BatchResult:
        result = self._result
        result.records = len(batch)
        delivery = self._delivery
        limits = DIGESTS_ONLY if delivery.all_known else delivery.bounds.limits
        prepared = self._prepare(batch, limits)
        if prepared.unreadable is not None:
            result.unreadable = (prepared.readable, prepared.unreadable)
            result.records -= 1
            result.undelivered = result.records - prepared.readable
        self._highest = prepared.highest
        try:
            known = self._known(prepared, len(batch))
        except TargetStatsigError as error:
            result.fail(error, prepared.readable)
            return result
        delivery.all_known = 0 < len(known) == prepared.readable
        result.skipped_duplicates = len(known)
        if delivery.all_known:
            return result
        if known or limits is DIGESTS_ONLY:
            batch = batch.take([row for row in range(prepared.readable) if row not in known])
            prepared = self._prepare(batch)
        result.deleted_row = prepared.deleted
        result.warnings = prepared.warnings
        self._send_all(batch, prepared)
        return result

    def _prepare(self, batch: Batch, limits: Limits | None = None) -> Prepared:
        """Prepare a batch, within the limits that hold now where no others are given."""
        delivery = self._delivery
        return delivery.workers.prepare(self._preparation, batch, limits or delivery.bounds.limits, self._now_ms)

    def _known(self, prepared: Prepared, count: int) -> set[int]:
        """Return the lines of records that an earlier run delivered."""
        if self._ledger.is_blank or not prepared.digests:
            return set()
        answers = self._ledger.known(each(prepared.digests), highest=prepared.highest, epoch=self._epoch)
        rows = range(count) if prepared.rows is None else prepared.rows
        return set(compress(rows, answers))

    def _send_all(self, batch: Batch, prepared: Prepared, *, doubted: bool = False) -> None:
        self._result.rejections += [
            Rejection(batch.lines[row], reason, field) for row, reason, field in prepared.rejected
        ]
        self._delivery.item_bytes = prepared.item_bytes or self._delivery.item_bytes
        for request in prepared.requests:
            if self._is_too_large_by_now(request):
                part = _lines_of(batch, request)
                self._send_all(part, self._prepare(part), doubted=doubted)
            else:
                self._send(batch, request, doubted=doubted)

    def _is_too_large_by_now(self, request: PreparedRequest) -> bool:
        """Return whether another request has shown, since this one was prepared, that Statsig would not take it."""
        return self._result.failure is None and request.count > 1 and request.size > self._delivery.bounds.limits.bytes

    def _send(self, batch: Batch, request: PreparedRequest, *, doubted: bool) -> None:
        """Send a request.

        Args:
            batch: The batch that it was made of.
            request: The request.
            doubted: Whether a larger request that held its items may have been taken.
        """
        result, count = self._result, request.count
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
                self._split(_lines_of(batch, request), request, error, doubted=doubted)
        except TargetStatsigError as error:
            result.fail(error, count)
        else:
            self._delivery.refusals.taken()
            result.delivered += count
            result.names.update(request.names)
            result.span = wider(result.span, request.span)
            result.maybe_duplicated += count if doubted else maybe_duplicated
            result.billable += request.billed

    def _post(self, request: PreparedRequest) -> int:
        """Send a request, written down before and after, and return how many of its items may be in Statsig twice."""
        batch = self._ledger.intend(request.digests, highest=self._highest, epoch=self._epoch)
        try:
            sent = self._delivery.client.send_body(
                self._delivery.item_type.endpoint,
                request.body,
                request.count,
                what=f"{self._delivery.item_type.count(request.count)} of stream '{self._delivery.stream}'",
                on_try=self._begin_try,
            )
        except TargetStatsigError as error:
            if not error.maybe_taken:
                self._ledger.withdraw(batch)
            raise
        self._ledger.acknowledge(batch)
        # Only now: to ask uses up the doubt, and the halves of a refused batch would find none.
        in_doubt = self._ledger.in_doubt(request.digests)
        return request.count if sent.maybe_duplicated else in_doubt

    def _begin_try(self, tries_before: int, size: int) -> None:
        self._ledger.check()
        self._result.requests += 1
        if tries_before:
            self._result.retries += 1
            self._on_retry()
        self._result.bytes_sent += size

    def _split(self, batch: Batch, request: PreparedRequest, error: RequestError, *, doubted: bool) -> None:
        """Prepare the lines of a refused request again, in parts; reject one that stands alone."""
        alone = request.count == 1
        too_large = isinstance(error, TooLargeError)
        if too_large:
            self._delivery.bounds.lower(request.size, alone=alone)
        if not alone:
            # What was too large is split by what may be in a request now.
            middle = len(batch) // 2
            parts = [batch] if too_large else [batch.part(0, middle), batch.part(middle, len(batch))]
            for part in parts:
                self._send_all(part, self._prepare(part), doubted=doubted)
            return
        reason = f"{self._delivery.item_type.object_type}_too_large" if too_large else REFUSED
        self._result.rejections.append(Rejection(batch.lines[0], reason, message=error.message))
        if self._delivery.refusals.refused():
            what = f"{self._delivery.item_type.count(RefusalStreak.LIMIT)} of stream '{self._delivery.stream}'"
            self._result.failure = FatalRunError(
                f"Statsig refused {what} one by one and took none, so the mapping or `events_url` is wrong. Statsig's "
                f"message: {error.message or 'none'}. The refused records are in the dead letters. Fix the "
                "configuration and run again.",
                heading=Heading.REFUSED,
            )


def _lines_of(batch: Batch, request: PreparedRequest) -> Batch:
    """Return the lines that a request was made of."""
    return batch if request.rows is None else batch.take(request.rows)
