"""An item of a request as JSON: each number with the digits that it came with, and never an exponent.

Knows nothing of what an event is; any object type's items are encoded here.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from target_statsig.exceptions import RecordError
from target_statsig.numbers import exact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_ENCODABLE = "not_encodable"
"""The reason of a record that holds what JSON cannot: half a surrogate pair, or a number that is none."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")

_EXPONENT = re.compile(rb"E[+-]")
"""How the exponent of a Decimal prints; to look for it in the bytes costs less than to look at each value before."""

_PRINT_PLAINLY = frozenset({str, int, bool, type(None)})


def encode(item: Mapping[str, object]) -> bytes:
    """Return an item of a request as compact JSON.

    Its numbers are integers and finite decimals: `values` sees to that.

    Raises:
        RecordError: `not_encodable`: a text that is no Unicode, or something that JSON has no form for.
    """
    try:
        body = _ENCODER.encode(item)
        return _ENCODER.encode(_plain(item)) if _EXPONENT.search(body) else body
    except (TypeError, ValueError, RecursionError):
        raise RecordError(NOT_ENCODABLE) from None


def encode_all(items: Sequence[Mapping[str, object]]) -> list[bytes | None]:
    """Return each item as `encode` does, None in the place of one that cannot be encoded."""
    bodies = _encode_lines(items)
    # In JSON a line break within a text is escaped.
    return [_encoded_or_none(item) for item in items] if bodies is None else [*bodies.splitlines()]


def encode_or_raise(items: Sequence[Mapping[str, object]]) -> list[bytes]:
    """Return each item as `encode` does.

    Raises:
        RecordError: `not_encodable`, as for `encode`.
    """
    bodies = _encode_lines(items)
    return [*map(encode, items)] if bodies is None else bodies.splitlines()


def encode_plain(items: Sequence[msgspec.Struct]) -> list[bytes]:
    """Return each item as compact JSON; none of them holds a number that prints with an exponent."""
    return _ENCODER.encode_lines(items).splitlines()


def _encode_lines(items: Sequence[Mapping[str, object]]) -> bytes | None:
    """Return items a line each; None where one of them needs a more careful look.

    All at once takes half the time of one by one.
    """
    try:
        bodies = _ENCODER.encode_lines(items)
    except (TypeError, ValueError, RecursionError):
        return None
    return None if _EXPONENT.search(bodies) else bodies


def _encoded_or_none(item: Mapping[str, object]) -> bytes | None:
    try:
        return encode(item)
    except RecordError:
        return None


def compact_json(value: object) -> str:
    """Return an object or a list as compact JSON text.

    Raises:
        RecordError: `not_encodable`, as for `encode`, or for a number that is not finite or that no double holds.
    """
    try:
        return _ENCODER.encode(_plain(value)).decode()
    except (TypeError, ValueError, RecursionError):
        raise RecordError(NOT_ENCODABLE) from None


def _plain(value: object) -> object:
    """Replace the numbers whose JSON would be an exponent, or `null`, by their digits."""
    if isinstance(value, dict):
        # One look at all types at once: most objects hold nothing to replace, and are not copied.
        if _PRINT_PLAINLY.issuperset(map(type, value.values())):
            return value
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    if isinstance(value, (Decimal, float)):
        return msgspec.Raw(format(exact(value), "f"))
    return value
