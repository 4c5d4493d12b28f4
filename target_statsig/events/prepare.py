"""A batch of lines as requests: decoded, validated, mapped, encoded and compressed, with what cannot be sent and why.

Pure, and it pickles: a worker process does it as well as this one. It needs no key, no store and nothing of the run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import msgspec

from target_statsig._compat import override
from target_statsig.client.events import encode_body
from target_statsig.config.choices import DeletedRows, Tier
from target_statsig.errors import RecordError
from target_statsig.events.mapper import Items, MappingWarnings
from target_statsig.events.positions import below, highest
from target_statsig.events.values import NOT_ENCODABLE
from target_statsig.singer.columns import digests_of, picked
from target_statsig.singer.fields import Faults, deleted_rows
from target_statsig.store.ledger import Bookmark  # noqa: TC001 -- msgspec decodes one

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from target_statsig.config.choices import Compression
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.item_types import ItemType
    from target_statsig.events.mapper import Mapper
    from target_statsig.singer.columns import Column
    from target_statsig.singer.records import Batch, Read, RecordReader

SEPARATOR_BYTES = 1
"""The comma between two items."""

ENVELOPE_BYTES = 200
"""Room for what stands around the items of a request: `{"events":[…],"statsigMetadata":{…}}`."""

FILLED = 0.95
"""How much of a request is filled with items of the usual size: some are larger."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")

BILLED_TIERS = frozenset({None, Tier.PRODUCTION})
"""Only production is billed, and an item that names no tier belongs to it: https://docs.statsig.com/pricing."""

_NOT_JSON = (TypeError, ValueError, RecursionError, ArithmeticError)


class Limits(msgspec.Struct, frozen=True):
    """How large a request may be.

    Attributes:
        rows: Items at most; 0: no request is asked for, only digests.
        bytes: Uncompressed bytes of its body at most.
        largest: Uncompressed bytes of a body that holds a single item; between `bytes` and this, Statsig is asked.
    """

    rows: int
    bytes: int
    largest: int

    def rows_of(self, item_bytes: float) -> int:
        """Return how many items to gather for a request: as many as it may hold.

        Args:
            item_bytes: The bytes of an item, going by the last ones; 0 where nothing is known.
        """
        return max(min(self.rows, int(FILLED * self.bytes / item_bytes)), 1) if item_bytes else self.rows


DIGESTS_ONLY = Limits(0, 0, 0)


class PreparedRequest(msgspec.Struct, frozen=True):
    """Items that are ready to be sent.

    Attributes:
        body: The body of the request.
        size: Its uncompressed bytes.
        rows: The lines that they were made of; None for all lines of the batch.
        count: How many they are.
        digests: The digests of their records, end to end; empty where nothing is to be remembered.
        names: How many there are of each name.
        billed: How many of them Statsig bills.
        span: The earliest and the latest time of an event, unix milliseconds; None where that is not known.
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
    """What a batch became.

    Attributes:
        requests: What is to be sent.
        rejected: The lines of records that cannot be sent, each with its reason and the field at fault.
        digests: The digests of all records that keep to their schema, end to end; empty where nothing is remembered.
        rows: Their lines; None for all lines of the batch.
        highest: How far the tap has come with them.
        deleted: Records of deleted rows, which are not sent.
        unreadable: What is wrong with the first line that is no RECORD message; nothing from there on was prepared.
        readable: How many lines there are before it.
        warnings: What is worth a warning.
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
        """The bytes of an item, on average; 0 where there is none."""
        items = sum(request.count for request in self.requests)
        return sum(request.size for request in self.requests) / items if items else 0.0


