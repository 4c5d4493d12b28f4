"""Records of one stream, held column by column, and the digest of each: what identifies it to the delivery ledger."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

if TYPE_CHECKING:
    from target_statsig.singer.fields import Place

Column = Sequence[Any]
"""What the records have in one column, in their order."""

_EMPTY: Mapping[str, Any] = {}

Shapes = Mapping[tuple[str, ...], Sequence[int]]
"""Members of objects, and the places of the objects that have just these."""


class Columns:
    """Some records of one stream, column by column; where a record lacks a column, it has null there.

    Attributes:
        names: The names of all columns.
        extracted: The RECORD messages' own times of extraction.
        versions: Their versions of the table.
        shapes: Which records have the same columns; None where all of them have all of the columns, null or not.
    """

    def __init__(
        self, columns: Mapping[str, Column], *, extracted: Column, versions: Column, shapes: Shapes | None = None
    ) -> None:
        self.names = tuple(columns)
        self.extracted = extracted
        self.versions = versions
        self.shapes = shapes
        self._columns = columns
        self._members: dict[tuple[str, ...], Column | None] = {}
        self._objects: dict[tuple[str, ...], Sequence[Mapping[str, Any]]] = {}

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], *, extracted: Column, versions: Column) -> Columns:
        """Return the columns of objects, of which any may lack some."""
        shapes = rows_by_shape(records)
        columns = turned(records, shapes)
        return cls(columns, extracted=extracted, versions=versions, shapes=shapes if len(shapes) > 1 else None)

    def __len__(self) -> int:
        return len(self.extracted)

    def get(self, name: str) -> Column:
        """Return a column by its name; all null where there is none."""
        column = self._columns.get(name)
        return (None,) * len(self) if column is None else column

    def at(self, place: Place) -> Column | None:
        """Return what the records have in a place; None where none of them has anything there."""
        return self._at((place.column, *place.path))

    def _at(self, path: tuple[str, ...]) -> Column | None:
        if len(path) == 1:
            return self._columns.get(path[0])
        if path not in self._members:
            found = [each.get(path[-1]) for each in self._objects_at(path[:-1])]
            self._members[path] = None if {*map(type, found)} <= {NoneType} else found
        return self._members[path]

    def _objects_at(self, path: tuple[str, ...]) -> Sequence[Mapping[str, Any]]:
        """Return the objects in a place, an empty one where there is none."""
        if path not in self._objects:
            self._objects[path] = objects_in(self._at(path) or ())
        return self._objects[path]

    def has(self, name: str) -> Sequence[bool]:
        """Return which of the records have a column, null or not."""
        if self.shapes is None:
            return (name in self._columns,) * len(self)
        have = {row for shape, rows in self.shapes.items() if name in shape for row in rows}
        return [row in have for row in range(len(self))]

    def replaced(self, changed: Mapping[str, Column]) -> Columns:
        """Return the same records with other values in some of their columns."""
        columns = {**self._columns, **changed}
        return Columns(columns, extracted=self.extracted, versions=self.versions, shapes=self.shapes)

    def take(self, rows: Sequence[int]) -> Columns:
        """Return some of the records, by their place among these."""
        shapes = None
        if self.shapes is not None:
            shape_of = {row: shape for shape, members in self.shapes.items() for row in members}
            shapes = _grouped([shape_of[row] for row in rows])
        return Columns(
            {name: [column[row] for row in rows] for name, column in self._columns.items()},
            extracted=[self.extracted[row] for row in rows],
            versions=[self.versions[row] for row in rows],
            shapes=shapes,
        )


def objects_in(column: Column) -> Sequence[Mapping[str, Any]]:
    """Return the objects of a column, an empty one in the place of what is none."""
    if {*map(type, column)} == {dict}:
        return column
    return [each if type(each) is dict else _EMPTY for each in column]


def picked(values: Column, rows: Sequence[int]) -> Column:
    """Return the values of some rows, each at most once; nearly always these are all."""
    if len(rows) == len(values):
        return values
    # Of a single place `itemgetter` takes the value and no column.
    return itemgetter(*rows)(values) if len(rows) > 1 else [values[row] for row in rows]


def turned(objects: Sequence[Mapping[str, Any]], shapes: Shapes | None = None) -> dict[str, Column]:
    """Return the members of objects as columns, in the order in which they come; null where an object lacks one.

    Args:
        objects: The objects.
        shapes: Their `rows_by_shape`, where it is known.
    """
    shapes = rows_by_shape(objects) if shapes is None else shapes
    if len(shapes) == 1:
        return dict(zip(next(iter(shapes)), zip(*[each.values() for each in objects], strict=True), strict=True))
    columns: dict[str, list[Any]] = {name: [None] * len(objects) for name in chain.from_iterable(shapes)}
    for shape, rows in shapes.items():
        for name, values in zip(shape, zip(*[objects[row].values() for row in rows], strict=True), strict=False):
            column = columns[name]
            for row, value in zip(rows, values, strict=True):
                column[row] = value
    return {**columns}


def rows_by_shape(objects: Sequence[Mapping[str, Any]]) -> Shapes:
    """Return which objects have the same members, in the same order."""
    return _grouped([*map(tuple, objects)])


def _grouped(shapes: Sequence[tuple[str, ...]]) -> Shapes:
    rows: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, shape in enumerate(shapes):
        rows[shape].append(row)
    return rows


# Key properties do not identify an event, and two identical rows are two rows; so the ledger counts digests of whole
# records, as the tap sent them. They only set records apart and keep no secret, so a fast hash of 128 bits is enough.

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")

TRANSPORT_PREFIX = "_sdc_"
"""Columns about how a record was extracted; they differ from run to run where the record does not."""

_SHAPES_KEPT = 512
"""Rows of columns for which it is known which of them count; a stream seldom has ten."""


def digests_of(columns: Columns) -> list[bytes]:
    """Return the digest of each record, the same in every run that extracts it unchanged."""
    if columns.shapes is None:
        return _digests(columns, columns.names, range(len(columns)))
    digests = [b""] * len(columns)
    for names, rows in columns.shapes.items():
        for row, each in zip(rows, _digests(columns, names, rows), strict=True):
            digests[row] = each
    return digests


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    return digests_of(Columns.of([record], extracted=[None], versions=[None]))[0]


def _digests(of: Columns, names: tuple[str, ...], rows: Sequence[int]) -> list[bytes]:
    """Return the digests of records that all have the same columns.

    Only their values are encoded, in the order of the columns' names; to write the names as well would take twice as
    long, so a number stands for them. Where one column counts, its value stands alone.
    """
    names, seed = _counting(names)
    columns = [picked(of.get(name), rows) for name in names]
    values: Sequence[object] = [None] * len(rows)
    if columns:
        values = [*zip(*columns, strict=True)] if len(columns) > 1 else columns[0]
    try:
        # In JSON a line break within a text is escaped.
        texts = _ENCODER.encode_lines(values).split(b"\n")[:-1]
    except (UnicodeEncodeError, msgspec.EncodeError):
        texts = [*map(_carefully_encoded, values)]
    return [*map(xxh3_128_digest, texts, repeat(seed))]


@lru_cache(_SHAPES_KEPT)
def _counting(columns: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """Return the names of those columns that count, sorted, and a number for them."""
    names = sorted(name for name in columns if not name.startswith(TRANSPORT_PREFIX))
    return tuple(names), xxh3_64_intdigest(json.dumps(names).encode())


def _carefully_encoded(values: object) -> bytes:
    try:
        return _ENCODER.encode(values)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair: such a record is rejected, but first it is looked up like any other.
        return json.dumps(values, default=str, sort_keys=True).encode()
