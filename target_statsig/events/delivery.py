"""The unit of work: a batch of lines in, its result out, every record accounted for.

Skips what an earlier run delivered, sends the rest, halves what Statsig refuses until the culprits stand alone, and
writes each request down before and after. Runs in the threads of the delivery pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_statsig.errors import FatalRunError, Heading, RefusedError, TargetStatsigError, TooLargeError
from target_statsig.events.batching import halve
from target_statsig.events.receipt import BatchResult, Rejection
from target_statsig.events.stream import RefusalStreak
from target_statsig.store.ledger import each

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.client.events import EventsClient
    from target_statsig.errors import RequestError
    from target_statsig.events.prepare import Preparation, Prepared, PreparedRequest
    from target_statsig.events.stream import ItemStream
    from target_statsig.events.workforce import Workforce
    from target_statsig.singer.records import Batch
    from target_statsig.store.ledger import Bookmark, StreamLedger

REFUSED = "refused_by_statsig"

NOT_ABOUT_THE_BODY = frozenset({301, 302, 303, 307, 308, 404, 405})
"""Refusals that halving cannot fix: there is no events API at `events_url`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivers the batches of one stream, from any thread.

    Attributes:
        preparation: Prepares them.
        stream: Their stream.
        workers: What prepares, here or in another process.
        client: What sends.
        ledger: What remembers deliveries.
    """

    preparation: Preparation
    stream: ItemStream
    workers: Workforce
    client: EventsClient
    ledger: StreamLedger

    def __call__(self, batch: Batch, *, now_ms: int, epoch: int = 0, on_retry: Callable[[], None]) -> BatchResult:
        """Deliver a batch; for a failed request nothing is raised: the result says what was not delivered, and why.

        Args:
            batch: The batch.
            now_ms: The time of items that have none, unix milliseconds.
            epoch: How many STATE messages came before the last of the records.
            on_retry: Told of each request that is tried again.
        """
        receipt = BatchResult(len(batch))
        _Work(self, receipt, now_ms, epoch, on_retry).run(batch)
        return receipt

    def prepare(self, batch: Batch, now_ms: int) -> Prepared:
        """Prepare a batch within the limits that hold now."""
        return self.workers.prepare(self.preparation, batch, self.stream.bounds.limits, now_ms)


class _Work:
    """The delivery of one batch."""

    def __init__(
        self, delivery: Delivery, receipt: BatchResult, now_ms: int, epoch: int, on_retry: Callable[[], None]
    ) -> None:
        self._delivery = delivery
        self._stream = delivery.stream
        self._ledger = delivery.ledger
        self._receipt = receipt
        self._now_ms = now_ms
        self._epoch = epoch
        self._on_retry = on_retry
        self._highest: Bookmark | None = None

    def run(self, batch: Batch) -> None:
        receipt = self._receipt
        prepared = self._delivery.prepare(batch, self._now_ms)
        if prepared.unreadable is not None:
            receipt.unreadable = (prepared.readable, prepared.unreadable)
            receipt.records -= 1
            receipt.undelivered = receipt.records - prepared.readable
        self._highest = prepared.highest
        try:
            known = self._known(prepared, len(batch))
        except TargetStatsigError as error:
            receipt.fail(error, prepared.readable)
            return
        if known:
            receipt.skipped_duplicates = len(known)
            batch = batch.take([row for row in range(prepared.readable) if row not in known])
            prepared = self._delivery.prepare(batch, self._now_ms)
        receipt.deleted_row = prepared.deleted
        receipt.notes = prepared.warnings
        self._send_all(batch, prepared)

    def _known(self, prepared: Prepared, count: int) -> set[int]:
        """Return the lines of records that an earlier run delivered."""
        if self._ledger.is_blank or not prepared.digests:
            return set()
        answers = self._ledger.known(each(prepared.digests), highest=prepared.highest, epoch=self._epoch)
        rows = range(count) if prepared.rows is None else prepared.rows
        return {row for row, known in zip(rows, answers, strict=True) if known}

    def _send_all(self, batch: Batch, prepared: Prepared, *, doubted: bool = False) -> None:
        self._receipt.rejections += [
            Rejection(batch.lines[row], reason, field) for row, reason, field in prepared.rejected
        ]
        if prepared.requests:
            items = sum(request.count for request in prepared.requests)
            self._stream.item_bytes = sum(request.size for request in prepared.requests) / items
        for request in prepared.requests:
            if self._is_too_large_by_now(request):
                part = _lines_of(batch, request)
                self._send_all(part, self._delivery.prepare(part, self._now_ms), doubted=doubted)
            else:
                self._send(batch, request, doubted=doubted)

    def _is_too_large_by_now(self, request: PreparedRequest) -> bool:
        """Return whether another request has shown, since this one was prepared, that Statsig would not take it."""
        return self._receipt.failure is None and request.count > 1 and request.size > self._stream.bounds.bytes

    def _send(self, batch: Batch, request: PreparedRequest, *, doubted: bool) -> None:
        """Send a request.

        Args:
            batch: The batch that it was made of.
            request: The request.
            doubted: Whether a larger request that held its items may have been taken.
        """
        receipt, count = self._receipt, request.count
        if receipt.failure is not None:
            receipt.undelivered += count
            return
        try:
            maybe_duplicated = self._post(request)
        except (RefusedError, TooLargeError) as error:
            doubted = doubted or error.maybe_taken
            if isinstance(error, RefusedError) and error.status in NOT_ABOUT_THE_BODY:
                receipt.fail(error, count)
            else:
                self._split(_lines_of(batch, request), request, error, doubted=doubted)
        except TargetStatsigError as error:
            receipt.fail(error, count)
        else:
            self._stream.refusals.taken()
            receipt.delivered += count
            receipt.names.update(request.names)
            receipt.maybe_duplicated += count if doubted else maybe_duplicated
            if self._stream.is_billed:
                receipt.billable += count

    def _post(self, request: PreparedRequest) -> int:
        """Send a request, written down before and after, and return how many of its items may be in Statsig twice."""
        batch = self._ledger.intend(request.digests, highest=self._highest, epoch=self._epoch)
        try:
            sent = self._delivery.client.send_body(
                self._stream.item_type.endpoint,
                request.body,
                request.count,
                what=f"{self._stream.item_type.count(request.count)} of stream '{self._stream.name}'",
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
        self._receipt.requests += 1
        if tries_before:
            self._receipt.retries += 1
            self._on_retry()
        self._receipt.bytes_sent += size

    def _split(self, batch: Batch, request: PreparedRequest, error: RequestError, *, doubted: bool) -> None:
        """Prepare the lines of a refused request again, in parts; reject one that stands alone."""
        alone = request.count == 1
        too_large = isinstance(error, TooLargeError)
        if too_large:
            self._stream.bounds.lower(request.size, alone=alone)
        if not alone:
            # What was too large is split by what may be in a request now.
            parts = [batch] if too_large else [*map(batch.take, halve(range(len(batch))))]
            for part in parts:
                self._send_all(part, self._delivery.prepare(part, self._now_ms), doubted=doubted)
            return
        reason = self._stream.too_large if too_large else REFUSED
        self._receipt.rejections.append(Rejection(batch.lines[0], reason, message=error.message))
        if self._stream.refusals.refused():
            what = f"{self._stream.item_type.count(RefusalStreak.LIMIT)} of stream '{self._stream.name}'"
            self._receipt.failure = FatalRunError(
                f"Statsig refused {what} one by one and took none: that is no bad record but a wrong mapping or "
                f"`events_url`. Its words: {error.message or 'none'}. What it refused is in the dead letters. Fix the "
                f"configuration and run again.",
                heading=Heading.REFUSED,
            )


def _lines_of(batch: Batch, request: PreparedRequest) -> Batch:
    """Return the lines that a request was made of."""
    return batch if request.rows is None else batch.take(request.rows)
