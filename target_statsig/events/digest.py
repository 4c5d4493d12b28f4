"""What identifies a record: itself, as the tap sent it, and nothing about its transport.

Key properties do not identify an event, and two identical rows are two rows; so the ledger counts digests of whole
records. The digests tell records apart; they keep no secret and sign nothing, so a fast hash of 128 bits is enough.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from xxhash import xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")

TRANSPORT_PREFIX = "_sdc_"
"""Columns that tell how a record was extracted; they differ from run to run where the record does not."""

_MARK = TRANSPORT_PREFIX.encode()
"""Looked for in the text of records; where it is only part of a value, a slower way comes to the same."""


def digests_of(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the digest of each record, the same in every run that extracts it unchanged."""
    # All at once: one by one takes twice the time, and this is the better part of what remembering costs.
    try:
        text = _ENCODER.encode_lines(records)
    except (UnicodeEncodeError, msgspec.EncodeError):
        return [digest(record) for record in records]
    if _MARK in text:
        return [digest(record) for record in records]
    return [xxh3_128_digest(line) for line in text.splitlines()]


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    text = _encode(record)
    if _MARK in text:
        text = _encode({name: value for name, value in record.items() if not name.startswith(TRANSPORT_PREFIX)})
    return xxh3_128_digest(text)


def _encode(record: Mapping[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(record)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair: such a record is rejected, but first it is looked up like any other.
        return json.dumps(record, default=str, sort_keys=True).encode()
