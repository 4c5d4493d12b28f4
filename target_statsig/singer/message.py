"""Decoding Singer messages: numbers keep their digits, and lines that nest too deeply are taken apart."""

from __future__ import annotations

import decimal
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


Message = dict[str, Any]
"""A decoded Singer message."""

MESSAGES = msgspec.json.Decoder(Message, float_hook=decimal.Decimal)
"""Decodes lines; a number with a fraction keeps its digits."""

DEEPEST = 200
"""Levels of objects and lists in a record or a schema. What is nested deeper is no data, and Python, which calls itself
for each level, would run out of calls at some place or other."""

NESTED_TOO_DEEPLY = "nested_too_deeply"
"""The reason of a record that is nested deeper."""

Undecoded = msgspec.Raw
"""A record that is nested too deeply to be decoded, as the tap wrote it."""

_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}]')
"""The texts and the brackets of JSON."""


def is_too_deep(value: object, levels: int = DEEPEST) -> bool:
    """Return whether a decoded value nests deeper than `levels`; a record left undecoded for that does."""
    members: Iterable[object]
    if type(value) is dict:
        members = value.values()
    elif type(value) is list:
        members = value
    else:
        return type(value) is Undecoded
    for member in members:
        kind = type(member)
        if (kind is dict or kind is list) and (levels == 0 or is_too_deep(member, levels - 1)):
            return True
    return False


def decode_around_record(line: bytes) -> Message:
    """Decode a line whose record is nested too deeply for that; the record is left as it is written.

    Raises:
        msgspec.DecodeError: The rest is no JSON.
        RecursionError: It is not the record that is nested so deeply.
    """
    depth, before, start, end = 0, b"", 0, 0
    for found in _TOKENS.finditer(line):
        token = found[0]
        if token == b"{" and depth == 1 and before == b'"record"':
            start = found.start()
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token, 0)
        if depth == 1:
            before = token
            if start:
                end = found.end()
                break
    if not end:
        raise RecursionError
    return MESSAGES.decode(line[:start] + b"null" + line[end:]) | {"record": Undecoded(line[start:end])}


def decode_leniently(line: bytes) -> object:
    """Decode what is no strict JSON but what Python's `json` writes, such as NaN and numbers beyond any.

    The record that holds one is rejected later on its own, and the others go.

    Raises:
        RecursionError: It is nested too deeply.
        UnicodeDecodeError: It is not UTF-8.
        ValueError: It is no JSON.
    """
    return json.loads(line, parse_float=_decimal, parse_constant=_decimal)


def _decimal(digits: str) -> decimal.Decimal:
    try:
        return decimal.Decimal(digits)
    except decimal.InvalidOperation:
        # An exponent beyond any; like any other number that is none, it is rejected where it is to be sent.
        return decimal.Decimal("NaN")
