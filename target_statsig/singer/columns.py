"""Records of one stream, stored by column: where a field is found in them, and how its values are converted."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import chain, count, repeat
from operator import itemgetter
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from target_statsig.config.choices import DEFAULT_SOURCES, SEGMENT_SOURCES, EventPreset, IdType, ObjectType
from target_statsig.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator

    from target_statsig.config.settings import Sources, StreamSettings

Column = Sequence[Any]
"""The values of one column, one for each record."""

_EMPTY: dict[str, Any] = {}

Shapes = Mapping[tuple[str, ...], Sequence[int]]
"""Sets of member names, each with the rows of the objects that have exactly these members."""

SINGER_PREFIX = "_sdc_"
"""The prefix of the columns that taps and targets add. Their values change from run to run, even if the record does
not."""

DELETED_COLUMNS = ("_sdc_deleted_at", "_sdc_lsn_deleted_at")
"""Columns of log-based streams with the time at which a row was deleted; the second one is tap-mssql's. The record of a
deleted row may hold only its key, or the whole row."""

FLATTENED = "__"
"""singer-sdk's default separator in the names of flattened columns."""


class Place(NamedTuple):
    """A column, and the path of a member in the objects that it holds."""

    column: str
    path: tuple[str, ...] = ()


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
        self._members: dict[Place, Column | None] = {}
        self._objects: dict[Place, Sequence[dict[str, Any]]] = {}

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
        if not place.path:
            return self._columns.get(place.column)
        if place not in self._members:
            parent, name = Place(place.column, place.path[:-1]), repeat(place.path[-1])
            objects = self._objects.get(parent) or self.at(parent) or ()
            try:
                found = [*map(dict.get, objects, name)]
            except TypeError:  # some values are no objects
                objects = self._objects[parent] = objects_in(objects)
                found = [*map(dict.get, objects, name)]
            self._members[place] = found if any(found) or found.count(None) < len(found) else None
        return self._members[place]

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
            shapes = grouped(shape_of[row] for row in rows)
        return Columns(
            {name: [column[row] for row in rows] for name, column in self._columns.items()},
            extracted=[self.extracted[row] for row in rows],
            versions=[self.versions[row] for row in rows],
            shapes=shapes,
        )


def objects_in(column: Column) -> Sequence[dict[str, Any]]:
    """Return the objects of a column, and an empty object for every other value."""
    return [each if type(each) is dict else _EMPTY for each in column]


def picked(values: Column, rows: Sequence[int]) -> Column:
    """Return the values of some rows, without repetition."""
    if len(rows) == len(values):
        return values
    # Given one row, `itemgetter` would return the bare value.
    return itemgetter(*rows)(values) if len(rows) > 1 else [values[row] for row in rows]


def transposed(objects: Sequence[Mapping[str, Any]], shapes: Shapes | None = None) -> dict[str, Column]:
    """Return the members of objects as columns, in order of appearance, with null where an object lacks one."""
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
    return grouped(map(tuple, objects))


def grouped(keys: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], list[int]]:
    """Return the rows of each key."""
    rows: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    # A loop in Python would take twice as long.
    deque(map(list.append, map(rows.__getitem__, keys), count()), maxlen=0)
    return rows


def reads_messages(settings: StreamSettings) -> bool:
    """Return whether a stream's records are messages of Segment or RudderStack."""
    return settings.event_preset is EventPreset.SEGMENT and settings.object_type is ObjectType.EVENT


def sources_of(destination: str, field_mapping: Mapping[str, Sources], *, of_messages: bool = False) -> tuple[str, ...]:
    """Return the sources of a destination, the preferred one first.

    The default source of a custom ID type is the column of its name. `of_messages`: those of `event_preset: segment`.
    """
    if destination in field_mapping:
        return listed(field_mapping[destination])
    if of_messages and destination in SEGMENT_SOURCES:
        return SEGMENT_SOURCES[destination]
    return DEFAULT_SOURCES.get(destination, (destination,))


def listed(sources: Sources) -> tuple[str, ...]:
    """Return the sources that a setting names, the preferred one first."""
    return (sources,) if isinstance(sources, str) else sources


ID_DESTINATIONS: Mapping[str, str] = MappingProxyType({IdType.USER_ID: "user_id", IdType.STABLE_ID: "anonymous_id"})
"""The destination of an id, by ID type. That of a custom ID type has the type's name."""


def id_destination(settings: StreamSettings) -> str:
    """Return the destination that holds the id of a segment's member."""
    return ID_DESTINATIONS.get(settings.id_type) or settings.custom_id_type or ""


