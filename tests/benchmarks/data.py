"""The input of every contender: an ordinary tap's messages, the same in every run.

Knows Singer messages. Refuses to know who reads them.
"""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STREAM = "orders"
MEMBER_STREAM = "audience"

STATE_EVERY = 10_000
"""Records between two STATEs of a singer-sdk tap."""

STRIDE = 618_034_003
"""A prime: steps of it lead to every member once, each far from the one before."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"

NULLABLE_STRING = {"type": ["string", "null"]}

SCHEMA = {
    "type": "SCHEMA",
    "stream": STREAM,
    "schema": {
        "properties": {
            "order_id": {"type": ["integer"]},
            "user_id": NULLABLE_STRING,
            "event": NULLABLE_STRING,
            "event_time": {"type": ["string", "null"], "format": "date-time"},
            "revenue": {"type": ["number", "null"]},
            "currency": {"type": ["string", "null"], "maxLength": 3},
            "quantity": {"type": ["integer", "null"]},
            "is_gift": {"type": ["boolean", "null"]},
            "session_id": NULLABLE_STRING,
            "page_url": NULLABLE_STRING,
            "coupon": NULLABLE_STRING,
            "updated_at": {"type": ["string", "null"], "format": "date-time"},
        },
        "type": "object",
        "required": ["order_id"],
        "$schema": DRAFT,
    },
    "key_properties": ["order_id"],
    "bookmark_properties": ["updated_at"],
}

MEMBER_SCHEMA = {
    "type": "SCHEMA",
    "stream": MEMBER_STREAM,
    "schema": {"properties": {"user_id": NULLABLE_STRING}, "type": "object", "$schema": DRAFT},
    "key_properties": [],
}

EVENTS = ("page_view", "view_item", "add_to_cart", "begin_checkout", "purchase")
CURRENCIES = ("EUR", "GBP", "USD")
PAGES = ("checkout", "tea/earl-grey", "tea/genmaicha", "coffee/house-blend", "teaware/teapot")
CUSTOMERS = 50_000
GIFTS = 0.1
COUPONS = 0.25

BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)
BETWEEN_EVENTS = timedelta(milliseconds=100)
UNTIL_UPDATED = timedelta(minutes=3)


def write_events(path: Path, records: int) -> None:
    """Write one stream of events, about 400 bytes a record: a SCHEMA, RECORDs, STATEs as singer-sdk taps write them."""
    _write(path, _event_messages(records))


def write_members(path: Path, members: int, *, scattered: bool = False) -> None:
    """Write one stream of segment members, complete: a SCHEMA, RECORDs, and an ACTIVATE_VERSION that proves the end.

    Args:
        path: Where to.
        members: How many; no multiple of `STRIDE` where they are scattered.
        scattered: Whether they come in no order; else as a database gives them by key.
    """
    _write(path, _member_messages(members, stride=STRIDE if scattered else 1))


def write_ids(path: Path, members: int) -> None:
    """Write the ids of `write_members`, one a line."""
    with path.open("w") as file:
        file.writelines(f"{member}\n" for member in _member_ids(members))


def _event_messages(records: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(0)
    draw = chance.random
    yield SCHEMA
    updated = ""
    for number in range(records):
        happened = BEGIN + number * BETWEEN_EVENTS
        updated = _iso(happened + UNTIL_UPDATED)
        record = {
            "order_id": 48_000_000 + number,
            "user_id": f"customer-{int(draw() * CUSTOMERS):08d}",
            "event": EVENTS[int(draw() * len(EVENTS))],
            "event_time": _iso(happened),
            "revenue": int(draw() * 50_000) / 100,
            "currency": CURRENCIES[int(draw() * len(CURRENCIES))],
            "quantity": int(draw() * 9) + 1,
            "is_gift": draw() < GIFTS,
            "session_id": f"{chance.getrandbits(64):016x}",
            "page_url": f"https://shop.example.com/{PAGES[int(draw() * len(PAGES))]}",
            "coupon": "AUTUMN-2026" if draw() < COUPONS else None,
            "updated_at": updated,
        }
        yield {"type": "RECORD", "stream": STREAM, "record": record, "time_extracted": updated}
        if (number + 1) % STATE_EVERY == 0:
            yield _state(updated)
    if records % STATE_EVERY:
        yield _state(updated)


def _state(updated: str) -> dict[str, Any]:
    bookmark = {"replication_key": "updated_at", "replication_key_value": updated}
    return {"type": "STATE", "value": {"bookmarks": {STREAM: bookmark}}}


def _member_messages(members: int, *, stride: int) -> Iterator[dict[str, Any]]:
    extracted = _iso(BEGIN)
    yield MEMBER_SCHEMA
    for member in _member_ids(members, stride=stride):
        yield {"type": "RECORD", "stream": MEMBER_STREAM, "record": {"user_id": member}, "time_extracted": extracted}
    yield {"type": "ACTIVATE_VERSION", "stream": MEMBER_STREAM, "version": 1}


def _member_ids(members: int, *, stride: int = 1) -> Iterator[str]:
    return (f"customer-{number * stride % members:08d}" for number in range(members))


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")


def _write(path: Path, messages: Iterable[dict[str, Any]]) -> None:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    with path.open("w") as file:
        file.writelines(encode(message) + "\n" for message in messages)
