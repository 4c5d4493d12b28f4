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
    from collections.abc import Mapping

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode_as_it_came(message: Mapping[str, Any]) -> bytes:
    """Return a message as JSON, or as what Python takes for JSON: the record is to be what the tap sent."""
    with contextlib.suppress(UnicodeEncodeError):
        line = _ENCODER.encode(message)
        if b"null" not in line:  # which a number that JSON does not know would have become
            return line
    try:
        return _ENCODER.encode(_as_it_came(message))
    except UnicodeEncodeError:
        return json.dumps(message, default=str).encode()  # half a surrogate pair in the name of a field


def _as_it_came(value: Any) -> Any:
    """Put what only Python's JSON knows back into its own words: NaN and Infinity, and half a surrogate pair."""
    if isinstance(value, dict):
        return {name: _as_it_came(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_it_came(item) for item in value]
    odd = (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, str) and not _has_utf8(value))
    return msgspec.Raw(json.dumps(value).encode()) if odd else value


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
