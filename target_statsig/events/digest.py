"""What identifies a record: itself, as the tap sent it, and nothing about its transport.

Key properties do not identify an event, and two identical rows are two rows; so the ledger counts digests of whole
records. The digests tell records apart; they keep no secret and sign nothing, so a fast hash of 128 bits is enough.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from target_statsig.singer.columns import Columns, rows_by_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode

TRANSPORT_PREFIX = "_sdc_"
"""Columns that tell how a record was extracted; they differ from run to run where the record does not."""

_SHAPES_KEPT = 512
"""Rows of columns for which it is known which of them count; a stream seldom has ten."""


def digests_of(columns: Columns) -> list[bytes]:
    """Return the digest of each record, the same in every run that extracts it unchanged."""
    if columns.records is None:
        shape = _shape(columns.names)
        return _digests(map(shape.of_row, columns.rows or ()), shape.seed)
    digests = [b""] * len(columns)
    for names, rows in rows_by_shape(columns.records).items():
        shape = _shape(names)
        found = _digests([shape.of_record(columns.records[row]) for row in rows], shape.seed)
        for row, each in zip(rows, found, strict=True):
            digests[row] = each
    return digests


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    shape = _shape(tuple(record))
    return _digests([shape.of_record(record)], shape.seed)[0]


def _digests(records: Iterable[object], seed: int) -> list[bytes]:
    """Return the digests of what counts of some records."""
    values = [*records]
    try:
        texts = [*map(_encode, values)]
    except (UnicodeEncodeError, msgspec.EncodeError):
        texts = [*map(_carefully_encoded, values)]
    return [*map(xxh3_128_digest, texts, repeat(seed))]


def _carefully_encoded(values: object) -> bytes:
    try:
        return _encode(values)
    except (UnicodeEncodeError, msgspec.EncodeError):
        # Half a surrogate pair: such a record is rejected, but first it is looked up like any other.
        return json.dumps(values, default=str, sort_keys=True).encode()


class _Shape(NamedTuple):
    """What counts of records that have the same columns.

    Attributes:
        of_record: Takes the values that count out of a record, in the order of their columns' names: to write the names
            as well would take twice as long.
        of_row: Takes them out of a row of values.
        seed: A number for the names.
    """

    of_record: Callable[[Mapping[str, Any]], object]
    of_row: Callable[[Sequence[Any]], object]
    seed: int


@lru_cache(_SHAPES_KEPT)
def _shape(columns: tuple[str, ...]) -> _Shape:
    names = sorted(name for name in columns if not name.startswith(TRANSPORT_PREFIX))
    seed = xxh3_64_intdigest(json.dumps(names).encode())
    if not names:
        return _Shape(_nothing, _nothing, seed)
    return _Shape(itemgetter(*names), itemgetter(*map(columns.index, names)), seed)


def _nothing(_: object) -> None:
    """Take nothing out of a record that has no columns that count."""
