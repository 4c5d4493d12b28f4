"""`--verify` asks Statsig for each name that the last run delivered, and says what became of them."""

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
from target_statsig.config.parse import parse_config
from target_statsig.config.settings import config_schema
from target_statsig.errors import SettingsError
from tests.fakes import FakeClock
from tests.singer import record, schema

EVENT = {"object_type": "event"}
EVENTS = "/console/v1/events/"
COUNT = "/console/v1/exposure_count"
NONE = '{"message": "", "data": [], "pagination": {"itemsPerPage": 1000, "pageNumber": 1, "totalItems": 0}}'


def orders(*names, at="2026-11-01T00:00:00Z"):
    fields = [{"user_id": f"u{number}", "event": name, "timestamp": at} for number, name in enumerate(names)]
    return [schema("orders"), *(record("orders", each) for each in fields)]


@pytest.fixture
def asked(run_target):
    """Verify the last run, so many seconds from now, and return what became of each name; the whole is `asked.last`."""

    def run(later=0.0, **settings):
        config = parse_config(run_target.config(**EVENT, **settings), config_schema())
        clock = FakeClock()
        clock.now = time.time() + later
        run.last = verify(config.settings, clock)
        run.text = run.last.as_text()
        return {each.name: each.found for each in run.last.names}

    return run


def entries(statsig):
    return [entry for entry in statsig.state.requests if entry.path.startswith((EVENTS, COUNT))]


def test_names_that_statsig_lists_are_seen(run_target, statsig, asked):
    run_target(orders("order", "order", "Plan Upgraded"), **EVENT)
    assert asked() == {"order": Found.SEEN, "Plan Upgraded": Found.SEEN}
    assert asked.last.is_good
    assert [entry.path for entry in entries(statsig)] == [EVENTS + "order", EVENTS + "Plan%20Upgraded"]
    assert asked.text.splitlines()[1:] == [
        "  name           of     found  sent  in Statsig",
        "  order          event  seen      2           2",
        "  Plan Upgraded  event  seen      1           1",
        "All 2 names seen.",
    ]


@pytest.mark.parametrize("answer", [{"body": NONE}, {"status": 404, "body": '{"message": "Event not found"}'}])
def test_a_name_that_is_not_listed_waits_for_some_minutes_and_is_perhaps_dropped_then(
    run_target, statsig, asked, answer
):
    run_target(orders("order", "late"), **EVENT)
    statsig.faults.add(path=EVENTS + "late", **answer)
    assert asked() == {"order": Found.SEEN, "late": Found.WAITING}
    assert asked.last.is_good
    assert asked(ARRIVES_WITHIN + 60) == {"order": Found.SEEN, "late": Found.PERHAPS_DROPPED}
    assert not asked.last.is_good
    assert "`environment_tier`" in asked.text


def test_events_from_before_those_of_the_run_are_not_its_own(run_target, statsig, asked):
    run_target(orders("order", at="2026-11-01T00:00:00Z"), **EVENT, dedupe=False)
    listed = statsig.state.events[:]
    run_target(orders("order", at="2026-11-02T00:00:00Z"), **EVENT)
    assert asked() == {"order": Found.SEEN}
    old = json.dumps({"data": [{"timestamp": str(event["time"])} for event in listed]})
    statsig.faults.add(path=EVENTS + "order", body=old)
    assert asked() == {"order": Found.WAITING}


def test_a_time_that_cannot_be_read_counts_as_seen(run_target, statsig, asked):
    run_target(orders("order"), **EVENT)
    statsig.faults.add(path=EVENTS + "order", body='{"data": [{"timestamp": "lately"}, {"name": "order"}]}')
    assert asked() == {"order": Found.SEEN}


def test_the_last_run_that_delivered_anything_is_verified(run_target, asked):
    run_target(orders("first"), **EVENT)
    run_target(orders("first", "second"), **EVENT)
    run_target(orders("first", "second"), **EVENT)
    assert asked() == {"second": Found.SEEN}


