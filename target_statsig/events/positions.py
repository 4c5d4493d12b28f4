"""How far a tap has come: replication-key values, and a STATE's bookmark, in a form that can be compared.

Pure. What cannot be compared for sure is None, and then nothing is forgotten by its value.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

from target_statsig.events.times import parse_text, parse_texts
from target_statsig.store.ledger import UNORDERED, Bookmark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBER_LIMIT = 10**21
"""Numbers from here on cannot be compared: no log position and no sequence is as large."""

FRACTION = 10**9
"""A number is compared to the ninth digit of its fraction; what differs later counts as equal, and is not forgotten."""


NUMBERS = frozenset({int, Decimal})
"""What numbers of JSON are decoded to: of these the least and the greatest are found at once."""


def position(value: object) -> Bookmark | None:
    """Return a replication-key value in a form whose text sorts as the value does; None where that is not sure.

    Times are taken to the millisecond: those within one count as equal. Text that is no time has no order that the
    tap's database is sure to share.
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
    """Return the highest position among replication-key values; None where one of them cannot be compared."""
    kinds = set(map(type, values))
    if kinds and kinds <= NUMBERS:
        numbers = cast("Sequence[int]", values)
        return position(max(numbers)) if position(min(numbers)) else None
    if kinds == {str}:
        # Of times that are no more than dates there are few.
        times: Sequence[int | None] = parse_texts(values) or [*map(parse_text, set(cast("Sequence[str]", values)))]
        return None if None in times else _moment(max(cast("Sequence[int]", times)))
    top: Bookmark | None = None
    for value in values:
        found = position(value)
        if found is None or (top is not None and found.kind != top.kind):
            return None
        if top is None or found.text > top.text:
            top = found
    return top


def below(values: Sequence[object], bookmark: Bookmark) -> int:
    """Return how many replication-key values lie below a bookmark, as far as they can be compared with it."""
    kinds = set(map(type, values))
    # Nearly always none does, and that is seen at a glance.
    if bookmark.kind == "time" and kinds == {str}:
        times, limit = parse_texts(values), int(bookmark.text)
        if times is not None:
            return sum(time < limit for time in times) if min(times) < limit else 0
    if bookmark.kind == "number" and kinds and kinds <= NUMBERS and not _is_below(min(values), bookmark):  # type: ignore[type-var]
        return 0
    return sum(_is_below(value, bookmark) for value in values)


def _is_below(value: object, bookmark: Bookmark) -> bool:
    found = position(value)
    return found is not None and found.kind == bookmark.kind and found.text < bookmark.text


def bookmark_of(state: Any, tap_stream: str, replication_key: str | None) -> Bookmark | None:
    """Return how far a STATE says that a stream has come; None where it says nothing of it.

    What cannot be compared is UNORDERED: it can still be told whether it has changed.

    Args:
        state: The STATE's value, whatever the tap made it.
        tap_stream: The tap's name of the stream.
        replication_key: The column whose values are remembered; a bookmark of another one cannot be compared with them.
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
    # Not msgspec: a STATE may hold half a surrogate pair.
    text = json.dumps(content, sort_keys=True, default=str)
    return found or Bookmark(UNORDERED, blake2b(text.encode()).hexdigest())


def replication_key_of(schema_message: Mapping[str, Any]) -> str | None:
    """Return the one column by which a tap says how far it has come in a stream, where its SCHEMA names it."""
    columns = schema_message.get("bookmark_properties")
    if isinstance(columns, list) and len(columns) == 1 and isinstance(columns[0], str):
        return columns[0]
    return None
