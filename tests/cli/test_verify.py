"""`--verify` asks Statsig for each name that the last run delivered, and tells whether Statsig has it."""

from __future__ import annotations

import json
import time

import pytest

from target_statsig.commands.verify import (
    ARRIVES_WITHIN,
    DAY,
    MOST_ASKED,
    WEEK,
    Found,
    NameType,
    SentName,
    judge,
    verify,
)
from tests.fakes import FakeClock
from tests.singer import record, schema

EVENT = {"object_type": "event"}
EVENTS = "/console/v1/events/"
COUNT = "/console/v1/exposure_count"
NO_EVENTS = '{"message": "", "data": [], "pagination": {"itemsPerPage": 1000, "pageNumber": 1, "totalItems": 0}}'


def orders(*names, at="2026-11-01T00:00:00Z"):
    fields = [{"user_id": f"u{number}", "event": name, "timestamp": at} for number, name in enumerate(names)]
    return [schema("orders"), *(record("orders", each) for each in fields)]


@pytest.fixture
def verify_last_run(run_target):
    """Verify the last run, `later` seconds from now, and return what was found of each name.

    The whole result is `verify_last_run.last`, its text `verify_last_run.text`.
    """

    def run(later=0.0, **settings):
        config = run_target.parsed_config(**EVENT, **settings)
        clock = FakeClock()
        clock.now = time.time() + later
        run.last = verify(config.settings, clock)
        run.text = run.last.as_text()
        return {each.name: each.found for each in run.last.names}

    return run


def verify_requests(statsig):
    return [entry for entry in statsig.state.requests if entry.path.startswith((EVENTS, COUNT))]


def test_event_names_that_statsig_lists_are_seen(run_target, statsig, verify_last_run):
    run_target(orders("order", "order", "Plan Upgraded"), **EVENT)
    assert verify_last_run() == {"order": Found.SEEN, "Plan Upgraded": Found.SEEN}
    assert verify_last_run.last.is_good
    assert [entry.path for entry in verify_requests(statsig)] == [EVENTS + "order", EVENTS + "Plan%20Upgraded"]
    assert verify_last_run.text.splitlines()[1:] == [
        "  name           of     found  sent  in Statsig",
        "  order          event  seen      2           2",
        "  Plan Upgraded  event  seen      1           1",
        "All 2 names seen.",
    ]


@pytest.mark.parametrize("answer", [{"body": NO_EVENTS}, {"status": 404, "body": '{"message": "Event not found"}'}])
def test_an_unlisted_event_is_waiting_and_later_perhaps_dropped(run_target, statsig, verify_last_run, answer):
    run_target(orders("order", "late"), **EVENT)
    statsig.faults.add(path=EVENTS + "late", **answer)
    assert verify_last_run() == {"order": Found.SEEN, "late": Found.WAITING}
    assert verify_last_run.last.is_good
    assert verify_last_run(ARRIVES_WITHIN + 60) == {"order": Found.SEEN, "late": Found.PERHAPS_DROPPED}
    assert not verify_last_run.last.is_good
    assert "`environment_tier`" in verify_last_run.text


def test_events_of_earlier_runs_do_not_count(run_target, statsig, verify_last_run):
    run_target(orders("order", at="2026-11-01T00:00:00Z"), **EVENT, dedupe=False)
    listed = statsig.state.events[:]
    run_target(orders("order", at="2026-11-02T00:00:00Z"), **EVENT)
    assert verify_last_run() == {"order": Found.SEEN}
    old = json.dumps({"data": [{"timestamp": str(event["time"])} for event in listed]})
    statsig.faults.add(path=EVENTS + "order", body=old)
    assert verify_last_run() == {"order": Found.WAITING}


def test_an_event_with_an_unreadable_time_counts_as_seen(run_target, statsig, verify_last_run):
    run_target(orders("order"), **EVENT)
    statsig.faults.add(path=EVENTS + "order", body='{"data": [{"timestamp": "lately"}, {"name": "order"}]}')
    assert verify_last_run() == {"order": Found.SEEN}


def test_the_last_run_that_delivered_something_is_verified(run_target, verify_last_run):
    run_target(orders("first"), **EVENT)
    run_target(orders("first", "second"), **EVENT)
    run_target(orders("first", "second"), **EVENT)
    assert verify_last_run() == {"second": Found.SEEN}


def test_without_delivered_events_there_is_nothing_to_verify(run_target, statsig, verify_last_run):
    assert verify_last_run() == {}
    run_target(orders(""), **EVENT)
    assert verify_last_run() == {}
    assert verify_last_run.last.is_good
    assert "No remembered run with this `console_api_key` delivered anything" in verify_last_run.text
    assert verify_requests(statsig) == []


