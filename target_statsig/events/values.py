"""What a value from a record is in an event: a text, a number, an identifier.

Knows JSON's kinds, and the dates and times that a stream map can make. Refuses to know what a value is for.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_statsig.events.encoding import NOT_ENCODABLE, compact_json
from target_statsig.exceptions import RecordError
from target_statsig.numbers import exact, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_is_numeric = re.compile(r"[+-]?(?:[0-9]{1,309}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?").fullmatch
"""A number as texts have it; `NaN`, `Infinity`, `1_000` and `1,000` are none. No exponent that a double cannot have."""

_NUMBERS = (int, float, Decimal)
"""To Python true and false are integers too; here they are no numbers."""


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
"""What makes a text of a value, by its type; a `ValueError` says that the value has none."""


def text(value: object) -> str:
    """Return a value that is not null as a text: numbers in plain decimal, times in ISO 8601, the rest as compact JSON.

    Raises:
        RecordError: `not_encodable`: a number that is none, or something that JSON has no form for.
    """
    try:
        return TEXTS[type(value)](value)
    except (KeyError, ValueError):
        raise RecordError(NOT_ENCODABLE) from None


def label(value: object) -> str | None:
    """Return the text of an identifier or of a name, its surrounding blanks cut; None where it holds none.

    Numbers have a text; true, false, objects, lists and blanks do not: no id is called `true`.

    Raises:
        RecordError: As for `text`.
    """
    if type(value) is str:
        return value.strip() or None
    return text(value) if type(value) in _NUMBERS else None


def parse_number(digits: str) -> Decimal | None:
    """Return the number that a text holds, blanks around it allowed; None where it holds none."""
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
        RecordError: `not_encodable`: it is not finite, or no double holds it.
    """
    if isinstance(value, int):
        return value
    try:
        return exact(value)
    except ValueError:
        raise RecordError(NOT_ENCODABLE) from None


def event_value(value: object) -> int | Decimal | str | None:
    """Return a value that is not null as an event's `value`, which is a number or a string.

    A number, or a text that holds one, is a number; a blank text is no value; all else is its `text`.

    Raises:
        RecordError: As for `text`.
    """
    if isinstance(value, str):
        parsed = parse_number(value)
        return value if parsed is None and value.strip() else parsed
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return number(value)
    return text(value)
