"""What identifies a record: itself, as the tap sent it, and nothing about its transport.

Key properties do not identify an event, and two identical rows are two rows; so the ledger counts digests of whole
records. The digests tell records apart; they keep no secret and sign nothing, so a fast hash of 128 bits is enough.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import groupby, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Values = Callable[[Mapping[str, Any]], object]

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode

TRANSPORT_PREFIX = "_sdc_"
"""Columns that tell how a record was extracted; they differ from run to run where the record does not."""

_SHAPES_KEPT = 512
"""Rows of columns for which it is known which of them count; a stream seldom has ten."""


def digests_of(records: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Return the digest of each record, the same in every run that extracts it unchanged."""
    digests: list[bytes] = []
    for columns, alike in groupby(records, key=tuple):
        take, seed = _shape(columns)
        # The values in the order of their columns' names, and these in the seed: half of what it takes to write both.
        values = [*map(take, alike)]
        try:
            texts = [*map(_encode, values)]
        except (UnicodeEncodeError, msgspec.EncodeError):
            texts = [*map(_carefully_encoded, values)]
        digests += map(xxh3_128_digest, texts, repeat(seed))
    return digests


def _carefully_encoded(values: object) -> bytes:
    try:
        return _encode(values)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair: such a record is rejected, but first it is looked up like any other.
        return json.dumps(values, default=str, sort_keys=True).encode()


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    return digests_of([record])[0]


@lru_cache(_SHAPES_KEPT)
def _shape(columns: tuple[str, ...]) -> tuple[Values, int]:
    """Return what takes the values that count out of a record with these columns, and a number for their names."""
    names = sorted(name for name in columns if not name.startswith(TRANSPORT_PREFIX))
    seed = xxh3_64_intdigest(json.dumps(names).encode())
    return (itemgetter(*names) if names else _nothing), seed


def _nothing(_: Mapping[str, Any]) -> None:
    """Take nothing out of a record that has no columns."""