def test_the_hundred_most_frequent_names_are_asked_for(run_target, statsig, verify_last_run):
    run_target(orders(*(f"name {number}" for number in range(MOST_ASKED + 5)), "often", "often"), **EVENT)
    found = verify_last_run()
    assert len(verify_requests(statsig)) == MOST_ASKED
    assert found["often"] is Found.SEEN
    assert [*found.values()].count(Found.NOT_ASKED) == 6
    assert "6 of 106 names not asked for" in verify_last_run.text


def test_names_with_special_characters_are_seen(run_target, statsig, verify_last_run):
    run_target(orders("a/b", "é?"), **EVENT)
    assert verify_last_run() == {"a/b": Found.SEEN, "é?": Found.SEEN}


def test_no_names_are_asked_for_after_the_time_limit(run_target, statsig, verify_last_run, monkeypatch):
    run_target(orders("a", "b", "c"), **EVENT)
    monkeypatch.setattr("target_statsig.commands.verify.ALL_SECONDS", 0.0)
    assert set(verify_last_run().values()) == {Found.NOT_ASKED}
    assert verify_requests(statsig) == []


def test_an_error_response_ends_the_requests(run_target, statsig, verify_last_run):
    run_target(orders("a", "b", "c"), **EVENT)
    statsig.faults.add(path=EVENTS + "b", status=400, body='{"message": "Not this one"}')
    assert verify_last_run() == {"a": Found.SEEN, "b": Found.NOT_ASKED, "c": Found.NOT_ASKED}
    assert not verify_last_run.last.is_good
    assert "Not this one" in verify_last_run.text


def test_metric_streams_are_listed_as_not_verifiable(run_target, statsig, verify_last_run):
    metric = {"user_id": "u1", "metric_name": "m", "metric_value": 1, "id_type": "user_id"}
    messages = [schema("daily"), record("daily", metric), record("daily", metric | {"user_id": "u2"})]
    run_target([*messages, schema("weekly"), record("weekly", metric)], object_type="metric")
    assert verify_last_run() == {}
    assert verify_last_run.last.is_good
    assert verify_last_run.last.not_verifiable == {"daily": 2, "weekly": 1}
    where = (
        "Statsig has no endpoint that lists values of metrics. Check its console at Metrics > Metrics Catalog > "
        "Metrics Logstream."
    )
    assert verify_last_run.text.splitlines()[1:] == [f"  daily: 2 metrics. {where}", f"  weekly: 1 metric. {where}"]
    assert verify_requests(statsig) == []


def exposures(*subjects):
    fields = [{"user_id": f"u{number}", "group": "a", **subject} for number, subject in enumerate(subjects)]
    return [schema("seen"), *(record("seen", each) for each in fields)]


EXPERIMENT = {"experiment_name": "checkout"}
GATE = {"gate_name": "checkout", "passes": True}
EXPOSURE = {"object_type": "exposure"}


def test_exposures_of_experiments_and_gates_are_counted_apart(run_target, statsig, verify_last_run):
    run_target(exposures(EXPERIMENT, EXPERIMENT, EXPERIMENT, GATE, {**GATE, "passes": False}), **EXPOSURE)
    verify_last_run()
    assert verify_last_run.last.is_good
    assert verify_last_run.text.splitlines()[1:] == [
        "  name      of          found  sent  in Statsig",
        "  checkout  experiment  seen      3           3",
        "  checkout  gate        seen      2           2",
        "All 2 names seen.",
    ]
    assert [entry.path for entry in verify_requests(statsig)] == [COUNT, COUNT]


def exposure_counts(day, week, name="checkout"):
    """Return Statsig's exposure counts of an experiment."""
    count = {"id": name, "pastDay": day, "past7Days": week}
    return {"body": json.dumps({"message": "", "data": {"experiments": [count], "gates": [], "dynamicConfigs": []}})}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(exposure_counts(2, 2), id="fewer than were sent"),
        pytest.param(exposure_counts(0, 9), id="only on earlier days"),
        pytest.param(exposure_counts(9, 9, "another"), id="another experiment"),
        pytest.param({"body": '{"data": {}}'}, id="no counts"),
        pytest.param({"status": 404, "body": '{"message": "Experiment not found"}'}, id="an unknown name"),
    ],
)
def test_uncounted_exposures_are_waiting_and_later_perhaps_dropped(run_target, statsig, verify_last_run, answer):
    run_target(exposures(EXPERIMENT, EXPERIMENT, EXPERIMENT), **EXPOSURE)
    statsig.faults.add(path=COUNT, **answer)
    assert verify_last_run() == {"checkout": Found.WAITING}
    assert verify_last_run.last.is_good
    assert verify_last_run(ARRIVES_WITHIN + 60) == {"checkout": Found.PERHAPS_DROPPED}
    assert not verify_last_run.last.is_good
    assert "Check that an experiment or a gate of that name exists" in verify_last_run.text


