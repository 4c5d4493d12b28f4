"""Preparing a batch: its lines are decoded, validated, mapped, encoded and compressed into requests.

Pure and picklable, so that a worker process can do it. It needs no key, no store and nothing of the run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from target_statsig.client.events import encode_body
from target_statsig.config.choices import DeletedRows, ObjectType, Tier
from target_statsig.errors import RecordError
from target_statsig.events.remembered import below, digests_of, highest
from target_statsig.events.values import NOT_ENCODABLE, NOT_JSON, Items
from target_statsig.reports.report import MappingWarnings
from target_statsig.singer.columns import Faults, convert_one, deleted_rows, picked
from target_statsig.singer.message import ENCODER, encode_each
from target_statsig.store.ledger import Bookmark  # noqa: TC001 -- msgspec decodes one

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_statsig.config.choices import Compression
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.items import ItemType
    from target_statsig.events.values import Mapper
    from target_statsig.singer.records import Batch, Read, RecordReader

SEPARATOR_BYTES = 1
"""The comma between two items."""

ENVELOPE_BYTES = 200
"""The most bytes of a body around its items: `{"events":[…],"statsigMetadata":{…}}`."""

FILLED = 0.95
"""The share of a request to fill with items of the average size, because some are larger."""

BILLED_TIERS = frozenset({None, Tier.PRODUCTION})
"""Only production is billed. An item without a tier belongs to it: https://docs.statsig.com/pricing."""

LARGEST = 4_096
"""Bytes of an item's metadata or user. Statsig may cut or drop a larger one silently; its Node SDK has this limit."""


class Limits(msgspec.Struct, frozen=True):
    """How large a request may be.

    Attributes:
        rows: The most items; 0 asks for digests only, without requests.
        bytes: The most uncompressed bytes of a body with several items.
        largest: The most uncompressed bytes of a body with one item.
    """

    rows: int
    bytes: int
    largest: int

    def rows_of(self, item_bytes: float) -> int:
        """Return how many items to gather for a request, by the average bytes of the last items; 0 if unknown."""
        return max(min(self.rows, int(FILLED * self.bytes / item_bytes)), 1) if item_bytes else self.rows


DIGESTS_ONLY = Limits(0, 0, 0)


