"""The unit of work: some records in, a receipt out, every record accounted for.

Knows nothing of Singer, files and threads: the sink calls it from worker threads, a process pool could as well.
"""

from __future__ import annotations

from functools import cached_property
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING

from target_statsig.events.batching import halve, pack
from target_statsig.events.digest import digests_of
from target_statsig.events.parcels import ENVELOPE_BYTES, Parcel, highest_of, wrap
from target_statsig.events.receipt import Receipt, Rejection
from target_statsig.events.stream import RefusalStreak
from target_statsig.exceptions import (
    FatalRunError,
    RefusedError,
    RequestError,
    TargetStatsigError,
    TooLargeError,
)
from target_statsig.headings import Heading
from target_statsig.ledger import NoLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.events.stream import ItemStream
    from target_statsig.ledger import Bookmark, StreamLedger
    from target_statsig.record import Record

REFUSED = "refused_by_statsig"

NOT_ABOUT_THE_BODY = frozenset({301, 302, 303, 307, 308, 404, 405})
"""Refusals that halving cannot mend: there is no events API at `events_url`."""


def deliver(
    records: Sequence[Record],
    stream: ItemStream,
    client: EventsClient,
    ledger: StreamLedger,
    *,
    now_ms: int,
    epoch: int = 0,
    on_retry: Callable[[], None] = lambda: None,
) -> Receipt:
    """Map, pack and send some records of a stream.

    What an earlier run delivered is skipped; what cannot become an item, or is refused for good, is in the receipt's
    rejections. Nothing is raised for a failed request: the receipt says what was not delivered, and why.

    Args:
        records: The records, in the order in which they came.
        stream: Their stream.
        client: What sends items.
        ledger: What remembers deliveries.
        now_ms: The time of items that have none, unix milliseconds.
        epoch: How many STATE messages came before the last of the records.
        on_retry: Told of each request that is tried again, before the receipt is there.
    """
    return _Delivery(records, stream, client, ledger, epoch, on_retry).run(now_ms)


class _Delivery:
    """One call of `deliver`, so that its steps share the receipt."""

    def __init__(
        self,
        records: Sequence[Record],
        stream: ItemStream,
        client: EventsClient,
        ledger: StreamLedger,
        epoch: int,
        on_retry: Callable[[], None],
    ) -> None:
        self._records = records
        self._stream = stream
        self._client = client
        self._ledger = ledger
        self._epoch = epoch
        self._on_retry = on_retry
        self._receipt = Receipt(records=len(records))

    def run(self, now_ms: int) -> Receipt:
        try:
            unknown = self._unknown()
        except TargetStatsigError as error:
            self._fail(error, len(self._records))
            return self._receipt
        parcels, rejections = wrap(unknown, self._stream, now_ms=now_ms, notes=self._receipt.notes)
        self._receipt.rejections += rejections
        bounds = self._stream.bounds
        while parcels:
            # One batch at a time: a 413 lowers the bound for those behind it.
            sizes = [len(parcel.body) for parcel in parcels]
            first = next(pack(sizes, max_rows=bounds.rows, max_bytes=bounds.bytes, overhead=ENVELOPE_BYTES))
            self._send(parcels[first])
            del parcels[first]
        return self._receipt

    def _unknown(self) -> list[tuple[Record, bytes]]:
        """Return the records that no earlier run delivered, each with its digest."""
        if isinstance(self._ledger, NoLedger):
            return [(record, b"") for record in self._records]
        digests = digests_of([record.message["record"] for record in self._records])
        known = self._ledger.known(digests, highest=self._highest, epoch=self._epoch)
        self._receipt.skipped_duplicates += sum(known)
        return [*compress(zip(self._records, digests, strict=True), map(not_, known))]

    def _send(self, parcels: Sequence[Parcel], *, doubted: bool = False) -> None:
        """Send some items in one request; what is refused for good is halved until the culprits stand alone.

        Args:
            parcels: The items.
            doubted: Whether the answer to a larger request that held them was lost.
        """
        receipt = self._receipt
        if receipt.failure is not None:
            receipt.undelivered += len(parcels)
            return
        try:
            maybe_duplicated = self._request(parcels)
        except (RefusedError, TooLargeError) as error:
            if error.status in NOT_ABOUT_THE_BODY:
                self._fail(error, len(parcels))
            else:
                self._split(parcels, error, doubted=doubted or error.maybe_taken)
        except TargetStatsigError as error:
            self._fail(error, len(parcels))
        else:
            self._stream.refusals.taken()
            receipt.delivered += len(parcels)
            receipt.names.update(parcel.name for parcel in parcels)
            receipt.maybe_duplicated += len(parcels) if doubted else maybe_duplicated
            if self._stream.is_billed:
                receipt.billable += len(parcels)

    def _request(self, parcels: Sequence[Parcel]) -> int:
        """Send some items, written down before and after, and return how many of them may be in Statsig twice."""
        digests = [parcel.digest for parcel in parcels]
        batch = self._ledger.intend(digests, highest=self._highest, epoch=self._epoch)
        try:
            sent = self._client.send(
                self._stream.kind.endpoint,
                [parcel.body for parcel in parcels],
                what=f"{self._stream.kind.count(len(parcels))} of stream '{self._stream.name}'",
                flags=self._stream.flags,
                on_try=self._count_try,
            )
        except TargetStatsigError as error:
            if not error.maybe_taken:
                self._ledger.withdraw(batch)
            raise
        self._ledger.acknowledge(batch)
        # Only now: to ask uses up the doubt, and the halves of a refused batch would find none.
        in_doubt = self._ledger.in_doubt(digests)
        return len(parcels) if sent.maybe_duplicated else in_doubt

    def _count_try(self, tries_before: int, size: int) -> None:
        self._receipt.requests += 1
        if tries_before:
            self._receipt.retries += 1
            self._on_retry()
        self._receipt.bytes_sent += size

    def _fail(self, error: TargetStatsigError, undelivered: int) -> None:
        self._receipt.failure = error
        self._receipt.undelivered += undelivered

    def _split(self, parcels: Sequence[Parcel], error: RequestError, *, doubted: bool) -> None:
        alone = len(parcels) == 1
        if isinstance(error, TooLargeError):
            size = sum(len(parcel.body) for parcel in parcels) + ENVELOPE_BYTES
            self._stream.bounds.lower(size, alone=alone)
        if not alone:
            for half in halve(parcels):
                self._send(half, doubted=doubted)
            return
        reason = self._stream.too_large if isinstance(error, TooLargeError) else REFUSED
        self._receipt.rejections.append(Rejection(parcels[0].record, reason, words=error.words))
        if self._stream.refusals.refused():
            what = f"{self._stream.kind.count(RefusalStreak.LIMIT)} of stream '{self._stream.name}'"
            self._receipt.failure = FatalRunError(
                f"Statsig refused {what} one by one and took none: that is no bad record but a wrong mapping or "
                f"`events_url`. Its words: {error.words or 'none'}. What it refused is in the dead letters. Mend the "
                f"configuration and run again.",
                heading=Heading.REFUSED,
            )

    @cached_property
    def _highest(self) -> Bookmark | None:
        """How far the tap has come with these records, by their replication key."""
        return highest_of(self._records, self._stream)
