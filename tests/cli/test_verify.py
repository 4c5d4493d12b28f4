"""`--verify` asks Statsig for each name that the last run delivered, and says which of them it has."""

from __future__ import annotations

import json
import time

import pytest

from target_statsig.commands.verify import ARRIVES_WITHIN, MOST_ASKED, Found, judge, render, verify
from target_statsig.config.parse import parse_config
from target_statsig.config.schema import config_schema
from target_statsig.errors import SettingsError
from tests.fakes import FakeClock
from tests.singer import record, schema

EVENT = {"object_type": "event"}
EVENTS = "/console/v1/events/"
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
        run.text = render(run.last)
        return {each.name: each.found for each in run.last.names}

    return run


def entries(statsig):
    return [entry for entry in statsig.state.requests if entry.path.startswith(EVENTS)]


def test_names_that_statsig_lists_are_seen(run_target, statsig, asked):
    run_target(orders("order", "order", "Plan Upgraded"), **EVENT)
    assert asked() == {"order": Found.SEEN, "Plan Upgraded": Found.SEEN}
    assert asked.last.is_good
    assert [entry.path for entry in entries(statsig)] == [EVENTS + "order", EVENTS + "Plan%20Upgraded"]
    assert asked.text.splitlines()[1:] == [
        "  event          found  sent  listed",
        "  order          seen      2       2",
        "  Plan Upgraded  seen      1       1",
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


def test_names_that_no_path_holds_are_not_asked_for(run_target, statsig, asked):
    run_target(orders(".", "..", "a/b", "é?"), **EVENT)
    assert asked() == {".": Found.NOT_ASKED, "..": Found.NOT_ASKED, "a/b": Found.SEEN, "é?": Found.SEEN}
    assert len(entries(statsig)) == 2


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


def test_exposures_and_metrics_are_said_not_to_be_verified(run_target, statsig, asked):
    exposure = {"user_id": "u1", "experiment_name": "e", "group": "a"}
    metric = {"user_id": "u1", "metric_name": "m", "metric_value": 1, "id_type": "user_id"}
    run_target(
        [schema("e"), record("e", exposure), schema("m"), record("m", metric)],
        streams={"e": {"object_type": "exposure"}, "m": {"object_type": "metric"}},
    )
    assert asked() == {}
    assert asked.last.not_verifiable == {"exposure": 1, "metric": 1}
    assert "1 exposure: Statsig does not list them" in asked.text
    assert entries(statsig) == []


def test_verifying_changes_nothing(run_target, statsig, asked, tmp_path):
    run_target(orders("order"), **EVENT)
    before = (tmp_path / "store.db").read_bytes()
    asked()
    assert (tmp_path / "store.db").read_bytes() == before
    assert {entry.method for entry in entries(statsig)} == {"GET"}


def test_without_a_console_key_that_is_an_error(asked):
    with pytest.raises(SettingsError) as caught:
        asked(console_api_key=None)
    assert "needs `console_api_key`" in caught.value.errors[0]


@pytest.mark.parametrize(
    ("recent", "age", "found"),
    [
        (1, 0.0, Found.SEEN),
        (1, 1e6, Found.SEEN),
        (0, ARRIVES_WITHIN - 1, Found.WAITING),
        (0, ARRIVES_WITHIN, Found.PERHAPS_DROPPED),
    ],
)
def test_a_name_is_judged_by_what_is_listed_and_by_the_run_s_age(recent, age, found):
    assert judge(recent, age) is found


# The command


def test_the_command_prints_text_and_json_and_ends_with_0_while_events_may_be_on_their_way(command, statsig):
    config = command.config_file(**EVENT)
    command.run("--config", config, messages=orders("order", "late"))
    statsig.faults.add(path=EVENTS + "late", body=NONE)
    done = command.run("--config", config, "--verify")
    assert done.exit_code == 0
    assert "  late   waiting     1       0\n" in done.stdout
    told = json.loads(command.run("--config", config, "--verify", "--json").stdout)
    assert told["names"][1] == {"name": "late", "found": "waiting", "sent": 1, "recent": 0}


def test_the_command_ends_with_1_where_the_key_is_not_accepted(command, statsig):
    config = command.config_file(**EVENT)
    command.run("--config", config, messages=orders("order"))
    statsig.faults.add(path=EVENTS + "*", status=401)
    done = command.run("--config", config, "--verify")
    assert done.exit_code == 1
    assert "Asking ended early: Statsig does not accept the key: " in done.stdout


def test_the_command_ends_with_1_without_a_console_key(command):
    command.run("--config", command.config_file(**EVENT, console_api_key=None), messages=orders("order"))
    done = command.run("--config", command.config_file(**EVENT, console_api_key=None), "--verify")
    assert done.exit_code == 1
    assert "`console_api_key`" in done.errors[1]
