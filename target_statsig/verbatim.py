"""A message as JSON again, with every value as it came: also what only Python takes for JSON.

Pure; refuses to know what becomes of it.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode_as_it_came(message: Mapping[str, Any]) -> bytes:
    """Return a message as JSON, or as what Python takes for JSON: the record is to be what the tap sent."""
    with contextlib.suppress(UnicodeEncodeError, RecursionError):
        line = _ENCODER.encode(message)
        if b"null" not in line:  # which a number that JSON does not know would have become
            return line
    return b"".join(_pieces(message))


def _pieces(message: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the JSON of a message piece by piece, however deeply it is nested."""
    left: list[object] = [message]
    while left:
        value = left.pop()
        parts: list[object] = []
        if isinstance(value, dict):
            for name, member in value.items():
                parts += [b",", json.dumps(name).encode(), b":", member]
            left += [b"}", *reversed(parts[1:]), b"{"]
        elif isinstance(value, list):
            for item in value:
                parts += [b",", item]
            left += [b"]", *reversed(parts[1:]), b"["]
        else:
            yield value if isinstance(value, bytes) else _leaf(value)


def _leaf(value: object) -> bytes:
    """Return a value that holds no others; what only Python's JSON knows in its own words.

    That is NaN and Infinity, and half a surrogate pair.
    """
    with contextlib.suppress(UnicodeEncodeError):
        if not (isinstance(value, float) and not math.isfinite(value)):
            return _ENCODER.encode(value)
    return json.dumps(value).encode()