def test_where_nothing_was_delivered_there_is_nothing_to_verify(run_target, statsig, asked):
    assert asked() == {}
    run_target(orders(""), **EVENT)
    assert asked() == {}
    assert asked.last.is_good
    assert "nothing to verify" in asked.text
    assert entries(statsig) == []


def test_a_hundred_names_are_asked_for_those_with_the_most_events_first(run_target, statsig, asked):
    run_target(orders(*(f"name {number}" for number in range(MOST_ASKED + 5)), "often", "often"), **EVENT)
    found = asked()
    assert len(entries(statsig)) == MOST_ASKED
    assert found["often"] is Found.SEEN
    assert [*found.values()].count(Found.NOT_ASKED) == 6
    assert "6 of 106 names not asked for" in asked.text


def test_a_name_may_hold_anything(run_target, statsig, asked):
    run_target(orders("a/b", "é?"), **EVENT)
    assert asked() == {"a/b": Found.SEEN, "é?": Found.SEEN}


def test_after_a_minute_no_more_is_asked_for(run_target, statsig, asked, monkeypatch):
    run_target(orders("a", "b", "c"), **EVENT)
    monkeypatch.setattr("target_statsig.commands.verify.ALL_SECONDS", 0.0)
    assert set(asked().values()) == {Found.NOT_ASKED}
    assert entries(statsig) == []


def test_an_answer_that_is_an_error_ends_the_asking(run_target, statsig, asked):
    run_target(orders("a", "b", "c"), **EVENT)
    statsig.faults.add(path=EVENTS + "b", status=400, body='{"message": "Not this one"}')
    assert asked() == {"a": Found.SEEN, "b": Found.NOT_ASKED, "c": Found.NOT_ASKED}
    assert not asked.last.is_good
    assert "Not this one" in asked.text


def test_of_metrics_each_stream_is_said_not_to_be_verifiable(run_target, statsig, asked):
    metric = {"user_id": "u1", "metric_name": "m", "metric_value": 1, "id_type": "user_id"}
    messages = [schema("daily"), record("daily", metric), record("daily", metric | {"user_id": "u2"})]
    run_target([*messages, schema("weekly"), record("weekly", metric)], object_type="metric")
    assert asked() == {}
    assert asked.last.is_good
    assert asked.last.not_verifiable == {"daily": 2, "weekly": 1}
    where = (
        "Statsig has no endpoint that lists values of metrics. Check its console at Metrics > Metrics Catalog > "
        "Metrics Logstream."
    )
    assert asked.text.splitlines()[1:] == [f"  daily: 2 metrics. {where}", f"  weekly: 1 metric. {where}"]
    assert entries(statsig) == []


def exposures(*subjects):
    fields = [{"user_id": f"u{number}", "group": "a", **subject} for number, subject in enumerate(subjects)]
    return [schema("seen"), *(record("seen", each) for each in fields)]


EXPERIMENT = {"experiment_name": "checkout"}
GATE = {"gate_name": "checkout", "passes": True}
EXPOSURE = {"object_type": "exposure"}


def test_exposures_that_statsig_counts_are_seen_an_experiment_s_apart_from_a_gate_s(run_target, statsig, asked):
    run_target(exposures(EXPERIMENT, EXPERIMENT, EXPERIMENT, GATE, {**GATE, "passes": False}), **EXPOSURE)
    asked()
    assert asked.last.is_good
    assert asked.text.splitlines()[1:] == [
        "  name      of          found  sent  in Statsig",
        "  checkout  experiment  seen      3           3",
        "  checkout  gate        seen      2           2",
        "All 2 names seen.",
    ]
    assert [entry.path for entry in entries(statsig)] == [COUNT, COUNT]


