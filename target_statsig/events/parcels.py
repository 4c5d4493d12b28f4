"""Records made ready to be sent: mapped, encoded, and known by their digests.

Pure. Refuses to know what is sent already, and how.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.events.encoding import NOT_ENCODABLE, encode_all
from target_statsig.events.positions import highest
from target_statsig.events.receipt import Rejection
from target_statsig.exceptions import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from target_statsig.events.notes import MappingNotes
    from target_statsig.events.stream import ItemStream
    from target_statsig.ledger import Bookmark
    from target_statsig.record import Record
    from target_statsig.settings import Compression

    Item = dict[str, Any]

ENVELOPE_BYTES = 200
"""Room for what stands around the items of a request: `{"events":[…],"statsigMetadata":{…}}`."""


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """A record that became an item: encoded once, remembered by its digest. A struct, as `Record` is one."""

    record: Record
    body: bytes
    digest: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Load:
    """What one request carries.

    Attributes:
        body: The body of the request.
        count: How many items it holds.
        digests: The digests of their records, end to end.
        names: The name of each.
        parcels: Returns them one by one.
    """

    body: bytes
    count: int
    digests: bytes
    names: Counter[str]
    parcels: Callable[[], Sequence[Parcel]]

    @classmethod
    def of(cls, parcels: Sequence[Parcel], stream: ItemStream, compression: Compression) -> Load:
        """Load parcels of a stream."""
        return cls(
            body=stream.body(b",".join([parcel.body for parcel in parcels]), compression),
            count=len(parcels),
            digests=b"".join([parcel.digest for parcel in parcels]),
            names=Counter([parcel.name for parcel in parcels]),
            parcels=lambda: parcels,
        )


def wrap(
    records: Sequence[tuple[Record, bytes]], stream: ItemStream, *, now_ms: int, notes: MappingNotes
) -> tuple[list[Parcel], list[Rejection]]:
    """Map and encode records, and tell which of them cannot become an item.

    Args:
        records: The records, each with its digest.
        stream: Their stream.
        now_ms: The time of items that have none, unix milliseconds.
        notes: Told of what is worth a warning.
    """
    items, rejections = map_all([record for record, _ in records], stream, now_ms=now_ms, notes=notes)
    name_of, largest = stream.kind.name_of, stream.bounds.largest - ENVELOPE_BYTES
    parcels = []
    mapped = [(known_by, item) for known_by, item in zip(records, items, strict=True) if item is not None]
    bodies = encode_all([item for _, item in mapped])
    for ((record, digest), item), body in zip(mapped, bodies, strict=True):
        if body is None or len(body) > largest:
            rejections.append(Rejection(record, NOT_ENCODABLE if body is None else stream.too_large))
        else:
            parcels.append(Parcel(record, body, digest, name_of(item)))
    notes.add_sizes([parcel.body for parcel in parcels])
    return parcels, rejections


def map_all(
    records: Iterable[Record], stream: ItemStream, *, now_ms: int, notes: MappingNotes
) -> tuple[list[Item | None], list[Rejection]]:
    """Map records: return the item of each, None where there can be none, and why that is so.

    Args:
        records: The records.
        stream: Their stream.
        now_ms: As for `wrap`.
        notes: As for `wrap`.
    """
    for_columns = stream.mapper.for_columns
    last: tuple[str, ...] = ()
    to_item = for_columns(last)
    items: list[Item | None] = []
    rejections = []
    for record in records:
        columns = tuple(record.data)
        if columns != last:
            last, to_item = columns, for_columns(columns)
        try:
            items.append(to_item(record.data, record.message.get("time_extracted"), now_ms, notes))
        except RecordError as error:
            items.append(None)
            rejections.append(Rejection(record, error.reason, error.field))
    return items, rejections


def highest_of(records: Iterable[Mapping[str, Any]], stream: ItemStream) -> Bookmark | None:
    """Return how far the tap has come with these records, as it sent them; None where nobody can tell."""
    column = stream.replication_key
    return None if column is None else highest([data.get(column) for data in records])
