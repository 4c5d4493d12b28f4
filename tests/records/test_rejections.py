"""Rejected records are logged with their share and sources, and a stream with no others fails."""

from __future__ import annotations

import logging

import pytest

from tests.singer import record, schema

EVENT = {"object_type": "event"}
ADD = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
TEXT = {"type": ["null", "string"]}
COLUMNS = {"USER_ID": TEXT, "event": TEXT}
NO_USER = {"event": "e", "USER_ID": "u"}


@pytest.fixture
def run(run_target, statsig):
    def run(messages, **settings):
        statsig.state.seed_segment("vips", [])
        return run_target(messages, **settings)

    return run


@pytest.mark.parametrize("dry_run", [False, True], ids=["a run", "a dry run"])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(
            {**EVENT, "field_mapping": {"user_id": "nope"}},
            "`user_id` is read from `nope`, which the stream does not have.",
            id="events",
        ),
        pytest.param(
            EVENT,
            "`user_id` is read from `user_id`, `userId` or `userID`, none of which the stream has (the nearest is "
            "`USER_ID`).",
            id="events by default",
        ),
        pytest.param(
            {"object_type": "exposure", "experiment_name": "x"},
            "`group` is read from `group`, `group_name` or `groupName`, none of which the stream has.",
            id="exposures",
        ),
        pytest.param(
            {"object_type": "metric", "metric_name": "m", "id_type": "custom_id", "custom_id_type": "companyID"},
            "`companyID` is read from the column of that name, which the stream does not have.",
            id="metrics",
        ),
        pytest.param(
            {**ADD, "field_mapping": {"user_id": "nope"}},
            "`user_id` is read from `nope`, which the stream does not have.",
            id="a segment",
        ),
        pytest.param(
            {**ADD, "field_mapping": {"user_id": "event"}, "membership_field": "active"},
            "`membership_field` is read from `active`, which the stream does not have.",
            id="a membership",
        ),
        pytest.param(
            {**ADD, "field_mapping": {"user_id": "event"}, "membership_field": "USER_ID"},
            "`membership_field` is read from `USER_ID`.",
            id="an invalid membership",
        ),
    ],
)
@pytest.mark.parametrize("count", [1, 5])
def test_a_stream_with_only_rejected_records_fails(run, statsig, settings, words, count, dry_run):
    outcome = run([schema("s", COLUMNS), *[record("s", NO_USER)] * count], **settings, dry_run=dry_run)
    assert outcome.exit_code == 1
    assert ("1 of 1 record was rejected" if count == 1 else "5 of 5 records were rejected") in outcome.errors
    assert words in outcome.errors
    assert statsig.state.events == []


@pytest.mark.parametrize("settings", [pytest.param(EVENT, id="events"), pytest.param(ADD, id="a segment")])
def test_a_column_that_breaks_its_schema_is_named(run, settings):
    outcome = run([schema("s", {"n": {"type": "integer"}}), record("s", {**NO_USER, "n": "one"})], **settings)
    assert "(schema_violation 1), so nothing of the stream was delivered. `n` does not fit the stream's SCHEMA." in (
        outcome.errors
    )
    assert "`n` is read" not in outcome.errors


def test_a_run_that_fails_does_not_claim_to_have_sent_all_other_records(run, statsig):
    statsig.faults.add(path="/v1/log_event", skip=1, status=401)
    good = [record("s", {"event": "e", "user_id": user}) for user in ("a", "b")]
    # Rejected before the key is, so that the failure cannot come first.
    bad = [record("s", {"event": "e"})] * 20
    outcome = run([schema("s"), *bad, *good], **EVENT, batch_size_rows=1, max_parallel_requests=1)
    assert outcome.report["error_codes"] == ["key_not_accepted", "too_many_rejected"]
    assert outcome.report["streams"]["s"]["not_sent"] > 0
    assert "were sent" not in outcome.errors


def test_a_stream_with_known_and_rejected_records_does_not_fail(run):
    good = record("s", {"event": "e", "user_id": "u"})
    assert run([schema("s"), good], **EVENT).exit_code == 0
    assert run([schema("s"), good, record("s", {"event": "e"})], **EVENT).exit_code == 0


def test_a_stream_with_deleted_rows_and_rejected_records_fails(run):
    deleted = record("s", {"event": "e", "user_id": "u", "_sdc_deleted_at": "2026-11-20"})
    assert run([schema("s"), deleted], **EVENT).exit_code == 0
    assert run([schema("s"), deleted, record("s", {"event": "e"})], **EVENT).exit_code == 1


def test_a_stream_does_not_fail_if_all_records_may_be_rejected(run):
    assert run([schema("s"), record("s", {"event": "e"})], **EVENT, max_rejected_percent=100).exit_code == 0


def test_a_rejected_record_is_one_error_if_none_may_be_rejected(run):
    outcome = run([schema("s"), record("s", {"event": "e"})], **EVENT, max_rejected_percent=0)
    assert len(outcome.report["errors"]) == 1


@pytest.mark.parametrize("dry_run", [False, True], ids=["a run", "a dry run"])
@pytest.mark.parametrize(
    ("good", "share"), [pytest.param(3, "25.0 %", id="many"), pytest.param(1_999, "under 0.1 %", id="few")]
)
def test_rejected_records_are_a_warning_with_their_share(run, caplog, good, share, dry_run):
    columns = {"user_id": TEXT, "event": TEXT}
    records = [record("s", {"event": "e", "user_id": f"u{number}"}) for number in range(good)]
    outcome = run(
        [schema("s", columns), *records, record("s", {"event": "e", "user_id": " "})], **EVENT, dry_run=dry_run
    )
    assert outcome.exit_code == 0
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert (
        f"Stream 's': 1 of {good + 1:,} records ({share}) were rejected (missing_identifier 1). `user_id` is read from "
        f"`user_id`, `userId` or `userID`." in warnings
    )
