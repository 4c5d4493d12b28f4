"""Two runs of one stream at once: the second sends nothing, and a run that lost its lock sends nothing more."""

from __future__ import annotations

import pytest

from tests.singer import record, schema, state

SCHEMA = schema("orders", bookmark_properties=["at"])
ORDERS = {"object_type": "event", "batch_size_rows": 2, "max_parallel_requests": 1}

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("waits_take_no_time")]


def rows(*numbers, stream="orders"):
    at = "2026-11-01T00:00:{:02}Z"
    return [record(stream, {"event": "order", "user_id": f"u{number}", "at": at.format(number)}) for number in numbers]


def bookmark(number):
    return state(orders={"replication_key": "at", "replication_key_value": f"2026-11-01T00:00:{number:02}Z"})


@pytest.fixture
def first(command):
    """Start a run in another process that has sent two rows, and waits for more."""
    running = command.start_with(**ORDERS)
    running.write([SCHEMA, *rows(1, 2), bookmark(2)])
    running.stdout.wait_for("bookmarks")
    return running


def test_a_second_run_of_a_stream_is_refused_and_doubles_nothing(first, run_target, statsig):
    second = run_target([SCHEMA, *rows(1, 2, 3), bookmark(3)], **ORDERS)
    assert (second.exit_code, second.states) == (1, [])
    assert "Another run is sending the stream: Stream 'orders' is being synced by another run" in second.errors
    assert f"process {first.pid} on " in second.errors
    assert ", since 20" in second.errors

    first.end_input()
    assert first.finish().exit_code == 0
    third = run_target([SCHEMA, *rows(2, 3), bookmark(3)], **ORDERS)
    assert third.exit_code == 0
    assert [event["user"]["userID"] for event in statsig.state.events] == ["u1", "u2", "u3"]


def test_a_killed_run_does_not_block_the_next(first, run_target, statsig):
    first.kill()
    assert run_target([SCHEMA, *rows(2, 3), bookmark(3)], **ORDERS).exit_code == 0
    assert len(statsig.state.events) == 3


@pytest.mark.parametrize(
    ("stream", "settings"),
    [
        pytest.param("refunds", {}, id="another stream"),
        pytest.param("orders", {"console_api_key": "console-of-another"}, id="another project"),
        pytest.param("orders", {"dedupe": False}, id="without dedupe"),
    ],
)
def test_an_unrelated_run_does_not_wait(first, run_target, statsig, stream, settings):
    outcome = run_target([schema(stream), *rows(3, stream=stream)], **ORDERS, **settings)
    assert outcome.errors == ""
    assert len(statsig.state.events) == 3


def lose_locks(directory):
    for path in directory.glob("*.lock"):
        path.unlink()


def test_a_run_that_lost_its_lock_sends_nothing_more(run_target, statsig):
    statsig.faults.add(when=lambda _: lose_locks(run_target.directory))
    outcome = run_target([SCHEMA, *rows(1, 2), bookmark(2), *rows(3, 4), bookmark(4)], **ORDERS)
    assert outcome.exit_code == 1
    assert "Stream 'orders' is no longer locked for this run" in outcome.errors
    assert outcome.states == [bookmark(2)["value"]]
    assert len(statsig.state.events) == 2


def test_a_run_that_lost_its_lock_does_not_retry(run_target, statsig):
    statsig.faults.add(when=lambda _: lose_locks(run_target.directory) or True, status=503)
    outcome = run_target([SCHEMA, *rows(1, 2), bookmark(2)], **ORDERS, retry_timeout=60)
    assert outcome.exit_code == 1
    assert "is no longer locked for this run" in outcome.errors
    assert len(statsig.state.requests) == 1