@pytest.mark.parametrize(
    ("later", "found"),
    [
        pytest.param(DAY - 60, Found.PERHAPS_DROPPED, id="within a day"),
        pytest.param(DAY + 60, Found.SEEN, id="within a week"),
        pytest.param(WEEK + 60, Found.NOT_ASKED, id="longer ago than Statsig counts"),
    ],
)
def test_exposures_are_counted_over_the_day_or_week_of_the_run(run_target, statsig, verify_last_run, later, found):
    run_target(exposures(EXPERIMENT), **EXPOSURE)
    statsig.faults.add(path=COUNT, **exposure_counts(0, 1))
    assert verify_last_run(later) == {"checkout": found}
    assert len(verify_requests(statsig)) == (found is not Found.NOT_ASKED)


def test_events_and_exposures_share_the_limit_of_names(run_target, verify_last_run):
    names = [record("orders", {"user_id": "u1", "event": f"name {number}"}) for number in range(MOST_ASKED)]
    streams = {"orders": EVENT, "seen": EXPOSURE}
    run_target([schema("orders"), *names, *exposures(EXPERIMENT, EXPERIMENT)], streams=streams)
    found = verify_last_run()
    assert found["checkout"] is Found.SEEN
    assert [*found.values()].count(Found.NOT_ASKED) == 1


def test_verifying_changes_nothing(run_target, statsig, verify_last_run, tmp_path):
    run_target(orders("order"), **EVENT)
    before = (tmp_path / "store.db").read_bytes()
    verify_last_run()
    assert (tmp_path / "store.db").read_bytes() == before
    assert {entry.method for entry in verify_requests(statsig)} == {"GET"}


@pytest.mark.parametrize(
    ("type_", "recent", "age", "found"),
    [
        (NameType.EVENT, 1, 0.0, Found.SEEN),
        (NameType.EVENT, 1, 1e6, Found.SEEN),
        (NameType.EVENT, 0, ARRIVES_WITHIN - 1, Found.WAITING),
        (NameType.EVENT, 0, ARRIVES_WITHIN, Found.PERHAPS_DROPPED),
        (NameType.EXPERIMENT, 2, 1e6, Found.SEEN),
        (NameType.GATE, 1, ARRIVES_WITHIN - 1, Found.WAITING),
        (NameType.GATE, 1, ARRIVES_WITHIN, Found.PERHAPS_DROPPED),
        (NameType.GATE, None, 0.0, Found.NOT_ASKED),
    ],
)
def test_a_name_is_judged_by_its_recent_count_and_the_run_s_age(type_, recent, age, found):
    assert judge(SentName("a", type_, sent=2), recent, age) is found


# The command


def test_the_command_ends_with_0_while_events_are_waiting(run_target, command, statsig):
    run_target(orders("order", "late"), **EVENT)
    config = command.config_file(**EVENT)
    statsig.faults.add(path=EVENTS + "late", body=NO_EVENTS)
    done = command.process("--config", config, "--verify")
    assert done.exit_code == 0
    assert "  late   event  waiting     1           0\n" in done.stdout
    printed = json.loads(command.run("--config", config, "--verify", "--json").stdout)
    assert printed["names"][1] == {"name": "late", "type": "event", "sent": 1, "found": "waiting", "recent": 0}


@pytest.mark.parametrize(
    ("settings", "messages", "path", "status"),
    [
        pytest.param(EVENT, orders("order"), EVENTS + "*", 401, id="events"),
        pytest.param(EXPOSURE, exposures(EXPERIMENT), COUNT, 403, id="exposures"),
    ],
)
def test_the_command_ends_with_1_when_the_key_is_refused(
    run_target, command, statsig, settings, messages, path, status
):
    run_target(messages, **settings)
    statsig.faults.add(path=path, status=status)
    done = command.run("--config", command.config_file(**settings), "--verify")
    assert done.exit_code == 1
    assert "Not all names were asked for. Statsig does not accept the key: " in done.stdout
    assert "not asked" in done.stdout


def test_the_command_ends_with_1_without_a_console_key(run_target, command):
    run_target(orders("order"), **EVENT, console_api_key=None)
    done = command.run("--config", command.config_file(**EVENT, console_api_key=None), "--verify")
    assert done.exit_code == 1
    assert "Set `console_api_key`" in done.errors[1]
