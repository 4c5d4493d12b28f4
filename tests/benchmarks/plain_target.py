"""A contender: a simple singer-sdk target with everything at its default.

python -m tests.benchmarks.plain_target --config config.json < input
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import requests
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th

TIMEOUT = 30.0

RETAIL_NAMES = {
    "page": "page_view",
    "Products Searched": "search",
    "Product Viewed": "view_item",
    "Product Added": "add_to_cart",
    "Checkout Started": "begin_checkout",
    "Order Completed": "purchase",
}


class PlainSink(BatchSink):
    """Sends batches of 500 events over one connection."""

    max_size = 500

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.url = f"{self.config['events_url']}/log_event"
        self.session = requests.Session()
        self.session.headers["statsig-api-key"] = self.config["server_secret_key"]
        self.to_event = tracked_event if self.config["tracking"] else row_event

    def process_batch(self, context: dict[str, Any]) -> None:
        events = [self.to_event(record) for record in context["records"]]
        response = self.session.post(self.url, json={"events": events}, timeout=TIMEOUT)
        response.raise_for_status()


class PlainTarget(Target):
    """The target of the sink."""

    name = "target-plain"
    config_jsonschema = th.PropertiesList(
        th.Property("events_url", th.StringType, required=True),
        th.Property("server_secret_key", th.StringType, required=True, secret=True),
        th.Property("tracking", th.BooleanType, default=False),
    ).to_dict()
    default_sink_class = PlainSink


def row_event(record: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a row; singer-sdk has parsed its times, and its numbers as decimals."""
    rest = dict(record)
    return {
        "user": {"userID": rest.pop("user_id")},
        "eventName": rest.pop("event"),
        "time": int(rest.pop("event_time").timestamp() * 1000),
        "value": float(rest.pop("revenue")),
        "metadata": {name: as_text(value) for name, value in rest.items() if value is not None},
    }


def tracked_event(record: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a tracking record, in which any column may be missing."""
    context, traits, consent = (record.get(name) or {} for name in ("context", "traits", "consent"))
    properties = dict(record.get("properties") or {})
    revenue = properties.pop("revenue", None)
    user = {
        "userID": record.get("user_id"),
        "email": traits.get("email"),
        "ip": context.get("ip"),
        "userAgent": context.get("user_agent"),
        "locale": context.get("locale"),
        "country": (context.get("location") or {}).get("country"),
        "appVersion": (context.get("app") or {}).get("version"),
    }
    user = {name: value for name, value in user.items() if value is not None}
    if record.get("anonymous_id") is not None:
        user["customIDs"] = {"stableID": record["anonymous_id"]}
    if consent.get("marketing") is not None:
        user["custom"] = {"marketing_consent": "granted" if consent["marketing"] else "denied"}
    rest = {"message_id": record.get("message_id"), "channel": record.get("channel"), **properties}
    event = {
        "user": user,
        "eventName": RETAIL_NAMES.get(record["event"], record["event"]),
        "time": int(record["timestamp"].timestamp() * 1000),
        "metadata": {name: as_text(value) for name, value in rest.items() if value is not None},
    }
    return event if revenue is None else {**event, "value": float(revenue)}


def as_text(value: object) -> str:
    """Return a metadata value: Statsig takes only strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), default=float)
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    PlainTarget.cli()
