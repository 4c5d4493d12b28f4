"""Which columns feed a field, where they are found in a record, and how their values are converted.

Numbers stay exact; what cannot be converted is a fault of its record.
"""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from target_statsig.config.choices import EventPreset, IdType, ObjectType
from target_statsig.config.sources import DEFAULT_SOURCES, SEGMENT_SOURCES
from target_statsig.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence

    from target_statsig.config.settings import Sources, StreamSettings
    from target_statsig.singer.columns import Column, Columns

DELETED_COLUMNS = ("_sdc_deleted_at", "_sdc_lsn_deleted_at")
"""Hold when a row was deleted, in a log-based stream: the second is tap-mssql's. Such a record may have its key and
nothing else, or the whole row as it was."""

FLATTENED = "__"
"""What flattening puts where a path has a dot: singer-sdk's default separator."""


def reads_messages(settings: StreamSettings) -> bool:
    """Return whether a stream's rows are those of Segment or RudderStack."""
    return settings.event_preset is EventPreset.SEGMENT and settings.object_type is ObjectType.EVENT


def sources_of(destination: str, field_mapping: Mapping[str, Sources], *, of_messages: bool = False) -> tuple[str, ...]:
    """Return the sources of a destination, the preferred one first.

    A destination is a name from `DEFAULT_SOURCES` or a custom ID type, whose default source is the column of its name.
    What `field_mapping` has for it replaces all the defaults.
    With `of_messages` the defaults are those of `event_preset: segment`.
    """
    if destination in field_mapping:
        return listed(field_mapping[destination])
    if of_messages and destination in SEGMENT_SOURCES:
        return SEGMENT_SOURCES[destination]
    return DEFAULT_SOURCES.get(destination, (destination,))


def listed(sources: Sources) -> tuple[str, ...]:
    """Return what a setting names as a source: one, or several in the order of preference."""
    return (sources,) if isinstance(sources, str) else sources


def id_destination(settings: StreamSettings) -> str:
    """Return the destination that a segment's members are read from."""
    if settings.id_type is IdType.STABLE_ID:
        return "anonymous_id"
    return (settings.custom_id_type or "") if settings.id_type is IdType.CUSTOM_ID else "user_id"


class Place(NamedTuple):
    """A column, and a path into the object that it holds."""

    column: str
    path: tuple[str, ...] = ()


def places(sources: Iterable[str], present: Container[str] | None = None) -> Iterator[Place]:
    """Yield where the sources may be found, the preferred place first.

    `a.b` is the column of that very name, or `a__b` as flattening leaves it, or the member `b` of the object in column
    `a`. `present` are the columns that there are; None for any.
    """
    for source in sources:
        parts = source.split(".")
        for length in range(len(parts), 0, -1):
            for column in dict.fromkeys((".".join(parts[:length]), FLATTENED.join(parts[:length]))):
                if present is None or column in present:
                    yield Place(column, tuple(parts[length:]))


def first_of(columns: Columns, candidates: Sequence[Place]) -> Column:
    """Return, for each record, the first value that is present and not null; the preferred place comes first."""
    found: Column | None = None
    for place in candidates:
        if found is not None and NoneType not in map(type, found):  # to compare numbers with null takes longer
            break
        column = columns.at(place)
        if column is not None:
            found = column if found is None else overlay(column, found)
    return (None,) * len(columns) if found is None else found


def overlay(below: Column, above: Column) -> Column:
    """Return `above`, with the values of `below` where it is null."""
    return [lower if upper is None else upper for lower, upper in zip(below, above, strict=True)]


def deleted_rows(columns: Columns) -> list[int]:
    """Return the records whose row was deleted. A blank is how a CSV file writes null."""
    marks = [columns.get(name) for name in DELETED_COLUMNS if name in columns.names]
    marks = [mark for mark in marks if mark.count(None) < len(mark)]
    return [row for row, each in enumerate(zip(*marks, strict=True)) if any(value not in (None, "") for value in each)]


Faults = dict[int, RecordError]
"""Why records cannot become what they are to become, by row; of several reasons the first counts."""


def convert(function: Callable[[Any], Any], column: Column, faults: Faults) -> Column:
    """Apply a function to each value; null where it finds a fault."""
    try:
        return [*map(function, column)]
    except RecordError:
        return [convert_one(function, value, row, faults) for row, value in enumerate(column)]


def convert_one(function: Callable[[Any], Any], value: object, row: int, faults: Faults) -> Any:
    """Apply a function to the value of a row; null where it finds a fault."""
    try:
        return function(value)
    except RecordError as error:
        faults.setdefault(row, error)
        return None


LARGEST_POWER = 308
"""Powers of ten past which a number is none for a reader of JSON that keeps doubles (IEEE 754: about 1.8e308)."""

SMALLEST_POWER = -324
"""The power of ten of the smallest double. Both bounds keep `1E+400000` from becoming 400,000 digits."""


def exact(number: Decimal | float) -> Decimal:
    """Return the decimal that a number was written as.

    Raises:
        ValueError: It is not finite, or too large or too small for a double.
    """
    # repr gives the shortest digits that mean this float: 89.99, and not the 50 digits of its binary value.
    decimal = number if isinstance(number, Decimal) else Decimal(repr(number))
    if is_double(decimal):
        return decimal
    if decimal.is_zero():
        return Decimal(0)
    msg = "the number is not finite, or too large or too small"
    raise ValueError(msg)


def is_double(number: Decimal) -> bool:
    """Return whether a number is finite, and of a size that a double can have."""
    return number.is_finite() and SMALLEST_POWER <= number.adjusted() <= LARGEST_POWER


def print_plainly(numbers: Collection[Decimal]) -> bool:
    """Return whether all numbers are doubles, as `is_double` has it, and print without an exponent."""
    texts = [*map(str, numbers)]
    return not "".join(texts).strip("-.0123456789") and max(map(len, texts), default=0) <= LARGEST_POWER


def plain_text(number: float | Decimal) -> str:
    """Return the digits of a number as they came, without an exponent and without a fraction of zeros.

    Raises:
        ValueError: It is not finite, or too large or too small for a double.
    """
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
"""What a column may hold; the numbers 1 and 0 are the keys True and False."""


def parse_bool(value: object) -> bool | None:
    """Return the boolean that a value stands for; None where it stands for none."""
    if isinstance(value, str):
        return BOOLEANS.get(value.strip().lower())
    if isinstance(value, Decimal) and value.is_snan():
        return None  # it has no hash to look it up by
    return BOOLEANS.get(value) if isinstance(value, int | float | Decimal) else None
