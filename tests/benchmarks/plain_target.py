"""A contender: a singer-sdk target as one writes it in an afternoon, everything at its default.

python -m tests.benchmarks.plain_target --config config.json < input
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import requests
from singer_sdk import BatchSink, Target
from singer_sdk import typing as th

TIMEOUT = 30.0


class PlainSink(BatchSink):
    """Sends batches of 500 events over one connection that is kept alive."""

    max_size = 500

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.url = f"{self.config['events_url']}/log_event"
        self.session = requests.Session()
        self.session.headers["statsig-api-key"] = self.config["server_secret_key"]

    def process_batch(self, context: dict[str, Any]) -> None:
        events = [to_event(record) for record in context["records"]]
        response = self.session.post(self.url, json={"events": events}, timeout=TIMEOUT)
        response.raise_for_status()


class PlainTarget(Target):
    """The target around it."""

    name = "target-plain"
    config_jsonschema = th.PropertiesList(
        th.Property("events_url", th.StringType, required=True),
        th.Property("server_secret_key", th.StringType, required=True, secret=True),
    ).to_dict()
    default_sink_class = PlainSink


def to_event(record: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a record, whose times singer-sdk has parsed and whose numbers it read as decimals."""
    rest = dict(record)
    return {
        "user": {"userID": rest.pop("user_id")},
        "eventName": rest.pop("event"),
        "time": int(rest.pop("event_time").timestamp() * 1000),
        "value": float(rest.pop("revenue")),
        "metadata": {name: as_text(value) for name, value in rest.items() if value is not None},
    }


def as_text(value: object) -> str:
    """Return a metadata value: Statsig takes only strings."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    PlainTarget.cli()