class Prepares(Protocol):
    """What prepares batches: here and now (`Preparation`), or a batch that was prepared before (`engine.send`)."""

    def __call__(self, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Prepare a batch.

        Args:
            batch: The batch.
            limits: How large a request may be.
            now_ms: The time of items that have none, unix milliseconds.
        """


@dataclass(frozen=True)
class Preparation(Prepares):
    """Prepares the batches of one stream, between two SCHEMA messages of it.

    Attributes:
        reader: Reads its records.
        settings: Its settings.
        item_type: What its records become.
        remembers: Whether digests are asked for.
        compression: How bodies are encoded.
        replication_key: The column by which the tap says how far it has come, where its SCHEMA names one.
        passed: How far it had come with earlier runs, where they let the ledger forget what is before.
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
        """Leave the compiled mapping behind: it is made anew from the settings."""
        return {name: value for name, value in self.__dict__.items() if name != "_mapper"}

    @cached_property
    def _mapper(self) -> Mapper:
        return self.item_type.mapper(self.settings)

    @override
    def __call__(self, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        return self.prepare(self.reader.read(batch), limits, now_ms)

    def prepare(self, read: Read, limits: Limits, now_ms: int) -> Prepared:
        """Prepare records that were read, wherever they come from.

        Records that came as columns and not as lines are `Read(range(count), columns, columns)`. `columns` is
        `Columns({name: values}, extracted=times, versions=[None] * count)`: every column as long as there are records,
        null for null, and values as JSON has them (texts, integers, `Decimal` for numbers with a fraction, booleans,
        objects and lists); `extracted` are ISO 8601 texts or null.

        Args:
            read: The records, and what is wrong with those that are not sound.
            limits: How large a request may be.
            now_ms: The time of items that have none, unix milliseconds.
        """
        of_all = not read.faults and read.unreadable is None
        gone = deleted_rows(read.source) if self.settings.deleted_rows is DeletedRows.SKIP else []
        if gone:
            left = [row for row in range(len(read.rows)) if row not in {*gone}]
            rows = [read.rows[row] for row in left]
            read = replace(read, columns=read.columns.take(left), source=read.source.take(left), rows=rows)
            of_all = False
        digests = digests_of(read.source) if self.remembers else []
        key, top = self.replication_key, None
        if self.remembers and key is not None and read.rows:
            top = highest(read.source.get(key))
        prepared = Prepared(
            requests=[],
            rejected=[],
            digests=b"".join(digests),
            rows=None if of_all else [*read.rows],
            highest=top,
            deleted=len(gone),
            unreadable=read.unreadable,
            readable=len(read.rows) + len(read.faults) + len(gone),
            warnings=MappingWarnings(),
        )
        if not limits.rows:
            return prepared
        warnings, faults = MappingWarnings(), Faults()
        items = self._mapper(read.columns, now_ms, warnings, faults)
        lines = self._lines(items.items, limits, faults)
        sound: Sequence[int] = range(len(read.rows))
        if faults:
            sound = [row for row in sound if row not in faults]
            # Warnings are of records that are sent: the others are counted as rejected.
            warnings = MappingWarnings()
            self._mapper(read.columns.take(sound), now_ms, warnings, {})
        warnings.add_sizes(picked(lines, sound))
        if self.passed is not None and key is not None:
            warnings.behind_bookmark = below(picked(read.source.get(key), sound), self.passed)
        rejected = {**read.faults, **{read.rows[row]: error for row, error in faults.items()}}
        return msgspec.structs.replace(
            prepared,
            requests=[
                self._request(
                    None if of_all and len(part) == len(read.rows) else [read.rows[row] for row in part],
                    picked(lines, part),
                    picked(digests, part) if digests else [],
                    _part_of(items, part),
                )
                for part in _parts(sound, lines, limits)
            ],
            rejected=[(row, rejected[row].reason, rejected[row].field) for row in sorted(rejected)],
            warnings=warnings,
        )

    def _lines(self, items: Column, limits: Limits, faults: Faults) -> Sequence[bytes]:
        """Return each item as JSON; one that has none, or is too large for a request by itself, is a fault."""
        try:
            # In JSON a line break within a text is escaped.
            lines: Sequence[bytes] = _ENCODER.encode_lines(items).split(b"\n")[:-1]
        except _NOT_JSON:
            lines = [b"" if row in faults else _encode_one(item, row, faults) for row, item in enumerate(items)]
        largest = limits.largest - ENVELOPE_BYTES
        if max(map(len, lines), default=0) > largest:
            for row, line in enumerate(lines):
                if len(line) > largest:
                    faults.setdefault(row, RecordError(f"{self.item_type.object_type}_too_large"))
        return lines

    def _request(
        self, rows: list[int] | None, lines: Sequence[bytes], digests: Sequence[bytes], items: Items
    ) -> PreparedRequest:
        flags = [member for member, setting in self.item_type.flags if getattr(self.settings, setting)]
        encoded = b",".join(lines)
        return PreparedRequest(
            body=encode_body(self.item_type.endpoint, encoded, flags, self.compression),
            size=len(encoded) + ENVELOPE_BYTES,
            rows=rows,
            count=len(items.names),
            digests=b"".join(digests),
            names=dict(Counter(items.names)),
            # What belongs to no environment is billed in any case.
            billed=len(items.names) if items.tiers is None else sum(map(items.tiers.count, BILLED_TIERS)),
            span=(min(items.times), max(items.times)) if items.times else None,
        )


def pack(sizes: Iterable[int], *, max_rows: int, max_bytes: int, overhead: int = 0) -> Iterator[slice]:
    """Yield the batches of items, in order, each as full as it may be.

    Args:
        sizes: The bytes of each encoded item.
        max_rows: Items a batch at most.
        max_bytes: Bytes of a body at most; an item that is larger gets a batch of its own, which Statsig may refuse.
        overhead: Bytes of a body around its items.
    """
    start = end = 0
    filled = overhead
    for size in sizes:
        if end > start and (end - start >= max_rows or filled + SEPARATOR_BYTES + size > max_bytes):
            yield slice(start, end)
            start, filled = end, overhead
        filled += size if end == start else SEPARATOR_BYTES + size
        end += 1
    if end > start:
        yield slice(start, end)


def _part_of(items: Items, rows: Sequence[int]) -> Items:
    tiers = None if items.tiers is None else picked(items.tiers, rows)
    times = picked(items.times, rows) if items.times else ()
    return Items(picked(items.items, rows), picked(items.names, rows), tiers, times)


def _parts(sound: Sequence[int], lines: Sequence[bytes], limits: Limits) -> Iterator[Sequence[int]]:
    """Yield which records share a request."""
    sizes = [*map(len, picked(lines, sound))]
    if 0 < len(sizes) <= limits.rows and ENVELOPE_BYTES + sum(sizes) + len(sizes) <= limits.bytes:
        yield sound
        return
    for part in pack(sizes, max_rows=limits.rows, max_bytes=limits.bytes, overhead=ENVELOPE_BYTES):
        yield sound[part]


def _encode_one(item: object, row: int, faults: Faults) -> bytes:
    try:
        return _ENCODER.encode(item)
    except _NOT_JSON:
        faults[row] = RecordError(NOT_ENCODABLE)
        return b""
