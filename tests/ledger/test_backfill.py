"""A backfill in parts, each with its own bookmark, that share one store."""

from __future__ import annotations

import pytest

from tests.singer import record, schema, state

SCHEMA = schema("orders", bookmark_properties=["at"])


def part(month):
    """Return the orders of a month, as a tap without a bookmark sends them."""
    days = [f"2025-{month:02}-{day:02}T00:00:00Z" for day in range(1, 29)]
    rows = [record("orders", {"event": "Order", "user_id": "u", "id": day, "at": day}) for day in days]
    return [SCHEMA, *rows, state(orders={"replication_key": "at", "replication_key_value": days[-1]})]


@pytest.fixture
def run_part(run_target):
    def run(month, **settings):
        outcome = run_target(part(month), object_type="event", field_mapping={"event_time": "at"}, **settings)
        return outcome.report["streams"]["orders"]["delivered"]

    return run


def test_a_part_that_is_repeated_after_later_ones_sends_nothing(run_part, statsig):
    for month in (1, 2, 3):
        assert run_part(month, dedupe_days=30) == 28
    assert run_part(1, dedupe_days=30) == 0
    assert len(statsig.state.events) == 3 * 28


def test_the_run_after_a_backfill_skips_what_it_delivered(run_part, statsig):
    for month in (1, 2):
        run_part(month, dedupe_days=30)
    assert run_part(2) == 0
    assert len(statsig.state.events) == 2 * 28
