"""Decoding and encoding Singer messages. Numbers keep their digits, and records that nest too deeply stay undecoded."""

from __future__ import annotations

import decimal
import io
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Message = dict[str, Any]
"""A decoded Singer message."""

MESSAGES = msgspec.json.Decoder(Message, float_hook=decimal.Decimal)
"""Decodes lines. Numbers with a fraction become Decimals, which keep their digits."""

NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)
"""Errors of decoding a line that is not strict JSON or nests too deeply."""

NO_JSON = "is not valid JSON"

NO_END = " and has no end, because the program that wrote it ended or failed"
"""The end of the message about a line that was cut off."""

ENCODER = msgspec.json.Encoder(decimal_format="number")
"""Encodes Decimals as numbers, with the same digits."""


def encode(value: object) -> bytes:
    """Return a value as JSON, with the same digits."""
    try:
        return ENCODER.encode(value)
    except ValueError:
        return escaped(value)


def escaped(value: object, *, sorts: bool = False) -> bytes:
    """Return a value as JSON with the same digits, also if msgspec does not encode it.

    Halves of surrogate pairs, which are no UTF-8, are escaped. Decimals that are not finite become NaN or Infinity.
    With `sorts`, the members of objects are sorted by name.
    """
    if isinstance(value, dict):
        names = sorted(value) if sorts else [*value]
        return b"{%b}" % b",".join([b"%b:%b" % (escaped(name), escaped(value[name], sorts=sorts)) for name in names])
    if isinstance(value, (list, tuple)):
        return b"[%b]" % b",".join([escaped(each, sorts=sorts) for each in value])
    if isinstance(value, decimal.Decimal):
        return str(value).encode()
    return json.dumps(value).encode() if isinstance(value, str) else ENCODER.encode(value)


def encode_each(values: Sequence[object]) -> list[bytes]:
    """Return each value as JSON, in which line breaks are escaped. Raises as `ENCODER`."""
    return [*map(bytes.rstrip, lines_of(ENCODER.encode_lines(values)))]


def lines_of(block: bytes) -> list[bytes]:
    """Split a block into lines, each with its end. `bytes.split` takes four times as long."""
    return io.BytesIO(block).readlines()


DEEPEST = 200
"""Levels of nested objects and lists that a record or a schema may have. Python recurses for each level, and deeper
nesting may reach its limit."""


class Undecoded:
    """Stands for a record that is nested too deeply to be decoded."""


_RECORD = re.compile(rb'\s*{\s*"type"\s*:\s*"RECORD"\s*,\s*"stream"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"record"\s*:\s*{')
"""The beginning of a RECORD message as taps write it."""


def is_too_deep(value: object, levels: int = DEEPEST) -> bool:
    """Return whether a value nests deeper than `levels`, or was left undecoded for that reason."""
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


def decode(line: bytes) -> Message | str:
    """Return a line as a message, or as a text that says what is wrong with it.

    A JSON value that is no object becomes an empty message. A record that nests too deeply stays undecoded.
    """
    try:
        message = _decode(line)
    except UnicodeDecodeError:
        return "is not valid UTF-8"
    except RecursionError:
        return f"({counted(len(line.rstrip()), 'byte')}) is nested too deeply"
    except ValueError:
        fault = f"({counted(len(line.rstrip()), 'byte')}) {NO_JSON}"
        return fault if line.endswith(b"\n") else f"{fault}{NO_END}"
    return message if isinstance(message, dict) else {}


def _decode(line: bytes) -> object:
    try:
        try:
            return MESSAGES.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError):
            # Python's `json` also reads what it may write, such as NaN. Only the record with it is rejected, later.
            return json.loads(line, parse_float=_decimal, parse_constant=_decimal)
    except RecursionError:
        found = _RECORD.match(line)
        if found is None or not line.rstrip().endswith(b"}"):
            raise
        return {"type": "RECORD", "stream": json.loads(found[1]), "record": Undecoded()}


def _decimal(digits: str) -> decimal.Decimal:
    try:
        return decimal.Decimal(digits)
    except decimal.InvalidOperation:
        # The exponent is too large for Decimal. Such a number is rejected before it is sent, as NaN is.
        return decimal.Decimal("NaN")
