"""Positions: replication-key values and bookmarks in a form that can be compared.

Pure. A value that cannot be compared reliably has no position (None), and the ledger forgets nothing because of it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from target_statsig.events.times import parse_text, parse_texts
from target_statsig.store.ledger import UNORDERED, Bookmark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBER_LIMIT = 10**21
"""Numbers from this one on have no position. No log position or sequence is as large."""

FRACTION = 10**9
"""Numbers are compared to the ninth decimal. Those that differ only after it count as equal, and are not forgotten."""

NUMBERS = frozenset({int, Decimal})
"""The types of decoded numbers, whose minimum and maximum are found without converting each."""


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
        times = parse_texts(values)
        if times is not None:
            return _moment(max(times))
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
        times, limit = parse_texts(values), int(bookmark.text)
        if times is not None:
            return sum(time < limit for time in times) if min(times) < limit else 0
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

    A bookmark that cannot be compared with positions is UNORDERED. It still shows whether it has changed.

    Args:
        state: The STATE's value, which may be any JSON.
        tap_stream: The stream's name in the tap.
        replication_key: The column whose positions the ledger records. Other bookmarks cannot be compared with them.
    """
    bookmarks = state.get("bookmarks") if isinstance(state, dict) else None
    content = bookmarks.get(tap_stream) if isinstance(bookmarks, dict) else None
    if not isinstance(content, dict):
        return None
    found = None
    if (
        replication_key is not None
        and "partitions" not in content
        and content.get("replication_key") == replication_key
    ):
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
