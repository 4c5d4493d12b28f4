"""Encoded items on their way to Statsig, until each is taken, refused alone, or known not to be delivered.

Knows what an answer means for the records behind it, and writes each batch down before and after. Refuses to know how
records become items, and which of them are worth sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.events.batching import halve, pack
from target_statsig.events.parcels import ENVELOPE_BYTES, Load, Parcel
from target_statsig.events.receipt import Rejection
from target_statsig.events.stream import RefusalStreak
from target_statsig.exceptions import (
    FatalRunError,
    RefusedError,
    RequestError,
    TargetStatsigError,
    TooLargeError,
)
from target_statsig.headings import Heading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.client.events import EventsClient
    from target_statsig.events.receipt import Receipt
    from target_statsig.events.stream import ItemStream
    from target_statsig.ledger import Bookmark, StreamLedger

REFUSED = "refused_by_statsig"

NOT_ABOUT_THE_BODY = frozenset({301, 302, 303, 307, 308, 404, 405})
"""Refusals that halving cannot mend: there is no events API at `events_url`."""


class Dispatch:
    """Sends what one unit of work has to send; what becomes of it stands in the receipt.

    Attributes:
        receipt: What became of the records.
        stream: Their stream.
        ledger: What remembers deliveries.
        epoch: How many STATE messages came before the last of the records.
        highest: How far the tap has come with them; written down with each batch.
    """

    def __init__(
        self,
        receipt: Receipt,
        stream: ItemStream,
        client: EventsClient,
        ledger: StreamLedger,
        epoch: int,
        on_retry: Callable[[], None],
    ) -> None:
        """Take where to send, and where to write down what becomes of it; for the rest see `deliver`."""
        self.highest: Bookmark | None = None
        self.receipt = receipt
        self.stream = stream
        self._client = client
        self.ledger = ledger
        self.epoch = epoch
        self._on_retry = on_retry

    def send_all(self, parcels: list[Parcel], *, doubted: bool = False) -> None:
        """Send items in as few requests as can be.

        Args:
            parcels: The items; the list is used up.
            doubted: Whether a larger request that held them may have been taken.
        """
        bounds = self.stream.bounds
        while parcels:
            # One batch at a time: a 413 lowers the bound for those behind it.
            sizes = [len(parcel.body) for parcel in parcels]
            first = next(pack(sizes, max_rows=bounds.rows, max_bytes=bounds.bytes, overhead=ENVELOPE_BYTES))
            self.send(self._load(parcels[first]), doubted=doubted)
            del parcels[first]

    def send(self, load: Load, *, doubted: bool = False) -> None:
        """Send some items in one request; what is refused for good is halved until the culprits stand alone.

        Args:
            load: The items.
            doubted: Whether a larger request that held them may have been taken.
        """
        receipt, count = self.receipt, load.count
        if receipt.failure is not None:
            receipt.undelivered += count
            return
        try:
            maybe_duplicated = self._request(load)
        except (RefusedError, TooLargeError) as error:
            if error.status in NOT_ABOUT_THE_BODY:
                receipt.fail(error, count)
            else:
                self._look_closer(load, error, doubted=doubted or error.maybe_taken)
        except TargetStatsigError as error:
            receipt.fail(error, count)
        else:
            self.stream.refusals.taken()
            receipt.delivered += count
            receipt.names.update(load.names)
            receipt.maybe_duplicated += count if doubted else maybe_duplicated
            if self.stream.is_billed:
                receipt.billable += count

    def _load(self, parcels: Sequence[Parcel]) -> Load:
        return Load.of(parcels, self.stream, self._client.compression)

    def _request(self, load: Load) -> int:
        """Send some items, written down before and after, and return how many of them may be in Statsig twice."""
        batch = self.ledger.intend(load.digests, highest=self.highest, epoch=self.epoch)
        try:
            sent = self._client.send_body(
                self.stream.kind.endpoint,
                load.body,
                load.count,
                what=f"{self.stream.kind.count(load.count)} of stream '{self.stream.name}'",
                on_try=self._begin_try,
            )
        except TargetStatsigError as error:
            if not error.maybe_taken:
                self.ledger.withdraw(batch)
            raise
        self.ledger.acknowledge(batch)
        # Only now: to ask uses up the doubt, and the halves of a refused batch would find none.
        in_doubt = self.ledger.in_doubt(load.digests)
        return load.count if sent.maybe_duplicated else in_doubt

    def _begin_try(self, tries_before: int, size: int) -> None:
        self.ledger.check()
        self.receipt.requests += 1
        if tries_before:
            self.receipt.retries += 1
            self._on_retry()
        self.receipt.bytes_sent += size

    def _look_closer(self, load: Load, error: RequestError, *, doubted: bool) -> None:
        parcels = load.parcels()
        if len(parcels) == load.count:
            self._split(parcels, error, doubted=doubted)
        else:
            # Meanwhile other batches have lowered the bounds, and some of these items are rejected by themselves now.
            self.send_all(list(parcels), doubted=doubted)

    def _split(self, parcels: Sequence[Parcel], error: RequestError, *, doubted: bool) -> None:
        alone = len(parcels) == 1
        if isinstance(error, TooLargeError):
            size = sum(len(parcel.body) for parcel in parcels) + ENVELOPE_BYTES
            self.stream.bounds.lower(size, alone=alone)
        if not alone:
            for half in halve(parcels):
                self.send(self._load(half), doubted=doubted)
            return
        reason = self.stream.too_large if isinstance(error, TooLargeError) else REFUSED
        self.receipt.rejections.append(Rejection(parcels[0].record, reason, words=error.words))
        if self.stream.refusals.refused():
            what = f"{self.stream.kind.count(RefusalStreak.LIMIT)} of stream '{self.stream.name}'"
            self.receipt.failure = FatalRunError(
                f"Statsig refused {what} one by one and took none: that is no bad record but a wrong mapping or "
                f"`events_url`. Its words: {error.words or 'none'}. What it refused is in the dead letters. Mend the "
                f"configuration and run again.",
                heading=Heading.REFUSED,
            )
