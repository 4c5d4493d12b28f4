"""Events over several runs: what was delivered is not sent again, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.singer import record, schema, state

EVENT = {"object_type": "event"}


def order(number, second=None):
    return record(
        "orders",
        {"id": number, "event": "order", "user_id": f"u{number}", "at": f"2026-11-01T00:00:{second or number:02}Z"},
    )


def bookmark(second):
    value = f"2026-11-01T00:00:{second:02}Z"
    return state(orders={"replication_key": "at", "replication_key_value": value})


SCHEMA = schema("orders", bookmark_properties=["at"])


def sent(statsig):
    return sorted(event["metadata"]["id"] for event in statsig.state.events)


def test_three_runs_over_an_unchanged_table_send_nothing_after_the_first(run_target, statsig):
    source = [SCHEMA, *(order(n) for n in range(10)), bookmark(9)]
    assert run_target(source, **EVENT).report["streams"]["orders"]["delivered"] == 10
    for _ in range(2):
        # What an incremental tap sends again: the rows at its bookmark.
        outcome = run_target([SCHEMA, order(9), bookmark(9)], **EVENT)
        assert outcome.report["streams"]["orders"]["skipped_duplicates"] == 1
        assert outcome.report["streams"]["orders"]["delivered"] == 0
        assert outcome.states == [bookmark(9)["value"]]
    assert len(statsig.state.events) == 10


def test_a_run_that_died_before_its_state_is_repeated_without_doubling(run_target, statsig):
    rows = [order(n) for n in range(700)]
    statsig.faults.add(path="/v1/*", status=500, skip=1)
    first = run_target([SCHEMA, *rows, bookmark(9)], max_parallel_requests=1, **EVENT)
    assert (first.exit_code, first.states) == (1, [])
    statsig.faults.clear()
    second = run_target([SCHEMA, *rows, bookmark(9)], **EVENT)
    assert second.exit_code == 0
    assert second.report["streams"]["orders"]["skipped_duplicates"] == 500
    assert len(statsig.state.events) == 700


def test_two_identical_rows_are_two_events_in_every_run(run_target, statsig):
    run_target([SCHEMA, order(1), order(1), bookmark(1)], **EVENT)
    assert len(statsig.state.events) == 2
    outcome = run_target([SCHEMA, order(1), order(1), order(1), bookmark(1)], **EVENT)
    assert outcome.report["streams"]["orders"]["skipped_duplicates"] == 2
    assert len(statsig.state.events) == 3


def test_what_lies_below_the_bookmark_is_forgotten_one_state_late(run_target, statsig):
    run_target([SCHEMA, order(1), bookmark(1)], **EVENT)
    run_target([SCHEMA, order(1), order(2), bookmark(2)], **EVENT)
    assert run_target([SCHEMA, order(1), bookmark(2)], **EVENT).report["streams"]["orders"]["skipped_duplicates"] == 1
    run_target([SCHEMA, order(3), bookmark(3)], **EVENT)
    run_target([SCHEMA, order(4), bookmark(4)], **EVENT)
    outcome = run_target([SCHEMA, order(1), bookmark(4)], **EVENT)
    assert outcome.report["streams"]["orders"]["delivered"] == 1


def test_dedupe_days_remembers_a_full_table_of_events(run_target, statsig):
    source = [schema("orders"), *(order(n) for n in range(5)), state(orders={})]
    for _ in range(4):
        run_target(source, dedupe_days=30, **EVENT)
    assert len(statsig.state.events) == 5


def test_without_dedupe_no_store_is_made(run_target, statsig):
    run_target([SCHEMA, order(1), bookmark(1)], dedupe=False, **EVENT)
    assert not (run_target.directory / "store.db").exists()


def test_the_same_run_skips_nothing_that_it_sent_itself(run_target, statsig):
    run_target([SCHEMA, *[order(1)] * 1200, bookmark(1)], **EVENT)
    assert len(statsig.state.events) == 1200


def test_a_lost_answer_is_retried_and_counted(run_target, statsig):
    statsig.faults.add(path="/v1/*", drop=True, taken=True, times=1)
    outcome = run_target([SCHEMA, order(1), order(2), bookmark(2)], retry_timeout=60, **EVENT)
    assert outcome.exit_code == 0
    assert outcome.report["streams"]["orders"]["maybe_duplicated"] == 2
    assert len(statsig.state.events) == 4


def test_a_lost_answer_before_the_run_died_is_admitted_by_the_next_run(run_target, statsig):
    statsig.faults.add(path="/v1/*", drop=True, taken=True)
    first = run_target([SCHEMA, order(1), order(2), bookmark(2)], **EVENT)
    assert (first.exit_code, first.states) == (1, [])
    statsig.faults.clear()
    second = run_target([SCHEMA, order(1), order(2), bookmark(2)], **EVENT)
    counts = second.report["streams"]["orders"]
    assert (counts["delivered"], counts["maybe_duplicated"]) == (2, 2)


@pytest.mark.parametrize("changed", [{"_sdc_batched_at": "now"}, {"_sdc_extracted_at": "later"}])
def test_columns_of_the_transport_do_not_make_another_event(run_target, statsig, changed):
    run_target([SCHEMA, order(1), bookmark(1)], **EVENT)
    again = order(1)
    again["record"] |= changed
    again["time_extracted"] = "2026-11-22T00:00:00Z"
    run_target([SCHEMA, again, bookmark(1)], **EVENT)
    assert len(statsig.state.events) == 1