class PreparedRequest(msgspec.Struct, frozen=True):
    """A request that is ready to be sent.

    Attributes:
        body: The body, compressed if `compression` says so.
        size: Its uncompressed bytes.
        rows: The numbers of the lines whose records it holds; None for all lines of the batch.
        count: The number of items.
        digests: The concatenated digests of their records; empty if the ledger needs none.
        names: The number of items of each name.
        billed: The number of items that Statsig bills.
        span: The earliest and the latest time of an event, unix milliseconds; None for other types.
    """

    body: bytes
    size: int
    rows: list[int] | None
    count: int
    digests: bytes
    names: dict[str, int]
    billed: int
    span: tuple[int, int] | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A prepared batch.

    Attributes:
        requests: The requests to send.
        rejected: The number of each line whose record cannot be sent, with the reason and the field at fault.
        digests: The concatenated digests of all sound records; empty if the ledger needs none.
        rows: The numbers of their lines; None for all lines of the batch.
        highest: The highest replication-key value among them.
        deleted: The number of records of deleted rows, which are not sent.
        unreadable: What is wrong with the first line that is no RECORD message, or None. That line and those after it
            were not prepared.
        readable: The number of lines before it.
        warnings: Counts of records to warn of.
    """

    requests: list[PreparedRequest]
    rejected: list[tuple[int, str, str | None]]
    digests: bytes
    rows: list[int] | None
    highest: Bookmark | None
    deleted: int
    unreadable: str | None
    readable: int
    warnings: MappingWarnings

    @property
    def item_bytes(self) -> float:
        """The average bytes of an item; 0 if there is none."""
        items = sum(request.count for request in self.requests)
        return sum(request.size for request in self.requests) / items if items else 0.0


@dataclass(frozen=True)
class Preparation:
    """Prepares the batches of one stream until its next SCHEMA message.

    Attributes:
        remembers: Whether the ledger needs digests.
        replication_key: The column of the tap's bookmarks, if its SCHEMA names one.
        passed: The bookmark below which the ledger has forgotten deliveries, or None.
    """

    reader: RecordReader
    settings: StreamSettings
    item_type: ItemType
    remembers: bool
    compression: Compression
    replication_key: str | None
    passed: Bookmark | None = None

    @override
    def __getstate__(self) -> dict[str, object]:
        """Leave out the mapper, which is created again from the settings."""
        return {name: value for name, value in self.__dict__.items() if name != "_mapper"}

    @cached_property
    def _mapper(self) -> Mapper:
        return self.item_type.mapper(self.settings)

    def __call__(self, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Prepare a batch. `now_ms` is the time for items without one, in unix milliseconds."""
        return self.prepare(self.reader.read(batch), limits, now_ms)

    def prepare(self, read: Read, limits: Limits, now_ms: int, all_digests: Sequence[bytes] | None = None) -> Prepared:
        """Prepare records that are already decoded. `all_digests` are theirs, if they are known.

        Records from columns instead of lines are `Read(range(count), columns, columns)`, where `columns` is
        `Columns({name: values}, extracted=times, versions=[None] * count)`. Values are those of JSON: texts, integers,
        `Decimal` or floats for numbers with a fraction, booleans, objects, lists and None. `extracted` holds ISO 8601
        texts or None. `now_ms` is the time for items without one, in unix milliseconds.
        """
        deleted = deleted_rows(read.source) if self.settings.deleted_rows is DeletedRows.SKIP else []
        if deleted:
            gone = {*deleted}
            kept = [row for row in range(len(read.rows)) if row not in gone]
            rows = [read.rows[row] for row in kept]
            read = replace(read, columns=read.columns.take(kept), source=read.source.take(kept), rows=rows)
            all_digests = None if all_digests is None else picked(all_digests, kept)
        whole = not (deleted or read.faults or read.unreadable is not None)
        digests: Sequence[bytes] = []
        if self.remembers:
            digests = digests_of(read.source) if all_digests is None else all_digests
        requests, rejected, warnings = (
            self._map(read, digests, limits, now_ms, is_whole=whole) if limits.rows else ([], {}, MappingWarnings())
        )
        key = self.replication_key
        return Prepared(
            requests=requests,
            rejected=[(row, rejected[row].reason, rejected[row].field) for row in sorted(rejected)],
            digests=b"".join(digests),
            rows=None if whole else [*read.rows],
            highest=highest(read.source.get(key)) if self.remembers and key is not None else None,
            deleted=len(deleted),
            unreadable=read.unreadable,
            readable=len(read.rows) + len(read.faults) + len(deleted),
            warnings=warnings,
        )

    def _map(
        self, read: Read, digests: Sequence[bytes], limits: Limits, now_ms: int, *, is_whole: bool
    ) -> tuple[list[PreparedRequest], Faults, MappingWarnings]:
        """Return the requests, why lines are rejected, and the warnings; `is_whole` if the batch has no other lines."""
        warnings, faults = MappingWarnings(), Faults()
        items = self._mapper(read.columns, now_ms, warnings, faults)
        try:
            lines = encode_each(items.items)
        except NOT_JSON:
            lines = [
                b"" if row in faults else convert_one(_encode, item, row, faults) or b""
                for row, item in enumerate(items.items)
            ]
        sizes = [*map(len, lines)]
        most = limits.largest - ENVELOPE_BYTES
        if (largest := max(sizes, default=0)) > most:
            for row, size in enumerate(sizes):
                if size > most:
                    faults.setdefault(row, RecordError(f"{self.item_type.object_type}_too_large"))
        sound: Sequence[int] = range(len(read.rows))
        if faults:
            sound = [row for row in sound if row not in faults]
            # Counted again without the rejected records: warnings are only of records that are sent.
            warnings = MappingWarnings()
            self._mapper(read.columns.take(sound), now_ms, warnings, {})
        if largest > LARGEST:
            warnings.large_users, warnings.large_metadata = _count_large(picked(lines, sound))
        if self.passed is not None and self.replication_key is not None:
            warnings.behind_bookmark = below(picked(read.source.get(self.replication_key), sound), self.passed)
        requests = []
        for found in pack(picked(sizes, sound), max_rows=limits.rows, max_bytes=limits.bytes, overhead=ENVELOPE_BYTES):
            part = sound[found]
            rows = None if is_whole and len(part) == len(read.rows) else [read.rows[row] for row in part]
            requests.append(self._request(part, rows, lines, digests, items))
        return requests, {**read.faults, **{read.rows[row]: error for row, error in faults.items()}}, warnings

    def _request(
        self,
        part: Sequence[int],
        rows: list[int] | None,
        lines: Sequence[bytes],
        digests: Sequence[bytes],
        items: Items,
    ) -> PreparedRequest:
        """Return the request with a part of the records, which are on the lines `rows`."""
        is_test = self.settings.is_test and self.item_type.object_type is ObjectType.METRIC
        encoded = b",".join(picked(lines, part))
        names = picked(items.names, part)
        times = picked(items.times, part) if items.times else ()
        return PreparedRequest(
            body=encode_body(self.item_type.endpoint, encoded, ["isTest"] if is_test else [], self.compression),
            size=len(encoded) + ENVELOPE_BYTES,
            rows=rows,
            count=len(names),
            digests=b"".join(picked(digests, part)) if digests else b"",
            names=dict(Counter(names)),
            # Items of a type without environments are always billed.
            billed=len(names) if items.tiers is None else sum(map(picked(items.tiers, part).count, BILLED_TIERS)),
            span=(min(times), max(times)) if times else None,
        )


