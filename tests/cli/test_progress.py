"""While a run goes on, it says how far each stream is."""

from __future__ import annotations

import io
import re

import pytest

from target_statsig.reports import progress
from tests.singer import activate_version, record, schema, state, to_lines


@pytest.fixture(autouse=True)
def frequent_lines(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 1e-9)


def progress_of(outcome, stream):
    return re.findall(rf"target_statsig\.reports\.progress:progress\.py:\d+ {stream}: (.*)", outcome.log)


def test_event_streams_log_acknowledged_and_in_flight_records(run_target):
    orders = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(4)]
    messages = [schema("orders"), *orders, state(orders={})]
    outcome = run_target(
        io.BytesIO(to_lines(messages)), object_type="event", batch_size_rows=2, max_parallel_requests=1
    )
    lines = progress_of(outcome, "orders")
    assert "0 records, 0 acknowledged, 0 in flight, 0 retries" in lines
    assert any("2 in flight" in line for line in lines)
    assert outcome.exit_code == 0


def test_event_streams_log_skipped_and_rejected_records(run_target):
    settings = {"object_type": "event", "batch_size_rows": 1, "max_parallel_requests": 1}
    first, *others = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(20)]
    run_target([schema("orders"), first], **settings)
    messages = [schema("orders"), first, record("orders", {"event": "order"}), *others]
    outcome = run_target(io.BytesIO(to_lines(messages)), **settings)
    assert any("0 retries, 1 skipped, 1 rejected" in line for line in progress_of(outcome, "orders"))


def test_mirrors_log_staged_records_planned_changes_and_requests_left(run_target, statsig):
    statsig.state.seed_segment("vips", ["a", "b"])
    users = [record("users", {"user_id": name}, version=1) for name in "acdef"]
    settings = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror", "segment_batch_size": 2}
    messages = [schema("users"), *users, activate_version("users"), state(users={})]
    outcome = run_target(io.BytesIO(to_lines(messages)), **settings)
    lines = [re.sub(r" \([\d,]+/s\)", "", line) for line in progress_of(outcome, "users")]
    assert "5 records, 5 staged" in lines
    assert "5 records, 0 of 5 changes sent, 3 requests left, under 1 min" in lines
    assert "5 records, 2 of 5 changes sent, 2 requests left, under 1 min" in lines
    assert "5 records, 4 of 5 changes sent, 1 request left, under 1 min" in lines


@pytest.mark.usefixtures("waits_take_no_time")
def test_the_minutes_left_follow_the_rate_limits(run_target, statsig):
    statsig.state.seed_segment("vips", ["a"])
    users = [record("users", {"user_id": name}, version=1) for name in "abcd"]
    limits = {"segment_batch_size": 1, "console_rate_limits": "1/140s"}
    settings = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror", **limits}
    outcome = run_target([schema("users"), *users, activate_version("users"), state(users={})], **settings)
    lines = progress_of(outcome, "users")
    assert "4 records, 1 of 3 changes sent, 2 requests left, about 5 min" in lines
    assert "4 records, 2 of 3 changes sent, 1 request left, about 3 min" in lines


def test_a_mirror_without_changes_logs_zero_changes(run_target, statsig):
    streams = {}
    messages = []
    for name, ids in (("still", "ab"), ("users", "bc")):
        statsig.state.seed_segment(name, ["a", "b"])
        streams[name] = {"object_type": "segment", "segment_id": name, "sync_mode": "mirror"}
        messages.append(schema(name))
        messages += [record(name, {"user_id": user}, version=1) for user in ids]
        messages.append(activate_version(name))
    outcome = run_target([*messages, state(users={})], streams=streams)
    assert progress_of(outcome, "still")[-1] == "2 records, 0 of 0 changes sent, 0 requests left"


def test_added_rows_are_logged_as_staged(run_target, statsig):
    statsig.state.seed_segment("vips", [])
    users = [record("users", {"user_id": name}) for name in "abc"]
    settings = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add", "segment_batch_size": 2}
    outcome = run_target(io.BytesIO(to_lines([schema("users"), *users, state(users={})])), **settings)
    lines = [re.sub(r" \([\d,]+/s\)", "", line) for line in progress_of(outcome, "users")]
    assert "3 records, 3 staged" in lines
    assert outcome.exit_code == 0
