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

if TYPE_CHECKING:
    from target_statsig.client.events import EventsClient
    from target_statsig.events.prepare import Preparation
    from target_statsig.events.receipt import Receipt, Rejection
    from target_statsig.events.workforce import Workforce
    from target_statsig.ledger import StreamLedger
    from target_statsig.record import Record

Piece = tuple[int, list[bytes]]
"""Lines that follow each other, behind the number of the first."""

Look = Callable[[int, list[bytes]], "tuple[list[Record], list[Rejection]]"]
"""Decodes the lines of a piece; returns the records that can be taken, and those that cannot."""


@dataclass(frozen=True, slots=True)
class LineDelivery:
    """Delivers the records of one stream, given as lines; what `deliver` is for those that are decoded."""

    preparation: Preparation
    workforce: Workforce
    look: Look
    client: EventsClient
    ledger: StreamLedger

    def __call__(self, pieces: list[Piece], *, now_ms: int, epoch: int, on_retry: Callable[[], None]) -> Receipt:
        """Deliver lines; for what comes of it see `deliver`.

        Raises:
            InputError: A line is no RECORD message that can be read.
        """
        stream = self.preparation.stream
        lines = b"\n".join(chain.from_iterable(piece for _, piece in pieces))
        prepared = self.workforce.prepare(self.preparation, lines, now_ms)
        if prepared is not None and prepared.size + ENVELOPE_BYTES <= stream.bounds.bytes:
            return deliver_prepared(
                prepared,
                lambda: self._look_at_all(pieces)[0],
                stream,
                self.client,
                self.ledger,
                now_ms=now_ms,
                epoch=epoch,
                on_retry=on_retry,
            )
        records, rejections = self._look_at_all(pieces)
        receipt = deliver(records, stream, self.client, self.ledger, now_ms=now_ms, epoch=epoch, on_retry=on_retry)
        receipt.records += len(rejections)
        receipt.rejections[:0] = rejections
        return receipt

    def _look_at_all(self, pieces: list[Piece]) -> tuple[list[Record], list[Rejection]]:
        records: list[Record] = []
        rejections: list[Rejection] = []
        for number, lines in pieces:
            sound, faulty = self.look(number, lines)
            records += sound
            rejections += faulty
        return records, rejections
