"""A record on its way from the input to Statsig, with what the tap sent around it.

Knows how a line of Singer becomes Python's values. Refuses to know what a message says.
"""

from __future__ import annotations

import decimal
import json
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


Message = dict[str, Any]
"""A decoded Singer message."""

MESSAGES = msgspec.json.Decoder(Message, float_hook=decimal.Decimal)
"""Decodes lines; a number with a fraction keeps its digits."""


def decode_leniently(line: bytes) -> object:
    """Decode what is no strict JSON but what Python's `json` writes, such as NaN, and numbers beyond any.

    The record that holds one is rejected later on its own, and the others go.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
        ValueError: It is no JSON.
    """
    return json.loads(line, parse_float=_decimal)


def _decimal(digits: str) -> decimal.Decimal:
    try:
        return decimal.Decimal(digits)
    except decimal.InvalidOperation:
        # An exponent beyond any; like any other number that is none, it is rejected where it is to be sent.
        return decimal.Decimal("NaN")


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record on its way.

    There is one for each record of the input: a struct of msgspec's is made in a tenth of the time of a dataclass, and
    the garbage collector need not look at it, since nothing in decoded JSON leads back to it.

    Attributes:
        data: The record after the stream maps.
        message: The RECORD message as the tap sent it.
        schema: The SCHEMA message of its stream as the tap sent it.
    """

    data: Mapping[str, Any]
    message: Mapping[str, Any]
    schema: Mapping[str, Any]
