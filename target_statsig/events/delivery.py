"""The unit of work: some records in, a receipt out, every record accounted for.

Knows nothing of Singer, files and threads: the sink calls it from worker threads, a process pool could as well.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING

from target_statsig.events.batching import SEPARATOR_BYTES
from target_statsig.events.digest import digests_of
from target_statsig.events.dispatch import Dispatch
from target_statsig.events.notes import MappingNotes
from target_statsig.events.parcels import Load, Parcel, highest_of, wrap
from target_statsig.events.receipt import Decoded, Receipt
from target_statsig.exceptions import TargetStatsigError
from target_statsig.fields import is_deleted
from target_statsig.ledger import NoLedger, each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.events.prepare import Prepared
    from target_statsig.events.stream import ItemStream
    from target_statsig.ledger import StreamLedger
    from target_statsig.record import Record


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
    receipt = Receipt(len(records))
    _Delivery(Dispatch(receipt, stream, client, ledger, epoch, on_retry)).run(records, now_ms)
    return receipt


def deliver_prepared(
    prepared: Prepared,
    look: Callable[[], Decoded],
    stream: ItemStream,
    client: EventsClient,
    ledger: StreamLedger,
    *,
    now_ms: int,
    epoch: int = 0,
    on_retry: Callable[[], None] = lambda: None,
) -> Receipt:
    """Send items that are ready; for the rest see `deliver`.

    `look` returns their records. It is asked only where an earlier run delivered some of them, and where Statsig
    refuses the request, to find out what it dislikes.
    """
    receipt = Receipt(prepared.count)
    _Delivery(Dispatch(receipt, stream, client, ledger, epoch, on_retry)).run_prepared(prepared, look, now_ms)
    return receipt


class _Delivery:
    """One call of `deliver`: which of the records are sent, and as what."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.receipt = dispatch.receipt
        self._dispatch = dispatch
        self._stream = dispatch.stream
        self._ledger = dispatch.ledger

    def run(self, records: Sequence[Record], now_ms: int) -> None:
        if self._stream.skips_deleted:
            # Before the ledger is asked: to it a deleted row may look like the one that was delivered.
            kept = [record for record in records if not is_deleted(record.message["record"])]
            self.receipt.deleted_row = len(records) - len(kept)
            records = kept
        try:
            unknown = self._unknown(records)
        except TargetStatsigError as error:
            self.receipt.fail(error, len(records))
        else:
            self._dispatch.send_all(self._wrap(unknown, now_ms))

    def run_prepared(self, prepared: Prepared, look: Callable[[], Decoded], now_ms: int) -> None:
        self._dispatch.highest = prepared.highest
        self._stream.item_bytes = prepared.size / prepared.count
        skipped: Counter[bytes] = Counter()
        try:
            if not self._ledger.is_blank:
                digests = each(prepared.digests)
                skipped.update(compress(digests, self._known(digests)))
        except TargetStatsigError as error:
            self.receipt.fail(error, prepared.count)
            return

        def parcels() -> list[Parcel]:
            self.receipt.notes = MappingNotes()
            return self._wrap(self._left_of(look(), prepared.count, skipped), now_ms)

        if skipped:
            self._dispatch.send_all(parcels())
        else:
            self.receipt.notes = prepared.notes
            self._dispatch.send(Load(prepared.body, prepared.count, prepared.digests, Counter(prepared.names), parcels))

    def _left_of(self, decoded: Decoded, count: int, skipped: Counter[bytes]) -> list[tuple[Record, bytes]]:
        """Return the records that are not skipped, each with its digest.

        All of them should be sound, or they could not have been prepared. If not, each is accounted for all the same.
        """
        self.receipt.rejections += decoded.rejections
        if decoded.failure is not None:
            self.receipt.fail(decoded.failure, count - len(decoded.records) - len(decoded.rejections))
        left = []
        for record, digest in self._identified(decoded.records):
            if skipped[digest]:
                skipped[digest] -= 1
            else:
                left.append((record, digest))
        return left

    def _wrap(self, records: Sequence[tuple[Record, bytes]], now_ms: int) -> list[Parcel]:
        parcels, rejections = wrap(records, self._stream, now_ms=now_ms, notes=self.receipt.notes)
        self.receipt.rejections += rejections
        if parcels:
            self._stream.item_bytes = sum(len(parcel.body) for parcel in parcels) / len(parcels) + SEPARATOR_BYTES
        return parcels

    def _unknown(self, records: Sequence[Record]) -> list[tuple[Record, bytes]]:
        """Return the records that no earlier run delivered, each with its digest."""
        identified = self._identified(records)
        if isinstance(self._ledger, NoLedger):
            return identified
        self._dispatch.highest = highest_of([record.message["record"] for record in records], self._stream)
        return [*compress(identified, map(not_, self._known([digest for _, digest in identified])))]

    def _identified(self, records: Sequence[Record]) -> list[tuple[Record, bytes]]:
        """Return records with their digests, as the tap sent them; without any where nothing is to be remembered."""
        if isinstance(self._ledger, NoLedger):
            return [(record, b"") for record in records]
        return [*zip(records, digests_of([record.message["record"] for record in records]), strict=True)]

    def _known(self, digests: Sequence[bytes]) -> list[bool]:
        """Return which of the records an earlier run delivered; they are skipped."""
        known = self._ledger.known(digests, highest=self._dispatch.highest, epoch=self._dispatch.epoch)
        self.receipt.skipped_duplicates += sum(known)
        return known
