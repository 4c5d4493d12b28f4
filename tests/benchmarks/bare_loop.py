"""A contender, for comparison: a loop that is no target.

It has no validation, settings, retries or ledger; it has one thread, and the first error ends it.

    python -m tests.benchmarks.bare_loop EVENTS_URL KEY < input
"""

from __future__ import annotations

import gzip
import sys
from datetime import datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import msgspec

BATCH_ROWS = 500
GZIP_LEVEL = 1
ENCODER = msgspec.json.Encoder()


def main(events_url: str, key: str) -> None:
    url = urlsplit(events_url)
    connection = HTTPConnection(url.hostname, url.port)
    headers = {"statsig-api-key": key, "content-type": "application/json", "content-encoding": "gzip"}
    decode = msgspec.json.Decoder().decode
    events = []

    def send():
        body = gzip.compress(ENCODER.encode({"events": events}), GZIP_LEVEL)
        connection.request("POST", f"{url.path}/log_event", body, headers)
        response = connection.getresponse()
        answer = decode(response.read())
        if not answer["success"]:
            sys.exit(f"{response.status}")
        events.clear()

    for line in sys.stdin.buffer:
        message = decode(line)
        if message["type"] == "RECORD":
            events.append(to_event(message["record"]))
            if len(events) == BATCH_ROWS:
                send()
    if events:
        send()


def to_event(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "user": {"userID": record.pop("user_id")},
        "eventName": record.pop("event"),
        "time": int(datetime.fromisoformat(record.pop("event_time")).timestamp() * 1000),
        "value": record.pop("revenue"),
        "metadata": {name: as_text(value) for name, value in record.items() if value is not None},
    }


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ENCODER.encode(value).decode()


if __name__ == "__main__":
    main(*sys.argv[1:])
