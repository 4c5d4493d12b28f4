"""What the delivery ledger remembers of records: their digests, and the positions of their replication keys.

Pure. Key properties do not identify an event, and two identical rows are two events. So the ledger counts digests of
whole records, as the tap sent them. They protect no secret, so a fast hash of 128 bits is enough.

A position is a replication-key value or a bookmark in a form that can be compared. A value that cannot be compared
reliably has none, and the ledger forgets nothing because of it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import msgspec
from xxhash import xxh3_64_intdigest, xxh3_128_digest

from target_statsig.events.times import parse_text, parse_texts
from target_statsig.singer.columns import SINGER_PREFIX, Columns, picked
from target_statsig.singer.message import escaped, lines_of
from target_statsig.store.ledger import UNORDERED, Bookmark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NUMBER_LIMIT = 10**21
"""Numbers from this one on have no position. No log position or sequence is as large."""

FRACTION = 10**9
"""Numbers are compared to the ninth decimal. Those that differ only after it count as equal, and are not forgotten."""

NUMBERS = frozenset({int, Decimal})
"""The types of decoded numbers, whose minimum and maximum are found without converting each."""

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")

_NOT_ENCODED = (ValueError, msgspec.EncodeError)


def digests_of(columns: Columns) -> list[bytes]:
    """Return the digest of each record: 16 bytes, the same in every run that extracts the record unchanged."""
    names, seed = _names_and_seed(columns.names)
    values = [*zip(*map(columns.get, names), strict=True)] if names else [()] * len(columns)
    if columns.shapes is None:
        return _digests(values, names, seed)
    digests = [b""] * len(columns)
    for shape, rows in columns.shapes.items():
        present, seed = _names_and_seed(shape)
        chosen = picked(values, rows)
        if len(present) < len(names):
            chosen = [*map(_picker(names, present), chosen)]
        for row, each in zip(rows, _digests(chosen, present, seed), strict=True):
            digests[row] = each
    return digests


def digest(record: Mapping[str, Any]) -> bytes:
    """Return the digest of one record."""
    return digests_of(Columns.of([record], extracted=[None], versions=[None]))[0]


def _digests(values: Sequence[tuple[Any, ...]], names: Sequence[str], seed: int) -> list[bytes]:
    """Return the digests of records with the same columns, given their values in the order of the columns' names.

    Only values are encoded. Encoding the names as well would take twice as long, so they determine the seed of the hash
    instead. The value of a single column is encoded without a list around it, and no value as null.
    """
    digests: list[bytes] = []
    buffer = bytearray()  # holds each record in turn
    for each in _bare(values, names):
        try:
            _ENCODER.encode_into(each, buffer)
            digests.append(xxh3_128_digest(buffer, seed))
        except _NOT_ENCODED:
            digests.append(xxh3_128_digest(_text(each), seed))
    return digests


def encoded_and_digests(columns: Columns) -> tuple[Sequence[str], list[bytes], list[bytes]]:
    """Return the names of columns, the values of each record in them as JSON, and their digests.

    The records all have the same columns. Each JSON text has a line end. It is that of which the digest is made, unless
    there are columns that do not belong to the digest.
    """
    names, seed = _names_and_seed(columns.names)
    texts = _encoded(columns, names)
    digests = [xxh3_128_digest(text[:-1], seed) for text in texts]
    if len(names) < len(columns.names):
        names = columns.names
        texts = _encoded(columns, names)
    return names, texts, digests


def _encoded(columns: Columns, names: Sequence[str]) -> list[bytes]:
    values = _bare([*zip(*map(columns.get, names), strict=True)] if names else [()] * len(columns), names)
    try:
        return lines_of(_ENCODER.encode_lines(values))
    except _NOT_ENCODED:
        return [_text(each) + b"\n" for each in values]


def _text(value: object) -> bytes:
    try:
        return _ENCODER.encode(value)
    except _NOT_ENCODED:
        # Half a surrogate pair, or NaN. A record is rejected if that would be sent, but only after it was looked up
        # in the ledger.
        return escaped(value, sorts=True)


def _bare(values: Sequence[tuple[Any, ...]], names: Sequence[str]) -> Sequence[object]:
    """Return records as they are encoded: the value of a single column without a list around it, no value as null."""
    return values if len(names) > 1 else [row[0] if row else None for row in values]


@lru_cache(512)  # a stream seldom has ten sets of columns
def _picker(names: tuple[str, ...], present: tuple[str, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return a function that picks the values of some columns."""
    at = [names.index(name) for name in present]
    return itemgetter(*at) if len(at) > 1 else lambda row: tuple(row[place] for place in at)


