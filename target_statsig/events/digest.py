"""What identifies a record: itself, as the tap sent it, and nothing about its transport.

Key properties do not identify an event, and two identical rows are two rows; so the ledger counts digests of whole
records.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.ledger import DIGEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")

TRANSPORT_PREFIX = "_sdc_"
"""Columns that tell how a record was extracted; they differ from run to run where the record does not."""

_MARK = f'"{TRANSPORT_PREFIX}'.encode()


def digests_of(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the digest of each record, the same in every run that extracts it unchanged."""
    # All at once: one by one takes twice the time, and this is the better part of what remembering costs.
    try:
        text = _ENCODER.encode_lines(records)
    except (UnicodeEncodeError, msgspec.EncodeError):
        return [digest(record) for record in records]
    if _MARK in text:
        return [digest(record) for record in records]
    return [blake2b(line, digest_size=DIGEST_BYTES).digest() for line in text.splitlines()]


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    text = _encode(record)
    if _MARK in text:
        text = _encode({name: value for name, value in record.items() if not name.startswith(TRANSPORT_PREFIX)})
    return blake2b(text, digest_size=DIGEST_BYTES).digest()


def _encode(record: Mapping[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(record)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair: such a record is rejected, but first it is looked up like any other.
        return json.dumps(record, default=str, sort_keys=True).encode()