def pack(sizes: Sequence[int], *, max_rows: int, max_bytes: int, overhead: int = 0) -> Iterator[slice]:
    """Divide items of these bytes into bodies, in order, each as full as possible, and yield the slices.

    A body has at most `max_rows` items, and `max_bytes` bytes with the `overhead` around its items. A larger item gets
    a body of its own, which Statsig may refuse.
    """
    if 0 < len(sizes) <= max_rows and overhead + sum(sizes) + len(sizes) * SEPARATOR_BYTES <= max_bytes:
        yield slice(len(sizes))  # without looking at each, as usually all fit
        return
    start, filled = 0, overhead - SEPARATOR_BYTES  # none before the first item
    for row, size in enumerate(sizes):
        filled += SEPARATOR_BYTES + size
        if row > start and (row - start >= max_rows or filled > max_bytes):
            yield slice(start, row)
            start, filled = row, overhead + size
    if sizes:
        yield slice(start, len(sizes))


class _Parts(msgspec.Struct, gc=False):
    """The members of an encoded item that may be too large."""

    user: msgspec.Raw = msgspec.Raw(b"")
    metadata: msgspec.Raw = msgspec.Raw(b"")


_parts_of = msgspec.json.Decoder(_Parts).decode


def _count_large(bodies: Sequence[bytes]) -> tuple[int, int]:
    """Return how many encoded items have over `LARGEST` bytes of user, and of metadata."""
    parts = [_parts_of(body) for body in bodies if len(body) > LARGEST]
    users = sum(len(bytes(each.user)) > LARGEST for each in parts)
    return users, sum(len(bytes(each.metadata)) > LARGEST for each in parts)


def _encode(item: object) -> bytes:
    try:
        return ENCODER.encode(item)
    except NOT_JSON:
        raise RecordError(NOT_ENCODABLE) from None
