"""A contender: a script with Statsig's own server SDK, which is written in Rust.

It does not validate the messages, and cannot set the time of an event.

    python -m tests.benchmarks.rust_sdk EVENTS_URL KEY < input
"""

from __future__ import annotations

import sys

import msgspec
from statsig_python_core import Statsig, StatsigOptions, StatsigUser

from tests.benchmarks.bare_loop import as_text

PENDING_BATCHES = 1_000
"""The SDK drops events when more batches than this wait; a slow server exceeds its default."""


def main(events_url: str, key: str) -> None:
    options = StatsigOptions(
        log_event_url=f"{events_url}/log_event",
        event_logging_max_pending_batch_queue_size=PENDING_BATCHES,
        output_log_level="none",
    )
    # Not `initialize()`d, which would fetch gates; events are sent without.
    statsig = Statsig(key, options)
    decode = msgspec.json.Decoder().decode
    for line in sys.stdin.buffer:
        message = decode(line)
        if message["type"] != "RECORD":
            continue
        record = message["record"]
        record.pop("event_time")
        user = StatsigUser(record.pop("user_id"))
        name, value = record.pop("event"), record.pop("revenue")
        metadata = {name: as_text(value) for name, value in record.items() if value is not None}
        statsig.log_event(user, name, value, metadata)
    statsig.flush_events().wait()
    statsig.shutdown().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
