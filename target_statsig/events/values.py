"""Items, the interface of the mappers, and values: texts, numbers, identifiers, and objects of several columns."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from target_statsig.errors import RecordError
from target_statsig.singer.columns import are_plain, convert, exact, is_full, plain_text
from target_statsig.singer.message import ENCODER, encode_each

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns, Faults


class Items(NamedTuple):
    """Items that are ready to be encoded, one for each record. Those of records with a fault are meaningless.

    Attributes:
        items: The items.
        names: The name of each item.
        tiers: The environment tier of each item, or null; None if items of this type have no environment.
        times: The time of each event, unix milliseconds; empty for other types.
    """

    items: Column
    names: Column
    tiers: Column | None = None
    times: Column = ()


class Mapper(Protocol):
    """Maps the records of one stream. Thread-safe."""

    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        """Return the item of each record, and add the faults of those that cannot become items.

        Numbers with a fraction are `Decimal` or floats. `now_ms` is the time, in unix milliseconds, for items with
        neither a time nor a time of extraction.
        """


LONGEST = 128
"""Characters of a value or a user's id. Statsig may cut or drop a longer one silently; its Node SDK has this limit."""

_is_numeric = re.compile(r"[+-]?(?:[0-9]{1,309}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
"""A number in a text. `NaN`, `Infinity`, `1_000`, `1,000` and exponents beyond the range of a double do not match."""

_NUMBERS = (int, float, Decimal)
"""Python's types of numbers. `bool`, a subclass of `int`, does not count as one."""

NOT_ENCODABLE = "not_encodable"
"""The reason for rejecting a record with a value that JSON cannot hold: half a surrogate pair, or NaN."""

NOT_JSON = (TypeError, ValueError, RecursionError, ArithmeticError)
"""Errors of encoding a value that JSON cannot hold."""

_FRACTIONS: frozenset[type] = frozenset({Decimal, float})

_PRINT_PLAINLY: frozenset[type] = frozenset({str, int, bool, NoneType})

_WHOLE: frozenset[type] = frozenset({int, NoneType})

_NESTED: frozenset[type] = frozenset({dict, list})
"""The types of values that hold other values."""


def compact_json(value: object) -> str:
    """Return an object or a list as compact JSON text.

    Raises:
        RecordError: `not_encodable`: it holds an invalid text, a number that is not finite or beyond the range of a
            double, or a value that is not JSON.
    """
    try:
        return ENCODER.encode(_plain(value)).decode()
    except NOT_JSON:
        raise RecordError(NOT_ENCODABLE) from None


def _plain(value: object) -> object:
    """Replace numbers that msgspec would encode with an exponent, or as `null`, by their digits."""
    if isinstance(value, dict):
        # Most objects hold nothing to replace. These are not copied.
        if _PRINT_PLAINLY.issuperset(map(type, value.values())):
            return value
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, (Decimal, float)):
        return msgspec.Raw(format(exact(value), "f"))
    return value


TEXTS: Mapping[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    float: plain_text,
    Decimal: plain_text,
    bool: ("false", "true").__getitem__,
    dict: compact_json,
    list: compact_json,
    tuple: compact_json,
    dt.datetime: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
}
"""Functions that return a value as a text, by the value's type. They raise ValueError if the value has no text."""


def text(value: object) -> str:
    """Return a value that is not null as a text: numbers in plain decimal, times in ISO 8601, the rest as compact JSON.

    Raises:
        RecordError: `not_encodable`: a number that is not finite, or a value that is not JSON.
    """
    try:
        return TEXTS[type(value)](value)
    except (KeyError, ValueError):
        raise RecordError(NOT_ENCODABLE) from None


def label(value: object) -> str | None:
    """Return a text or a number as an identifier or a name, without surrounding blanks.

    Blank texts, booleans, objects and lists give None, because no id is called `true`. Raises as `text`.
    """
    if type(value) is str:
        return value.strip() or None
    return text(value) if type(value) in _NUMBERS else None


def parse_number(digits: str) -> Decimal | None:
    """Return the number in a text, which may have surrounding blanks, or None."""
    digits = digits.strip()
    if not _is_numeric(digits):
        return None
    try:
        return exact(Decimal(digits))
    except ValueError:
        return None


def number(value: Decimal | float) -> int | Decimal:
    """Return a number with the digits that it was written with.

    Raises:
        RecordError: `not_encodable`: it is not finite, or beyond the range of a double.
    """
    if isinstance(value, int):
        return value
    try:
        return exact(value)
    except ValueError:
        raise RecordError(NOT_ENCODABLE) from None


def labels(column: Column, faults: Faults) -> Column:
    """Return a column as identifiers or names, as `label` does."""
    strip = str.strip
    try:
        return [value if value is None else strip(value) or None for value in column]
    except TypeError:  # a value is no text
        return convert(label, column, faults)


