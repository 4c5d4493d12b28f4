"""A mirror whose audience has not changed reads no list and changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.segments.test_segments import COMPLETE, MIRROR, members, segment_report, users
from tests.singer import schema

SEEN = users("a", "b", "c")


def mirror(run_target, *messages, **settings):
    return run_target([schema("users"), *messages, COMPLETE], **{**MIRROR, **settings})


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", ["a", "b", "x"])


@pytest.fixture
def mirrored_before(run_target, vips):
    assert mirror(run_target, *SEEN).exit_code == 0


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(SEEN, id="the same"),
        pytest.param(users("c", "a", "b"), id="in another order"),
        pytest.param(users("a", "b", "c", "c"), id="one twice"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_the_same_audience_reads_no_list_and_changes_nothing(run_target, statsig, messages):
    statsig.state.requests.clear()
    outcome = mirror(run_target, *messages)
    assert [entry.method for entry in statsig.state.requests] == ["GET", "GET"]
    assert count_readings(statsig) == 0
    expected = {
        "before": 3,
        "added": 0,
        "removed": 0,
        "unchanged": 3,
        "held": 0,
        "after": 3,
        "proof": "activate_version",
    }
    report = segment_report(outcome)
    assert report | expected == report
    assert members(statsig) == {"a", "b", "c"}


@pytest.mark.usefixtures("mirrored_before")
def test_held_removals_end_when_the_members_come_back(run_target, statsig):
    held = run_target([schema("users"), *users("a", "b")], **MIRROR)
    assert segment_report(held)["held"] == 1
    back = mirror(run_target, *SEEN)
    assert segment_report(back)["held"] == 0
    assert members(statsig) == {"a", "b", "c"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"method": "PATCH", "skip": 1}, id="between two additions"),
        pytest.param({"method": "DELETE"}, id="before the removal"),
        pytest.param({"method": "DELETE", "taken": True}, id="after the removal"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_a_run_that_fails_is_finished_by_the_next(run_target, statsig, fault):
    seen = users("a", "b", "d", "e")
    statsig.faults.add(path="/console/*", drop=True, **fault)
    assert mirror(run_target, *seen, segment_batch_size=1).exit_code == 1
    statsig.faults.clear()
    mirror(run_target, *seen)
    assert members(statsig) == {"a", "b", "d", "e"}


def swap(statsig, old, new):
    """Replace a member, which neither the count nor the version shows."""
    statsig.state.segments["vips"].ids ^= {old, new}


def age_reading_time(run_target, days):
    with closing(sqlite3.connect(run_target.directory / "store.db")) as store, store:
        store.execute("UPDATE target_statsig_segments SET list_read_at = list_read_at - ?", [days * 86_400])


def count_readings(statsig):
    return sum(entry.path.endswith("/id_list") and entry.method == "GET" for entry in statsig.state.requests)


@pytest.mark.parametrize(
    ("days", "settings"),
    [
        pytest.param(7, {}, id="after a week"),
        pytest.param(2, {"full_check_days": 2}, id="after `full_check_days`"),
        pytest.param(0, {"full_check_days": 0}, id="in every run"),
        pytest.param(-1, {}, id="after the clock was set back"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_a_full_check_finds_a_swapped_member(run_target, statsig, days, settings):
    swap(statsig, "a", "z")
    age_reading_time(run_target, days)
    outcome = mirror(run_target, *SEEN, **settings)
    assert members(statsig) == {"a", "b", "c"}
    assert (segment_report(outcome)["added"], segment_report(outcome)["removed"]) == (1, 1)


@pytest.mark.usefixtures("mirrored_before")
def test_a_list_is_read_once_in_full_check_days(run_target, statsig):
    statsig.state.requests.clear()
    age_reading_time(run_target, 6.9)
    mirror(run_target, *SEEN)
    assert count_readings(statsig) == 0
    age_reading_time(run_target, 0.2)
    for _ in range(2):
        mirror(run_target, *SEEN)
    assert count_readings(statsig) == 1


@pytest.mark.usefixtures("mirrored_before")
def test_a_list_without_a_reading_time_is_read(run_target, statsig):
    with closing(sqlite3.connect(run_target.directory / "store.db")) as store, store:
        store.execute("UPDATE target_statsig_segments SET list_read_at = NULL")
    swap(statsig, "b", "z")
    mirror(run_target, *SEEN)
    assert members(statsig) == {"a", "b", "c"}


@pytest.mark.usefixtures("mirrored_before")
def test_a_full_check_that_cannot_read_the_list_changes_nothing(run_target, statsig):
    statsig.faults.add(path="*/id_list", method="GET", status=500)
    outcome = mirror(run_target, *users("a", "d"), full_check_days=0)
    assert outcome.exit_code == 1
    assert members(statsig) == {"a", "b", "c"}


def test_a_run_after_a_dry_run_sends_the_audience(run_target, statsig):
    mirror(run_target, *SEEN, dry_run=True)
    mirror(run_target, *SEEN)
    assert members(statsig) == {"a", "b", "c"}
