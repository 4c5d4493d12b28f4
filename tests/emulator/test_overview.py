"""The overview of runs, segments and findings that the page shows."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.emulator import Options
from target_statsig.emulator.item_log import DeadLetters
from target_statsig.emulator.state import QUIET_SECONDS, RequestEntry, State
from target_statsig.emulator.summary import MAX_ROWS, MAX_STEPS, overview, users

START = 1_800_000_000.0


class Sender:
    """Sends events to a state like a target, with one connection for each run."""

    def __init__(self):
        self.now = START
        self.state = State(Options(clock=lambda: self.now))
        self.connection = 0

    def run(self, *names, tier="production", status=202, note=""):
        self.connection += 1
        self.now += QUIET_SECONDS + 1
        self.state.arrive(self.connection)
        environment = {"statsigEnvironment": {"tier": tier}} if tier else {}
        events = [{"eventName": name, "user": {"userID": name[0]} | environment} for name in names]
        self.state.take("events", {"events": events})
        self.log(status, len(events), note)
        self.state.leave(self.connection)

    def log(self, status=202, items=1, note=""):
        self.state.log(RequestEntry(self.now, "POST", "/v1/log_event", status, items, 100, note, taken=status == 202))

    def overview(self, number=0, dead_letters=None):
        return msgspec.to_builtins(overview(self.state, dead_letters or DeadLetters(None), self.state.run(number)))


@pytest.fixture
def sender():
    return Sender()


def counts(shown):
    return {row["cells"][0]: (row["count"], row["before"]) for row in shown["run"]["names"]}


def test_without_requests_there_is_no_run(sender):
    shown = sender.overview()

    assert (shown["run"], shown["runs"], shown["findings"], shown["segments"]) == (None, [], [], [])


def test_metrics_are_listed_under_their_columns(sender):
    sender.run("a")
    metric = {"user_id": "u", "id_type": "user_id", "metric_name": "m", "metric_value": 1}
    sender.state.take("metrics", {"metrics": [metric] * 3})

    (shown,) = sender.overview()["run"]["items"]

    assert (shown["title"], shown["columns"], shown["units"]) == ("Metrics", ("Name", "ID type", "Kind"), "Units")
    assert shown["lines"] == [{"cells": ("m", "user_id", "value"), "count": 3, "units": 1, "before": None}]
    assert (shown["count"], shown["more"]) == (3, 0)


def test_the_newest_run_comes_first_and_is_shown(sender):
    sender.run("a", "a", "b")
    sender.run("c")

    shown = sender.overview()

    assert [(run["number"], run["events"]) for run in shown["runs"]] == [(2, 1), (1, 3)]
    assert shown["run"]["number"] == 2


def test_an_earlier_run_can_be_requested(sender):
    sender.run("a", "a", "b")
    sender.run("c")

    assert counts(sender.overview(1)) == {"a": (2, None), "b": (1, None)}
    assert sender.overview(99)["run"]["number"] == 2


def test_every_name_is_compared_with_the_previous_run(sender):
    sender.run("same", "less", "less", "gone")
    sender.run("same", "less", "new")

    assert counts(sender.overview()) == {"same": (1, 1), "less": (1, 2), "new": (1, 0), "gone": (0, 1)}


def test_a_name_in_two_tiers_has_two_rows(sender):
    sender.run("a", "a")
    sender.state.take("events", {"events": [{"eventName": "a"}]})

    shown = sender.overview()["run"]

    assert [(row["cells"][1], row["count"]) for row in shown["names"]] == [("production", 2), ("", 1)]
    assert shown["tiers"] == [{"tier": "production", "count": 2}, {"tier": "", "count": 1}]


def test_requests_and_findings_belong_to_their_run(sender):
    sender.run("a", status=503, note="down")
    sender.run("a|b")

    first, second = sender.overview(1), sender.overview(2)

    assert [(finding["what"], finding["why"]) for finding in first["findings"]] == [("503 POST log_event", "down")]
    assert [finding["what"] for finding in second["findings"]] == ["silently dropped"]
    assert second["findings"][0]["example"]["eventName"] == "a|b"
    assert first["run"]["calls"][0] == {
        "method": "POST",
        "path": "log_event",
        "times": 1,
        "items": 1,
        "size": 100,
        "answers": "503",
    }
    assert first["run"]["timeline"]["steps"] == [{"requests": 1, "refused": 1, "items": 1, "size": 100}]


def test_the_history_of_a_segment_begins_with_the_newest_change(sender):
    segment = sender.state.seed_segment("vip_users", ["a"])
    sender.run("a")
    segment.change("add", ["b", "c"], time=sender.now)
    sender.run("a")
    segment.change("remove", ["a"], time=sender.now)
    sender.state.seed_segment("untouched")
    sender.run("a")

    vips, untouched = sender.overview()["segments"]

    assert (vips["before"], vips["added"], vips["removed"], vips["count"]) == (1, 2, 1, 2)
    assert [(change["action"], change["run"]) for change in vips["history"]] == [("remove", 2), ("add", 1)]
    assert untouched["history"] == []
    assert [sender.overview(number)["run"]["segments_changed"] for number in (1, 2, 3)] == [1, 1, 0]


def test_the_overview_has_a_limited_number_of_rows(sender):
    for _ in range(MAX_ROWS + 1):
        sender.run(*(f"event {number}" for number in range(MAX_ROWS + 1)))
    for number in range(MAX_ROWS + 1):
        sender.state.seed_segment(f"segment_{number}")
        sender.state.segments["segment_0"].change("add", [f"u{number}"])
        metric = {"user_id": "u", "id_type": "user_id", "metric_name": f"metric {number}", "metric_value": 1}
        sender.state.take("metrics", {"metrics": [metric]})

    shown = sender.overview()

    assert len(shown["runs"]) == MAX_ROWS
    assert len(shown["run"]["names"]) == len(shown["segments"]) == MAX_ROWS
    assert shown["segment_count"] == MAX_ROWS + 1
    assert (len(shown["segments"][0]["history"]), shown["segments"][0]["changes"]) == (MAX_ROWS, MAX_ROWS + 1)
    assert (len(shown["run"]["items"][0]["lines"]), shown["run"]["items"][0]["more"]) == (MAX_ROWS, 1)


def test_users_with_the_most_events_come_first(sender):
    sender.run("a", "b", "b", "c")
    (run,) = sender.state.runs

    assert next((user["id"], user["events"]) for user in users(run, "")) == ("b", 2)
    assert users(run, "c") == [{"id_type": "userID", "id": "c", "events": 1}]


TIMES = st.lists(st.floats(0, 100_000), min_size=1, max_size=50)


def timeline(times):
    sender = Sender()
    sender.state.arrive(1)
    for time in times:
        sender.now = START + time
        sender.log(items=2)
    return sender.overview()["run"]["timeline"]


@given(TIMES)
def test_every_request_is_in_one_of_few_steps(times):
    steps = timeline(times)["steps"]

    assert [sum(step[name] for step in steps) for name in ("requests", "items", "size")] == [
        count * len(times) for count in (1, 2, 100)
    ]
    assert len(steps) <= MAX_STEPS
    assert steps == timeline(sorted(times))["steps"]


@given(TIMES)
def test_the_last_request_is_in_the_last_step(times):
    shown = timeline(times)
    steps, seconds = shown["steps"], shown["seconds"]

    assert steps[-1]["requests"]
    assert (len(steps) - 1) * seconds <= max(START + time for time in times) - START < len(steps) * seconds


def test_a_clock_set_back_loses_no_request():
    assert [step["requests"] for step in timeline([0.0, -5.0])["steps"]] == [2]


def test_errors_and_lost_responses_count_as_refused(sender):
    sender.state.arrive(1)
    for status in (202, 503, None, 302):
        sender.log(status)

    assert [(step["requests"], step["refused"]) for step in sender.overview()["run"]["timeline"]["steps"]] == [(4, 2)]


def letter(folder, time, reason):
    file = folder / f"{time}.singer"
    file.write_text(f'{{"type": "RECORD", "stream": "s", "record": {{"id": 1}}, "reason": "{reason}"}}\n', "utf-8")
    os.utime(file, (time, time))


def test_dead_letters_belong_to_the_run_that_wrote_them(sender, tmp_path):
    letters = DeadLetters(tmp_path)
    letter(tmp_path, sender.now, "just before run 1")
    sender.run("a")
    letter(tmp_path, sender.now + 0.5, "at the end of run 1")
    letter(tmp_path, sender.now + 2, "just before run 2")
    sender.run("a")
    letter(tmp_path, sender.now + 900, "long after run 2")

    def reasons(number):
        return {finding["why"] for finding in sender.overview(number, letters)["findings"]}

    assert reasons(1) == {"just before run 1", "at the end of run 1"}
    assert reasons(2) == {"just before run 2", "long after run 2"}
