"""Records of one stream, held column by column, and the digest of each: what identifies it to the delivery ledger."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_statsig.singer.fields import Place

Column = Sequence[Any]
"""What the records have in one column, in their order."""


class Columns:
    """Some records of one stream, column by column; where a record lacks a column, it has null there.

    Attributes:
        names: The names of all columns, in the order in which they come.
        extracted: The RECORD messages' own times of extraction.
        versions: Their versions of the table.
        records: The records as objects; None where all of them have all of the columns.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        *,
        extracted: Column,
        versions: Column,
        records: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Take the columns of records that have all of them, null or not."""
        self.extracted = extracted
        self.versions = versions
        self.records = records
        self._columns = columns
        self._objects: dict[tuple[str, ...], Sequence[Mapping[str, Any]]] = {}
        self.names = tuple(columns)

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], *, extracted: Column, versions: Column) -> Columns:
        """Return the columns of objects, of which any may lack some."""
        return cls(turned(records), extracted=extracted, versions=versions, records=records)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.extracted)

    def get(self, name: str) -> Column:
        """Return a column by its name; all null where there is none."""
        column = self._columns.get(name)
        return (None,) * len(self) if column is None else column

    def at(self, place: Place) -> Column:
        """Return what the records have in a place."""
        return self._member((place.column, *place.path))

    def _member(self, path: tuple[str, ...]) -> Column:
        if len(path) == 1:
            return self.get(path[0])
        return [each.get(path[-1]) for each in self._objects_at(path[:-1])]

    def _objects_at(self, path: tuple[str, ...]) -> Sequence[Mapping[str, Any]]:
        """Return the objects in a place, an empty one where there is none; several members are read from them."""
        if path not in self._objects:
            self._objects[path] = [value if type(value) is dict else {} for value in self._member(path)]
        return self._objects[path]

    def has(self, name: str) -> Sequence[bool]:
        """Return which of the records have a column, null or not."""
        if self.records is None:
            return (name in self._columns,) * len(self)
        return [name in record for record in self.records]

    def take(self, rows: Sequence[int]) -> Columns:
        """Return some of the records, by their place among these."""
        extracted, versions = [self.extracted[row] for row in rows], [self.versions[row] for row in rows]
        if self.records is not None:
            return Columns.of([self.records[row] for row in rows], extracted=extracted, versions=versions)
        columns = {name: [column[row] for row in rows] for name, column in self._columns.items()}
        return Columns(columns, extracted=extracted, versions=versions)


def turned(objects: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Return the members of objects as columns, in the order in which they come; null where an object lacks one."""
    shapes = rows_by_shape(objects)
    if len(shapes) == 1:
        return dict(zip(next(iter(shapes)), zip(*[each.values() for each in objects], strict=True), strict=True))
    columns: dict[str, list[Any]] = {name: [None] * len(objects) for name in chain.from_iterable(shapes)}
    for shape, rows in shapes.items():
        for name, values in zip(shape, zip(*[objects[row].values() for row in rows], strict=True), strict=False):
            column = columns[name]
            for row, value in zip(rows, values, strict=True):
                column[row] = value
    return {**columns}


def rows_by_shape(objects: Sequence[Mapping[str, Any]]) -> Mapping[tuple[str, ...], Sequence[int]]:
    """Return which objects have the same members, in the same order."""
    shapes: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, shape in enumerate(map(tuple, objects)):
        shapes[shape].append(row)
    return shapes


# Key properties do not identify an event, and two identical rows are two rows; so the ledger counts digests of whole
# records, as the tap sent them. They tell records apart; they keep no secret, so a fast hash of 128 bits is enough.

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode

TRANSPORT_PREFIX = "_sdc_"
"""Columns that tell how a record was extracted; they differ from run to run where the record does not."""

_SHAPES_KEPT = 512
"""Rows of columns for which it is known which of them count; a stream seldom has ten."""


def digests_of(columns: Columns) -> list[bytes]:
    """Return the digest of each record, the same in every run that extracts it unchanged."""
    if columns.records is None:
        shape = _shape(columns.names)
        kept = [columns.get(name) for name in shape.names]
        # The value stands alone, as `of_record` takes it, where only one counts.
        values: Iterable[object] = (
            zip(*kept, strict=True) if len(kept) > 1 else kept[0] if kept else [None] * len(columns)
        )
        return _digests(values, shape.seed)
    digests = [b""] * len(columns)
    for names, rows in rows_by_shape(columns.records).items():
        shape = _shape(names)
        found = _digests([shape.of_record(columns.records[row]) for row in rows], shape.seed)
        for row, each in zip(rows, found, strict=True):
            digests[row] = each
    return digests


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    shape = _shape(tuple(record))
    return _digests([shape.of_record(record)], shape.seed)[0]


def _digests(records: Iterable[object], seed: int) -> list[bytes]:
    """Return the digests of what counts of some records."""
    values = [*records]
    try:
        texts = [*map(_encode, values)]
    except (UnicodeEncodeError, msgspec.EncodeError):
        texts = [*map(_carefully_encoded, values)]
    return [*map(xxh3_128_digest, texts, repeat(seed))]


def _carefully_encoded(values: object) -> bytes:
    try:
        return _encode(values)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair: such a record is rejected, but first it is looked up like any other.
        return json.dumps(values, default=str, sort_keys=True).encode()


class _Shape(NamedTuple):
    """What counts of records that have the same columns.

    Attributes:
        names: The columns that count, sorted.
        of_record: Takes the values that count out of a record, in the order of their columns' names: to write the names
            as well would take twice as long.
        seed: A number for the names.
    """

    names: Sequence[str]
    of_record: Callable[[Mapping[str, Any]], object]
    seed: int


@lru_cache(_SHAPES_KEPT)
def _shape(columns: tuple[str, ...]) -> _Shape:
    names = sorted(name for name in columns if not name.startswith(TRANSPORT_PREFIX))
    seed = xxh3_64_intdigest(json.dumps(names).encode())
    if not names:
        return _Shape(names, _nothing, seed)
    return _Shape(names, itemgetter(*names), seed)


def _nothing(_: object) -> None:
    """Take nothing out of a record that has no columns that count."""
