"""Batches of undecoded records: prepared in another process where they are plain, and looked at one by one where not.

Refuses to know where the lines come from, and how records are told from others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from target_statsig.events.delivery import deliver, deliver_prepared
from target_statsig.events.parcels import ENVELOPE_BYTES
from target_statsig.events.receipt import Decoded, Rejection
from target_statsig.exceptions import InputError

if TYPE_CHECKING:
    from target_statsig.client.events import EventsClient
    from target_statsig.events.prepare import Preparation
    from target_statsig.events.receipt import Receipt
    from target_statsig.events.workforce import Workforce
    from target_statsig.ledger import StreamLedger
    from target_statsig.record import Record

Piece = tuple[int, list[bytes]]
"""Lines that follow each other, each with its end, behind the number of the first."""

Look = Callable[[int, bytes], "Record | Rejection"]
"""Decodes a line, given its number; raises an InputError where it is no RECORD message after all."""


@dataclass(frozen=True, slots=True)
class LineDelivery:
    """Delivers the records of one stream, given as lines; what `deliver` is for those that are decoded."""

    preparation: Preparation
    workforce: Workforce
    look: Look
    client: EventsClient
    ledger: StreamLedger

    def __call__(self, pieces: list[Piece], *, now_ms: int, epoch: int, on_retry: Callable[[], None]) -> Receipt:
        """Deliver lines; for what comes of it see `deliver`. Behind a line that cannot be read nothing is delivered."""
        stream = self.preparation.stream
        lines = [*chain.from_iterable(piece for _, piece in pieces)]
        prepared = self.workforce.prepare(self.preparation, b"".join(lines), len(lines), now_ms)
        if prepared is not None and prepared.size + ENVELOPE_BYTES <= stream.bounds.bytes:
            return deliver_prepared(
                prepared,
                lambda: self._look_at_all(pieces),
                stream,
                self.client,
                self.ledger,
                now_ms=now_ms,
                epoch=epoch,
                on_retry=on_retry,
            )
        decoded = self._look_at_all(pieces)
        receipt = deliver(
            decoded.records, stream, self.client, self.ledger, now_ms=now_ms, epoch=epoch, on_retry=on_retry
        )
        receipt.no_records = int(decoded.failure is not None)
        receipt.records = len(lines) - receipt.no_records
        receipt.rejections[:0] = decoded.rejections
        receipt.undelivered += receipt.records - len(decoded.records) - len(decoded.rejections)
        receipt.failure = receipt.failure or decoded.failure
        return receipt

    def _look_at_all(self, pieces: list[Piece]) -> Decoded:
        decoded = Decoded()
        for first, lines in pieces:
            for number, line in enumerate(lines, first):
                try:
                    found = self.look(number, line)
                except InputError as error:
                    decoded.failure = error
                    return decoded
                if isinstance(found, Rejection):
                    decoded.rejections.append(found)
                else:
                    decoded.records.append(found)
        return decoded
