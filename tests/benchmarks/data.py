"""The input of every contender: messages like those of a tap, the same in every run."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Shape(Enum):
    """The form of the records of an input, and whether they pass stream maps."""

    ROWS = "rows"
    """Rows of twelve columns, like those of a database table."""

    TRACKING = "tracking"
    """Records of an analytics tracker, with nested objects, and without columns for unknown values."""

    MAPPED = "mapped"
    """The rows, with `STREAM_MAPS`."""


STREAM = "orders"
TRACKING_STREAM = "events"
MEMBER_STREAM = "audience"

STATE_EVERY = 10_000
"""Records between STATEs, as of a singer-sdk tap."""

STRIDE = 618_034_003
"""A prime; steps of it reach every member once, each far from the one before."""

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

SAMPLED_OUT = 10
"""The stream map filters out one row in this many."""

STREAM_MAPS = {STREAM: {"__filter__": f"order_id % {SAMPLED_OUT} != 0", "page_url": None, "user_hash": "md5(user_id)"}}

NULLABLE_OBJECT = {"type": ["object", "null"], "additionalProperties": True}

TRACKING_SCHEMA = {
    "type": "SCHEMA",
    "stream": TRACKING_STREAM,
    "schema": {
        "properties": {
            "event": NULLABLE_STRING,
            "message_id": NULLABLE_STRING,
            "user_id": NULLABLE_STRING,
            "anonymous_id": NULLABLE_STRING,
            "timestamp": {"type": ["string", "null"], "format": "date-time"},
            "channel": NULLABLE_STRING,
            "properties": NULLABLE_OBJECT,
            "context": NULLABLE_OBJECT,
            "traits": NULLABLE_OBJECT,
            "consent": NULLABLE_OBJECT,
        },
        "type": "object",
        "$schema": DRAFT,
    },
    "key_properties": ["message_id"],
    "bookmark_properties": ["timestamp"],
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

TRACKED = ("page", "Products Searched", "Product Viewed", "Product Added", "Checkout Started", "Order Completed")
COUNTRIES = ("DE", "FR", "IE", "NL")
IN_APP = 0.25
LOGGED_IN = 0.3
ASKED_FOR_CONSENT = 0.8
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
BETWEEN_EVENTS = timedelta(milliseconds=100)
UNTIL_UPDATED = timedelta(minutes=3)


def write_events(path: Path, records: int, shape: Shape = Shape.ROWS) -> None:
    """Write one stream of events like a singer-sdk tap: SCHEMA, RECORDs and STATEs, about 400 bytes a record."""
    tracking = shape is Shape.TRACKING
    _write(path, _messages(TRACKING_SCHEMA, _tracked(records)) if tracking else _messages(SCHEMA, _rows(records)))


def expected_events(records: int, shape: Shape) -> int:
    """Return the number of events that an input should become."""
    return records - (-(-records // SAMPLED_OUT) if shape is Shape.MAPPED else 0)


def write_members(path: Path, members: int, *, scattered: bool = False) -> None:
    """Write one complete stream of segment members: SCHEMA, RECORDs, and an ACTIVATE_VERSION at its end.

    Args:
        path: The file.
        members: The number of members; no multiple of `STRIDE` if they are scattered.
        scattered: Whether they come in no order, or else ordered by id.
    """
    _write(path, _member_messages(members, stride=STRIDE if scattered else 1))


def write_ids(path: Path, members: int) -> None:
    """Write the ids of `write_members`, one a line."""
    with path.open("w") as file:
        file.writelines(f"{member}\n" for member in _member_ids(members))


def _messages(schema: dict[str, Any], records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    stream, [key] = schema["stream"], schema["bookmark_properties"]
    yield schema
    state: dict[str, Any] = {}
    for number, record in enumerate(records, 1):
        yield {"type": "RECORD", "stream": stream, "record": record, "time_extracted": record[key]}
        bookmark = {"replication_key": key, "replication_key_value": record[key]}
        state = {"type": "STATE", "value": {"bookmarks": {stream: bookmark}}}
        if number % STATE_EVERY == 0:
            yield state
            state = {}
    if state:
        yield state


def _rows(records: int) -> Iterator[dict[str, Any]]:
    generator = random.Random(0)
    random_number = generator.random
    for number in range(records):
        happened = BEGIN + number * BETWEEN_EVENTS
        yield {
            "order_id": 48_000_000 + number,
            "user_id": f"customer-{int(random_number() * CUSTOMERS):08d}",
            "event": EVENTS[int(random_number() * len(EVENTS))],
            "event_time": _iso(happened),
            "revenue": int(random_number() * 50_000) / 100,
            "currency": CURRENCIES[int(random_number() * len(CURRENCIES))],
            "quantity": int(random_number() * 9) + 1,
            "is_gift": random_number() < GIFTS,
            "session_id": f"{generator.getrandbits(64):016x}",
            "page_url": f"https://shop.example.com/{PAGES[int(random_number() * len(PAGES))]}",
            "coupon": "AUTUMN-2026" if random_number() < COUPONS else None,
            "updated_at": _iso(happened + UNTIL_UPDATED),
        }


def _tracked(records: int) -> Iterator[dict[str, Any]]:
    generator = random.Random(0)
    random_number = generator.random
    for number in range(records):
        customer = int(random_number() * CUSTOMERS)
        event = TRACKED[int(random_number() * len(TRACKED))]
        logged_in, in_app = random_number() < LOGGED_IN, random_number() < IN_APP
        country = COUNTRIES[int(random_number() * len(COUNTRIES))]
        agent = {"app": {"version": "5.1.4"}} if in_app else {"user_agent": BROWSER}
        yield {
            "event": event,
            "message_id": f"m-{number:010d}",
            **({"user_id": f"u-{customer}"} if logged_in else {}),
            "anonymous_id": f"{customer:016x}",
            "timestamp": _iso(BEGIN + number * BETWEEN_EVENTS),
            "channel": "app" if in_app else "web",
            "properties": _properties(event, generator.randrange(1, 500)),
            "context": {"ip": "203.0.113.7", "locale": f"en-{country}", "location": {"country": country}, **agent},
            **({"traits": {"email": f"customer{customer}@example.com"}} if logged_in else {}),
            **({"consent": {"marketing": random_number() < GIFTS}} if random_number() < ASKED_FOR_CONSENT else {}),
        }


def _properties(event: str, number: int) -> dict[str, Any]:
    product, amount, quantity = f"TEA-{number}", number + 0.95, number % 9 + 1
    bought = {"product_id": product, "name": "Earl Grey, 100 g", "price": amount, "currency": "EUR"}
    order = {"order_id": f"ORD-{number}", "revenue": amount, "currency": "EUR"}
    coupon = {} if number % 4 else {"coupon": "AUTUMN10"}
    return {
        "page": {"path": "/tea/earl-grey", "referrer": "search"},
        "Products Searched": {"query": "earl grey", "results": number},
        "Product Viewed": {**bought, "category": "Tea"},
        "Product Added": {**bought, "quantity": quantity},
        "Checkout Started": {"cart_value": amount, "items": quantity, "currency": "EUR"},
        "Order Completed": {**order, **coupon, "products": [{"product_id": product, "quantity": quantity}]},
    }[event]


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