@lru_cache(512)  # a stream seldom has ten sets of columns
def _names_and_seed(columns: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """Return the columns that belong to the digest, sorted by name, and the seed made from their names."""
    names = sorted(name for name in columns if not name.startswith(SINGER_PREFIX))
    return tuple(names), xxh3_64_intdigest(json.dumps(names).encode())


def position(value: object) -> Bookmark | None:
    """Return a replication-key value in a form whose text sorts as the value does, or None if it has no position.

    Times are rounded down to the millisecond. A text that is not a time has no position, because the tap's database may
    sort texts differently.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal | float):
        number = Decimal(str(value))
        if not number.is_finite() or abs(number) >= NUMBER_LIMIT:
            return None
        return Bookmark("number", f"{int((number + NUMBER_LIMIT) * FRACTION):032d}")
    return _moment(parse_text(value)) if isinstance(value, str) else None


def _moment(milliseconds: int | None) -> Bookmark | None:
    return None if milliseconds is None or milliseconds < 0 else Bookmark("time", f"{milliseconds:020d}")


def highest(values: Sequence[object]) -> Bookmark | None:
    """Return the highest position of replication-key values, or None if any of them has none."""
    kinds = set(map(type, values))
    if kinds and kinds <= NUMBERS:
        numbers = cast("Sequence[int]", values)
        with suppress(InvalidOperation):  # NaN is neither below nor above a number
            return position(max(numbers)) if position(min(numbers)) else None
    if kinds == {str}:
        # Dates without a time have few different values.
        if latest := parse_texts(values, max):
            return _moment(latest[0])
        each = [*map(parse_text, set(cast("Sequence[str]", values)))]
        return None if None in each else _moment(max(cast("Sequence[int]", each)))
    positions = [found for value in values if (found := position(value)) is not None]
    if len(positions) < len(values) or len({found.kind for found in positions}) != 1:
        return None
    return max(positions, key=lambda found: found.text)


def below(values: Sequence[object], bookmark: Bookmark) -> int:
    """Return how many replication-key values are below a bookmark; those that cannot be compared do not count."""
    kinds = set(map(type, values))
    # Usually the minimum shows that none is.
    if bookmark.kind == "time" and kinds == {str}:
        earliest = parse_texts(values, min)
        if earliest and earliest[0] >= int(bookmark.text):
            return 0
    if bookmark.kind == "number" and kinds and kinds <= NUMBERS:
        with suppress(InvalidOperation):
            if not _is_below(min(cast("Sequence[int]", values)), bookmark):
                return 0
    return sum(_is_below(value, bookmark) for value in values)


def _is_below(value: object, bookmark: Bookmark) -> bool:
    found = position(value)
    return found is not None and found.kind == bookmark.kind and found.text < bookmark.text


def bookmark_of(state: Any, tap_stream: str, replication_key: str | None) -> Bookmark | None:
    """Return a stream's bookmark in a STATE, or None if there is none.

    A bookmark that cannot be compared with the positions of `replication_key` is UNORDERED. It still shows whether it
    has changed. The STATE may be any JSON.
    """
    bookmarks = state.get("bookmarks") if isinstance(state, dict) else None
    content = bookmarks.get(tap_stream) if isinstance(bookmarks, dict) else None
    if not isinstance(content, dict):
        return None
    found = None
    is_of_key = replication_key is not None and content.get("replication_key") == replication_key
    if is_of_key and "partitions" not in content:
        found = position(content.get("replication_key_value"))
    # Not with msgspec, because a STATE may hold half a surrogate pair.
    text = json.dumps(content, sort_keys=True, default=str)
    return found or Bookmark(UNORDERED, blake2b(text.encode()).hexdigest())


def replication_key_of(schema_message: Mapping[str, Any]) -> str | None:
    """Return the column of the tap's bookmarks, if the SCHEMA names exactly one."""
    columns = schema_message.get("bookmark_properties")
    if isinstance(columns, list) and len(columns) == 1 and isinstance(columns[0], str):
        return columns[0]
    return None
