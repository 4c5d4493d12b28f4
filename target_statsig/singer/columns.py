"""Records of one stream, stored by column, and their digests for the delivery ledger."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from target_statsig.singer.message import encode_each

if TYPE_CHECKING:
    from target_statsig.singer.fields import Place

Column = Sequence[Any]
"""The values of one column, one for each record."""

_EMPTY: dict[str, Any] = {}

Shapes = Mapping[tuple[str, ...], Sequence[int]]
"""Sets of member names, each with the rows of the objects that have exactly these members."""


class Columns:
    """Records of one stream, by column. A record that lacks a column has null in it.

    Attributes:
        names: The names of all columns.
        extracted: The `time_extracted` of each RECORD message.
        versions: The `version` of each.
        shapes: Which records have the same columns; None if every record has every column.
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
        self._objects: dict[tuple[str, ...], Sequence[dict[str, Any]]] = {}

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], *, extracted: Column, versions: Column) -> Columns:
        """Return records, which may have different columns, by column."""
        shapes = rows_by_shape(records)
        columns = transposed(records, shapes)
        return cls(columns, extracted=extracted, versions=versions, shapes=shapes if len(shapes) > 1 else None)

    def __len__(self) -> int:
        return len(self.extracted)

    def get(self, name: str) -> Column:
        """Return a column by its name; if there is none, nulls."""
        column = self._columns.get(name)
        return (None,) * len(self) if column is None else column

    def at(self, place: Place) -> Column | None:
        """Return the values in a place; None if all are null."""
        return self._at((place.column, *place.path))

    def _at(self, path: tuple[str, ...]) -> Column | None:
        if len(path) == 1:
            return self._columns.get(path[0])
        if path not in self._members:
            found = [*map(dict.get, self._objects_at(path[:-1]), repeat(path[-1]))]
            self._members[path] = found if any(found) or found.count(None) < len(found) else None
        return self._members[path]

    def _objects_at(self, path: tuple[str, ...]) -> Sequence[dict[str, Any]]:
        """Return the objects in a place, with an empty object for every other value."""
        if path not in self._objects:
            self._objects[path] = objects_in(self._at(path) or ())
        return self._objects[path]

    def has(self, name: str) -> Sequence[bool]:
        """Return for each record whether it has a column, null or not."""
        if self.shapes is None:
            return (name in self._columns,) * len(self)
        have = {row for shape, rows in self.shapes.items() if name in shape for row in rows}
        return [row in have for row in range(len(self))]

    def replaced(self, changed: Mapping[str, Column]) -> Columns:
        """Return the same records with some columns replaced or added."""
        columns = {**self._columns, **changed}
        return Columns(columns, extracted=self.extracted, versions=self.versions, shapes=self.shapes)

    def take(self, rows: Sequence[int]) -> Columns:
        """Return the records of these rows, numbered from 0."""
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


def objects_in(column: Column) -> Sequence[dict[str, Any]]:
    """Return the objects of a column, and an empty object for every other value."""
    if {*map(type, column)} == {dict}:
        return column
    return [each if type(each) is dict else _EMPTY for each in column]


def picked(values: Column, rows: Sequence[int]) -> Column:
    """Return the values of some rows, without repetition."""
    if len(rows) == len(values):
        return values
    # Given one row, `itemgetter` would return the bare value.
    return itemgetter(*rows)(values) if len(rows) > 1 else [values[row] for row in rows]


def transposed(objects: Sequence[Mapping[str, Any]], shapes: Shapes | None = None) -> dict[str, Column]:
    """Return the members of objects as columns, in order of appearance, with null where an object lacks one.

    `shapes` is the result of `rows_by_shape(objects)`, if known.
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
    """Return the rows of the objects that have the same members in the same order."""
    return _grouped([*map(tuple, objects)])


def _grouped(shapes: Sequence[tuple[str, ...]]) -> Shapes:
    rows: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, shape in enumerate(shapes):
        rows[shape].append(row)
    return rows


# Key properties do not identify an event, and two identical rows are two events. So the ledger counts digests of whole
# records, as the tap sent them. They protect no secret, so a fast hash of 128 bits is enough.

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")

SINGER_PREFIX = "_sdc_"
"""The prefix of the columns that taps and targets add. Their values change from run to run, even if the record does
not."""

_SHAPES_KEPT = 512
"""Sets of columns to remember; a stream seldom has ten."""


def digests_of(columns: Columns) -> list[bytes]:
    """Return the digest of each record: 16 bytes, the same in every run that extracts the record unchanged."""
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
    """Return the digests of records that have the same columns.

    Only values are encoded, in the order of the columns' names. Encoding the names as well would take twice as long, so
    they determine the seed of the hash instead. The value of a single column is encoded without a list around it.
    """
    names, seed = _names_and_seed(names)
    columns = [picked(of.get(name), rows) for name in names]
    values: Sequence[object] = [None] * len(rows)
    if columns:
        values = [*zip(*columns, strict=True)] if len(columns) > 1 else columns[0]
    try:
        texts = encode_each(values, _ENCODER)
    except (UnicodeEncodeError, msgspec.EncodeError):
        texts = [*map(_encoded, values)]
    return [*map(xxh3_128_digest, texts, repeat(seed))]


@lru_cache(_SHAPES_KEPT)
def _names_and_seed(columns: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """Return the columns that belong to the digest, sorted by name, and the seed made from their names."""
    names = sorted(name for name in columns if not name.startswith(SINGER_PREFIX))
    return tuple(names), xxh3_64_intdigest(json.dumps(names).encode())


def _encoded(values: object) -> bytes:
    try:
        return _ENCODER.encode(values)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair. Such a record is rejected, but only after it was looked up in the ledger.
        return json.dumps(values, default=str, sort_keys=True).encode()