def texts(column: Column, faults: Faults) -> Column:
    """Return a column as texts, as `text` does; null stays null."""
    with suppress(TypeError):  # the fastest way to see whether all values are texts
        "".join(column)
        return column
    kinds = set(map(type, column)) - {NoneType}
    if kinds <= {str}:
        return column
    if kinds <= {int, bool}:
        return [value if value is None else TEXTS[type(value)](value) for value in column]
    if kinds <= _FRACTIONS:
        digits = [value if value is None else str(value) for value in column]
        if are_plain([*filter(None, digits)]):
            # Only a fraction of zeros is cut.
            return [plain_text(Decimal(each)) if each and each[-1] == "0" else each for each in digits]
    if kinds <= _NESTED:
        with suppress(*NOT_JSON):
            prints_plainly = _prints_plainly(_members_of(column), _PRINT_PLAINLY | _NESTED)
            encoded = encode_each(column if prints_plainly else [*map(_plain, column)])
            return [value if value is None else each.decode() for value, each in zip(column, encoded, strict=True)]
    return convert(lambda value: None if value is None else text(value), column, faults)


_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def json_value(text: str) -> Any:
    """Return the value of a JSON text; None if the text is not JSON."""
    try:
        return _decode(text)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
        return None


def event_values(column: Column, warnings: MappingWarnings, faults: Faults) -> Column:
    """Return a column as values of events, as `event_value` does, in a form that is encoded without an exponent."""
    if _prints_plainly(column, _WHOLE):
        return column
    values = convert(lambda value: None if value is None else printable(event_value(value)), column, faults)
    texts = [value for value in values if type(value) is str]
    warnings.text_values += len(texts)
    warnings.long_values += count_long(texts)
    return values


def typed(column: Column, faults: Faults) -> Column:
    """Return a column as `typed_value` does, in a form that is encoded without an exponent; null stays null."""
    return column if _prints_plainly(column, _PRINT_PLAINLY) else convert(typed_value, column, faults)


def _prints_plainly(column: Column, kinds: frozenset[type]) -> bool:
    """Return whether a column has only values of these types, and fractions that are encoded without an exponent."""
    others = set(map(type, column)) - kinds
    return not others or (
        others <= _FRACTIONS and are_plain([str(value) for value in column if type(value) in _FRACTIONS])
    )


def _members_of(values: Column) -> Column:
    """Return the members of objects and lists, and theirs, at all levels."""
    found: list[Any] = []
    level = [value for value in values if type(value) in _NESTED]
    while level:
        members = [*chain.from_iterable(each.values() if type(each) is dict else each for each in level)]
        found += members
        level = [member for member in members if type(member) in _NESTED]
    return found


def typed_value(value: object) -> object:
    """Return a number, a boolean, a text, an object or a list with its type, and a time as text. Raises as `text`."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, _NUMBERS):
        return printable(number(value))
    if isinstance(value, (dict, list, tuple)):
        return msgspec.Raw(compact_json(value).encode())
    return text(value)


def printable(value: object) -> object:
    """Return a value in a form that is encoded without an exponent."""
    if type(value) is Decimal and not are_plain([str(value)]):
        return msgspec.Raw(format(value, "f").encode())
    return value


def event_value(value: object) -> int | Decimal | str | None:
    """Return a value that is not null as an event's `value`, which is a number or a string.

    A text with a number becomes a number, a blank text becomes None, and any other value becomes its `text`. Raises as
    `text`.
    """
    if isinstance(value, str):
        parsed = parse_number(value)
        return value if parsed is None and value.strip() else parsed
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return number(value)
    return text(value)


def count_long(texts: Sequence[str | None]) -> int:
    """Return how many texts have over `LONGEST` characters."""
    present = [*filter(None, texts)]
    return sum(len(text) > LONGEST for text in present) if max(map(len, present), default=0) > LONGEST else 0


def objects(members: Mapping[str, Column], count: int) -> Column:
    """Return an object for each of `count` records, or null if all its members are null."""
    if not members:
        return (None,) * count
    make, columns = _object_maker(tuple(members)), [*members.values()]
    if any(map(is_full, columns)):
        return [*map(make, *columns)]
    return [None if row.count(None) == len(row) else make(*row) for row in zip(*columns, strict=True)]


@lru_cache(4_096)  # a stream seldom has ten sets of members
def _object_maker(names: tuple[str, ...]) -> Callable[..., Any]:
    """Return a function that creates an object from the values of its members, without those that are null.

    It is a struct type of msgspec, which is the fastest to create and encode.
    """
    renamed = {f"f{place}": name for place, name in enumerate(names)}
    fields = [(field, Any, None) for field in renamed]
    try:
        return msgspec.defstruct("Object", fields, rename=renamed, omit_defaults=True, gc=False)
    except ValueError:  # a name has a character that msgspec would have to escape
        return lambda *values: {name: value for name, value in zip(names, values, strict=True) if value is not None}