def counting(day, week, name="checkout"):
    """Return Statsig's answer about an experiment."""
    count = {"id": name, "pastDay": day, "past7Days": week}
    return {"body": json.dumps({"message": "", "data": {"experiments": [count], "gates": [], "dynamicConfigs": []}})}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(counting(2, 2), id="fewer than were sent"),
        pytest.param(counting(0, 9), id="others of earlier days"),
        pytest.param(counting(9, 9, "another"), id="another's"),
        pytest.param({"body": '{"data": {}}'}, id="none"),
        pytest.param({"status": 404, "body": '{"message": "Experiment not found"}'}, id="an unknown name"),
    ],
)
def test_exposures_that_are_not_all_counted_wait_for_some_minutes_and_are_perhaps_dropped_then(
    run_target, statsig, asked, answer
):
    run_target(exposures(EXPERIMENT, EXPERIMENT, EXPERIMENT), **EXPOSURE)
    statsig.faults.add(path=COUNT, **answer)
    assert asked() == {"checkout": Found.WAITING}
    assert asked.last.is_good
    assert asked(ARRIVES_WITHIN + 60) == {"checkout": Found.PERHAPS_DROPPED}
    assert not asked.last.is_good
    assert "Check that an experiment or a gate of that name exists" in asked.text


@pytest.mark.parametrize(
    ("later", "found"),
    [
        pytest.param(DAY - 60, Found.PERHAPS_DROPPED, id="a day"),
        pytest.param(DAY + 60, Found.SEEN, id="a week"),
        pytest.param(WEEK + 60, Found.NOT_ASKED, id="longer ago than Statsig counts"),
    ],
)
def test_exposures_are_counted_over_the_time_that_holds_the_run(run_target, statsig, asked, later, found):
    run_target(exposures(EXPERIMENT), **EXPOSURE)
    statsig.faults.add(path=COUNT, **counting(0, 1))
    assert asked(later) == {"checkout": found}
    assert len(entries(statsig)) == (found is not Found.NOT_ASKED)


def test_events_and_exposures_share_the_names_and_the_time_that_is_asked_for(run_target, asked):
    names = [record("orders", {"user_id": "u1", "event": f"name {number}"}) for number in range(MOST_ASKED)]
    streams = {"orders": EVENT, "seen": EXPOSURE}
    run_target([schema("orders"), *names, *exposures(EXPERIMENT, EXPERIMENT)], streams=streams)
    found = asked()
    assert found["checkout"] is Found.SEEN
    assert [*found.values()].count(Found.NOT_ASKED) == 1


def test_verifying_changes_nothing(run_target, statsig, asked, tmp_path):
    run_target(orders("order"), **EVENT)
    before = (tmp_path / "store.db").read_bytes()
    asked()
    assert (tmp_path / "store.db").read_bytes() == before
    assert {entry.method for entry in entries(statsig)} == {"GET"}


def test_without_a_console_key_that_is_an_error(asked):
    with pytest.raises(SettingsError) as caught:
        asked(console_api_key=None)
    assert "Set `console_api_key`" in caught.value.errors[0]


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
def test_a_name_is_judged_by_what_statsig_has_of_it_and_by_the_run_s_age(type_, recent, age, found):
    assert judge(SentName("a", type_, sent=2), recent, age) is found


# The command


def test_the_command_prints_text_and_json_and_ends_with_0_while_events_may_be_on_their_way(
    run_target, command, statsig
):
    run_target(orders("order", "late"), **EVENT)
    config = command.config_file(**EVENT)
    statsig.faults.add(path=EVENTS + "late", body=NONE)
    done = command.process("--config", config, "--verify")
    assert done.exit_code == 0
    assert "  late   event  waiting     1           0\n" in done.stdout
    told = json.loads(command.run("--config", config, "--verify", "--json").stdout)
    assert told["names"][1] == {"name": "late", "type": "event", "sent": 1, "found": "waiting", "recent": 0}


@pytest.mark.parametrize(
    ("settings", "messages", "path", "status"),
    [
        pytest.param(EVENT, orders("order"), EVENTS + "*", 401, id="events"),
        pytest.param(EXPOSURE, exposures(EXPERIMENT), COUNT, 403, id="exposures"),
    ],
)
def test_the_command_ends_with_1_where_the_key_is_not_accepted(
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
    assert "`console_api_key`" in done.errors[1]