def places(sources: Iterable[str], present: Container[str]) -> Iterator[Place]:
    """Yield the places where sources may be found, the preferred one first.

    The source `a.b` may be the column `a.b`, the column `a__b` (as flattening names it), or the member `b` of the
    objects in column `a`. Only columns in `present` are considered.
    """
    for source in sources:
        parts = source.split(".")
        for length in range(len(parts), 0, -1):
            for column in dict.fromkeys((".".join(parts[:length]), FLATTENED.join(parts[:length]))):
                if column in present:
                    yield Place(column, tuple(parts[length:]))


@lru_cache(8_192)  # a stream has some twenty fields, and seldom ten sets of columns
def _places_in(sources: tuple[str, ...], names: tuple[str, ...]) -> Sequence[Place]:
    return [*places(sources, names)]


def find(columns: Columns, sources: tuple[str, ...]) -> Column | None:
    """Return for each record the first value that is not null, in the order of the sources; None if all are null."""
    found: Column | None = None
    for place in _places_in(sources, columns.names):
        if found is not None and is_full(found):
            break
        column = columns.at(place)
        if column is not None:
            found = column if found is None else overlay(column, found)
    return found


def first_of(columns: Columns, sources: tuple[str, ...]) -> Column:
    """Return the same as `find`, but nulls if all are null."""
    return find(columns, sources) or (None,) * len(columns)


def is_full(column: Column) -> bool:
    """Return whether no value is null."""
    return all(column) or NoneType not in map(type, column)  # both are faster than comparing values with null


def overlay(below: Column, above: Column) -> Column:
    """Return `above`, with the values of `below` where it is null."""
    return [lower if upper is None else upper for lower, upper in zip(below, above, strict=True)]


def deleted_rows(columns: Columns) -> list[int]:
    """Return the numbers of the records whose row was deleted. In a CSV file, a blank means null."""
    marks = [columns.get(name) for name in DELETED_COLUMNS if name in columns.names]
    marks = [mark for mark in marks if mark.count(None) < len(mark)]
    return [row for row, each in enumerate(zip(*marks, strict=True)) if any(value not in (None, "") for value in each)]


Faults = dict[int, RecordError]
"""The reasons why records cannot be mapped, by row. If a record has several, the first counts."""


def convert(function: Callable[[Any], Any], column: Column, faults: Faults) -> Column:
    """Return the function's result for each value; null, and an entry in `faults`, where it raises RecordError."""
    try:
        return [*map(function, column)]
    except RecordError:
        return [convert_one(function, value, row, faults) for row, value in enumerate(column)]


def convert_one(function: Callable[[Any], Any], value: object, row: int, faults: Faults) -> Any:
    """Return the function's result for the value of one row, as `convert` does."""
    try:
        return function(value)
    except RecordError as error:
        faults.setdefault(row, error)
        return None


LARGEST_POWER, SMALLEST_POWER = 308, -324
"""Powers of ten of the largest and the smallest double (IEEE 754), which limit many readers of JSON. They keep
`1E+400000` from becoming 400,000 digits."""


def exact(number: Decimal | float) -> Decimal:
    """Return a number as a Decimal with the digits that it was written with.

    Raises:
        ValueError: It is not finite, or too large or too small for a double.
    """
    # repr gives the shortest digits of a float, such as 89.99, and not the 50 digits of its binary value.
    decimal = number if isinstance(number, Decimal) else Decimal(repr(number))
    if decimal.is_finite() and SMALLEST_POWER <= decimal.adjusted() <= LARGEST_POWER:
        return decimal
    if decimal.is_zero():
        return Decimal(0)
    msg = "the number is not finite, or too large or too small"
    raise ValueError(msg)


def are_plain(digits: Collection[str]) -> bool:
    """Return whether all numbers, given as Python prints them, are in the range of a double and have no exponent."""
    joined = "".join(digits)
    # Exponents, infinities and NaN have letters. Comparing cases takes a tenth of the time of a search for them.
    return joined.lower() == joined.upper() and max(map(len, digits), default=0) <= LARGEST_POWER


def plain_text(number: float | Decimal) -> str:
    """Return a number in plain decimal, without an exponent; a fraction of zeros is cut. Raises as `exact`."""
    if isinstance(number, int):
        return str(int(number))
    text = format(exact(number), "f")
    whole, _, fraction = text.partition(".")
    if fraction.strip("0"):
        return text
    return "0" if whole == "-0" else whole


BOOLEANS: Mapping[object, bool] = MappingProxyType(
    {
        **dict.fromkeys((True, "true", "t", "yes", "y", "on", "1", "granted"), True),
        **dict.fromkeys((False, "false", "f", "no", "n", "off", "0", "denied"), False),
    }
)
"""Values that stand for a boolean. The numbers 1 and 0 equal the keys True and False."""


def parse_bool(value: object) -> bool | None:
    """Return the boolean that a value stands for, or None."""
    if isinstance(value, str):
        return BOOLEANS.get(value.strip().lower())
    return BOOLEANS.get(value) if isinstance(value, int | float | Decimal) else None
