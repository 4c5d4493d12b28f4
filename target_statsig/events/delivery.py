"""The unit of work: some records in, a receipt out, every record accounted for.

Knows nothing of Singer, files and threads: the sink calls it from worker threads, a process pool could as well.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress, repeat
from operator import not_
from typing import TYPE_CHECKING

from target_statsig.events.batching import halve, pack
from target_statsig.events.digest import digests_of
from target_statsig.events.notes import MappingNotes
from target_statsig.events.parcels import ENVELOPE_BYTES, Load, Parcel, highest_of, wrap
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
from target_statsig.ledger import NoLedger, each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.events.prepare import Prepared
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
    delivery = _Delivery(len(records), stream, client, ledger, epoch, on_retry)
    delivery.run(records, now_ms)
    return delivery.receipt


def deliver_prepared(
    prepared: Prepared,
    records: Callable[[], Sequence[Record]],
    stream: ItemStream,
    client: EventsClient,
    ledger: StreamLedger,
    *,
    now_ms: int,
    epoch: int = 0,
    on_retry: Callable[[], None] = lambda: None,
) -> Receipt:
    """Send items that are ready; for the rest see `deliver`.

    `records` returns their records. It is asked only where an earlier run delivered some of them, and where Statsig
    refuses the request, to find out what it dislikes.
    """
    delivery = _Delivery(prepared.count, stream, client, ledger, epoch, on_retry)
    delivery.run_prepared(prepared, records, now_ms)
    return delivery.receipt


class _Delivery:
    """One call of `deliver`, so that its steps share the receipt."""

    def __init__(
        self,
        records: int,
        stream: ItemStream,
        client: EventsClient,
        ledger: StreamLedger,
        epoch: int,
        on_retry: Callable[[], None],
    ) -> None:
        self.receipt = Receipt(records)
        self._highest: Bookmark | None = None
        self._stream = stream
        self._client = client
        self._ledger = ledger
        self._epoch = epoch
        self._on_retry = on_retry

    def run(self, records: Sequence[Record], now_ms: int) -> None:
        try:
            unknown = self._unknown(records)
        except TargetStatsigError as error:
            self._fail(error, len(records))
        else:
            self._send_all(self._wrap(unknown, now_ms))

    def run_prepared(self, prepared: Prepared, records: Callable[[], Sequence[Record]], now_ms: int) -> None:
        self._highest = prepared.highest
        try:
            known = [] if self._ledger.is_blank else self._known(each(prepared.digests))
        except TargetStatsigError as error:
            self._fail(error, prepared.count)
            return

        def parcels() -> list[Parcel]:
            self.receipt.notes = MappingNotes()
            digests = each(prepared.digests) or repeat(b"", prepared.count)
            identified = zip(records(), digests, strict=True)
            return self._wrap([*(compress(identified, map(not_, known)) if known else identified)], now_ms)

        if any(known):
            self._send_all(parcels())
        else:
            self.receipt.notes = prepared.notes
            self._send(Load(prepared.body, prepared.count, prepared.digests, Counter(prepared.names), parcels))

    def _wrap(self, records: Sequence[tuple[Record, bytes]], now_ms: int) -> list[Parcel]:
        parcels, rejections = wrap(records, self._stream, now_ms=now_ms, notes=self.receipt.notes)
        self.receipt.rejections += rejections
        return parcels

    def _send_all(self, parcels: list[Parcel], *, doubted: bool = False) -> None:
        bounds = self._stream.bounds
        while parcels:
            # One batch at a time: a 413 lowers the bound for those behind it.
            sizes = [len(parcel.body) for parcel in parcels]
            first = next(pack(sizes, max_rows=bounds.rows, max_bytes=bounds.bytes, overhead=ENVELOPE_BYTES))
            self._send(self._load(parcels[first]), doubted=doubted)
            del parcels[first]

    def _load(self, parcels: Sequence[Parcel]) -> Load:
        return Load.of(parcels, self._stream, self._client.compression)

    def _unknown(self, records: Sequence[Record]) -> list[tuple[Record, bytes]]:
        """Return the records that no earlier run delivered, each with its digest."""
        if isinstance(self._ledger, NoLedger):
            return [(record, b"") for record in records]
        sent_by_the_tap = [record.message["record"] for record in records]
        self._highest = highest_of(sent_by_the_tap, self._stream)
        digests = digests_of(sent_by_the_tap)
        return [*compress(zip(records, digests, strict=True), map(not_, self._known(digests)))]

    def _known(self, digests: Sequence[bytes]) -> list[bool]:
        """Return which of the records an earlier run delivered; they are skipped."""
        known = self._ledger.known(digests, highest=self._highest, epoch=self._epoch)
        self.receipt.skipped_duplicates += sum(known)
        return known

    def _send(self, load: Load, *, doubted: bool = False) -> None:
        """Send some items in one request; what is refused for good is halved until the culprits stand alone.

        Args:
            load: The items.
            doubted: Whether the answer to a larger request that held them was lost.
        """
        receipt, count = self.receipt, load.count
        if receipt.failure is not None:
            receipt.undelivered += count
            return
        try:
            maybe_duplicated = self._request(load)
        except (RefusedError, TooLargeError) as error:
            if error.status in NOT_ABOUT_THE_BODY:
                self._fail(error, count)
            else:
                self._look_closer(load, error, doubted=doubted or error.maybe_taken)
        except TargetStatsigError as error:
            self._fail(error, count)
        else:
            self._stream.refusals.taken()
            receipt.delivered += count
            receipt.names.update(load.names)
            receipt.maybe_duplicated += count if doubted else maybe_duplicated
            if self._stream.is_billed:
                receipt.billable += count

    def _request(self, load: Load) -> int:
        """Send some items, written down before and after, and return how many of them may be in Statsig twice."""
        batch = self._ledger.intend(load.digests, highest=self._highest, epoch=self._epoch)
        try:
            sent = self._client.send_body(
                self._stream.kind.endpoint,
                load.body,
                load.count,
                what=f"{self._stream.kind.count(load.count)} of stream '{self._stream.name}'",
                on_try=self._count_try,
            )
        except TargetStatsigError as error:
            if not error.maybe_taken:
                self._ledger.withdraw(batch)
            raise
        self._ledger.acknowledge(batch)
        # Only now: to ask uses up the doubt, and the halves of a refused batch would find none.
        in_doubt = self._ledger.in_doubt(load.digests)
        return load.count if sent.maybe_duplicated else in_doubt

    def _count_try(self, tries_before: int, size: int) -> None:
        self.receipt.requests += 1
        if tries_before:
            self.receipt.retries += 1
            self._on_retry()
        self.receipt.bytes_sent += size

    def _fail(self, error: TargetStatsigError, undelivered: int) -> None:
        self.receipt.failure = error
        self.receipt.undelivered += undelivered

    def _look_closer(self, load: Load, error: RequestError, *, doubted: bool) -> None:
        parcels = load.parcels()
        if len(parcels) == load.count:
            self._split(parcels, error, doubted=doubted)
        else:
            # Meanwhile other batches have lowered the bounds, and some of these items are rejected by themselves now.
            self._send_all(list(parcels), doubted=doubted)

    def _split(self, parcels: Sequence[Parcel], error: RequestError, *, doubted: bool) -> None:
        alone = len(parcels) == 1
        if isinstance(error, TooLargeError):
            size = sum(len(parcel.body) for parcel in parcels) + ENVELOPE_BYTES
            self._stream.bounds.lower(size, alone=alone)
        if not alone:
            for half in halve(parcels):
                self._send(self._load(half), doubted=doubted)
            return
        reason = self._stream.too_large if isinstance(error, TooLargeError) else REFUSED
        self.receipt.rejections.append(Rejection(parcels[0].record, reason, words=error.words))
        if self._stream.refusals.refused():
            what = f"{self._stream.kind.count(RefusalStreak.LIMIT)} of stream '{self._stream.name}'"
            self.receipt.failure = FatalRunError(
                f"Statsig refused {what} one by one and took none: that is no bad record but a wrong mapping or "
                f"`events_url`. Its words: {error.words or 'none'}. What it refused is in the dead letters. Mend the "
                f"configuration and run again.",
                heading=Heading.REFUSED,
            )
