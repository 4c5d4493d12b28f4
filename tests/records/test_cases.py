"""Inputs that were once handled wrongly: what arrives, how the run ends, and what its log says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ALSO_IN_A_WORKER = True

CASES = Path(__file__).parents[1] / "data" / "cases"


@pytest.fixture
def replay(run_target, statsig):
    """Run the target on files, one after the other with one store, and return the last outcome."""

    def run(name, *parts):
        before = CASES / f"{name}.segment.txt"
        if before.exists():
            statsig.state.seed_segment("seg", before.read_text().split())
        settings = json.loads((CASES / f"{name}.json").read_text())
        outcomes = [run_target((CASES / f"{part}.singer").read_bytes().splitlines(True), **settings) for part in parts]
        assert {outcome.exit_code for outcome in outcomes} == {0}
        return outcomes[-1]

    return run


@pytest.mark.parametrize(
    ("name", "parts", "words"),
    [
        pytest.param(
            "01-resumed-full-table",
            ["01-resumed-full-table-run1", "01-resumed-full-table-run2"],
            "the tap resumed it",
            id="a full table that is interrupted and resumed",
        ),
        pytest.param(
            "13-state-on-another-cadence",
            ["13-state-on-another-cadence"],
            "no ACTIVATE_VERSION came after its last record",
            id="a STATE every 100 records, and the tap died after the first",
        ),
    ],
)
def test_an_interrupted_tap_removes_nobody(replay, statsig, name, parts, words):
    outcome = replay(name, *parts)
    assert statsig.state.ids("seg") == set((CASES / f"{name}.segment.txt").read_text().split())
    assert words in outcome.log


@pytest.mark.parametrize(
    ("settings", "count"),
    [pytest.param({}, 2, id="skipped"), pytest.param({"deleted_rows": "send"}, 3, id="sent")],
)
def test_a_deleted_row_is_no_event(run_target, statsig, settings, count):
    lines = (CASES / "02-deleted-row-is-an-event.singer").read_bytes().splitlines(True)
    config = json.loads((CASES / "02-deleted-row-is-an-event.json").read_text())
    outcome = run_target(lines, **config, **settings)
    assert (outcome.exit_code, len(statsig.state.events)) == (0, count)
    counts = outcome.report["streams"]["shop-orders"]
    assert (counts["deleted_row"], counts["rejected"], counts["records"]) == (3 - count, 0, 3)
    assert ("1 of deleted rows, not sent" in outcome.log) is (count == 2)
    assert outcome.log.count("`deleted_rows`") == 3 - count


def test_a_deleted_row_does_not_use_up_a_known_delivery(run_target, statsig):
    lines = (CASES / "02-deleted-row-is-an-event.singer").read_bytes().splitlines(True)
    config = json.loads((CASES / "02-deleted-row-is-an-event.json").read_text())
    run_target(lines, **config)
    schema, first, second, deleted = lines[:4]
    outcome = run_target([schema, deleted, first, second], **config)
    assert len(statsig.state.events) == 2
    assert outcome.report["streams"]["shop-orders"]["skipped_duplicates"] == 2


def test_a_row_that_tap_mssql_marks_as_deleted_is_no_member(replay, statsig):
    replay("05-mssql-delete-marker", "05-mssql-delete-marker")
    ids = statsig.state.ids("seg")
    assert "gone" not in ids
    assert "new" in ids


def test_integers_can_be_dates(replay, statsig):
    replay("06-integer-date-key", "06-integer-date-key")
    day = 1_795_132_800_000
    assert [event["time"] for event in statsig.state.events] == [day, day, day + 34_200_000]


def test_placeholder_dates_are_sent_with_a_warning(replay, statsig):
    outcome = replay("07-sentinel-dates-no-warning", "07-sentinel-dates-no-warning")
    assert len(statsig.state.events) == 4
    assert outcome.report["streams"]["ev"]["placeholder_times"] == 3
    assert "3 with a time before 2000 or after 2100" in outcome.log
    assert outcome.log.count("there are records with a time before 2000 or after 2100") == 1


@pytest.mark.parametrize(
    ("name", "arrived", "exit_code", "logged"),
    [
        pytest.param("03-numeric-column-draft-4", 1, 0, [], id="a SCHEMA of draft 4 that does not name it"),
        pytest.param("04-schema-without-properties", 1, 0, [], id="a SCHEMA without properties"),
        pytest.param("08-state-is-a-text", 1, 0, [], id="a STATE that is a text"),
        pytest.param(
            "09a-drops-key",
            0,
            1,
            ["Removing key property 'id' is not permitted in 'ev' stream map config"],
            id="a stream map that drops a key property",
        ),
        pytest.param(
            "09b-syntax", 0, 1, ["Failed to parse expression record['a'."], id="a stream map with a syntax error"
        ),
        pytest.param(
            "09d-filter-syntax", 0, 1, ["Failed to parse expression record[."], id="a filter with a syntax error"
        ),
        pytest.param("10-long-stream-name", 1, 0, ["1 rejected record is in"], id="a stream of 300 characters"),
        pytest.param("11-key-properties-text", 12, 0, [], id="key properties that are a text"),
    ],
)
def test_an_odd_input_sends_the_expected_events(run_target, statsig, name, arrived, exit_code, logged):
    lines = (CASES / f"{name}.singer").read_bytes().splitlines(True)
    outcome = run_target(lines, **json.loads((CASES / f"{name}.json").read_text()))
    assert (len(statsig.state.events), outcome.exit_code) == (arrived, exit_code)
    states = [json.loads(line) for line in lines if b'"STATE"' in line] if exit_code == 0 else []
    assert outcome.states == [state["value"] for state in states]
    assert [words for words in logged if words not in outcome.log] == []
    assert ("The configuration cannot be used: stream 'ev': " in outcome.log) is (exit_code == 1)
    assert "bug in target-statsig" not in outcome.log


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("09f-else-is-a-word", "Undefined transform for '__else__'' case: drop.", id="`__else__`"),
        pytest.param("09g-maps-is-a-list", "`stream_maps` must be an object.", id="a list"),
    ],
)
def test_unreadable_stream_maps_fail_before_any_input_is_read(command, statsig, name, words):
    settings = json.loads((CASES / f"{name}.json").read_text())
    finished = command((CASES / f"{name}.singer").read_bytes().splitlines(True), **settings)
    assert finished.exit_code == 1
    assert finished.errors[0].startswith("The configuration cannot be used. ")
    assert words in finished.errors[1]
    assert statsig.state.requests == []
