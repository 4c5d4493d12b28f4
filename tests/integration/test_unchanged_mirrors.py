"""A mirror that sees the same audience again compares nothing, and does so only then."""

from __future__ import annotations

import pytest

from tests.integration.test_segments import COMPLETE, MIRROR, changes, members, segment_report, users
from tests.singer import record, schema

KNOWN_AGAIN = "its stream shows just the members that it has"

SEEN = users("a", "b", "c")

OTHER_SCHEMA = schema("users", {"user_id": {"type": "string"}})


def mirrored(run_target, *messages, **settings):
    return run_target([schema("users"), *messages, COMPLETE], **{**MIRROR, **settings})


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", ["a", "b", "x"])


@pytest.fixture
def mirrored_before(run_target, vips):
    outcome = mirrored(run_target, *SEEN)
    assert outcome.exit_code == 0
    assert KNOWN_AGAIN not in outcome.log


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(users("a", "b", "c"), id="the same"),
        pytest.param(users("c", "a", "b"), id="in another order"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_the_same_audience_is_known_again_and_reported_as_ever(run_target, statsig, messages):
    statsig.state.requests.clear()
    outcome = mirrored(run_target, *messages)
    assert KNOWN_AGAIN in outcome.log
    assert [entry.method for entry in statsig.state.requests] == ["GET", "GET"]
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


@pytest.mark.parametrize(
    ("messages", "left"),
    [
        pytest.param(users("a", "b"), {"a", "b"}, id="one fewer"),
        pytest.param(users("a", "b", "d"), {"a", "b", "d"}, id="one for another"),
        pytest.param(
            [*users("a", "b"), record("users", {"user_id": "c", "_sdc_deleted_at": "2026-11-22T03:55:38Z"}, version=1)],
            {"a", "b"},
            id="one was deleted",
        ),
        pytest.param(
            [*SEEN, record("users", {"user_id": "d", "_sdc_deleted_at": "2026-11-22T03:55:38Z"}, version=1)],
            {"a", "b", "c"},
            id="someone was deleted who is no member",
        ),
        pytest.param(users("a", "b", "b"), {"a", "b"}, id="one twice instead of another"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_another_audience_is_compared(run_target, statsig, messages, left):
    outcome = mirrored(run_target, *messages)
    assert KNOWN_AGAIN not in outcome.log
    assert members(statsig) == left


@pytest.mark.usefixtures("mirrored_before")
def test_a_list_that_drifted_is_compared(run_target, statsig):
    statsig.state.seed_segment("vips", ["a", "b", "stranger"])
    statsig.state.segments["vips"].version += 1
    outcome = mirrored(run_target, *SEEN)
    assert KNOWN_AGAIN not in outcome.log
    assert members(statsig) == {"a", "b", "c"}
    assert KNOWN_AGAIN in mirrored(run_target, *SEEN).log


@pytest.mark.usefixtures("mirrored_before")
def test_a_list_that_drifted_into_the_audience_is_compared_once_more(run_target, statsig):
    mirrored(run_target, *users("a", "b"))
    statsig.state.seed_segment("vips", ["a", "b", "c"])
    outcome = mirrored(run_target, *SEEN)
    assert KNOWN_AGAIN not in outcome.log
    assert changes(statsig)[-1] == ("DELETE", 1)
    assert KNOWN_AGAIN in mirrored(run_target, *SEEN).log


@pytest.mark.usefixtures("mirrored_before")
def test_held_removals_leave_nothing_to_know_again(run_target, statsig):
    run_target([schema("users"), *users("a", "b")], **MIRROR)
    outcome = run_target([schema("users"), *users("a", "b")], **MIRROR)
    assert KNOWN_AGAIN not in outcome.log
    assert segment_report(outcome)["held"] == 1
    back = mirrored(run_target, *SEEN)
    assert KNOWN_AGAIN not in back.log
    assert segment_report(back)["held"] == 0
    assert KNOWN_AGAIN in mirrored(run_target, *SEEN).log
    assert members(statsig) == {"a", "b", "c"}


def test_strangers_in_a_mirror_of_its_own_leave_nothing_to_know_again(run_target, statsig):
    for _ in range(3):
        outcome = mirrored(run_target, *SEEN, removal_scope="own")
        assert KNOWN_AGAIN not in outcome.log
    assert members(statsig) == {"a", "b", "c", "x"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"method": "PATCH", "skip": 1}, id="between two additions"),
        pytest.param({"method": "DELETE"}, id="before the removal"),
        pytest.param({"method": "DELETE", "taken": True}, id="behind the removal"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_a_run_that_breaks_off_leaves_nothing_to_know_again(run_target, statsig, fault):
    seen = users("a", "b", "d", "e")
    statsig.faults.add(path="/console/*", drop=True, **fault)
    assert mirrored(run_target, *seen, segment_batch_size=1).exit_code == 1
    statsig.faults.clear()
    outcome = mirrored(run_target, *seen)
    assert KNOWN_AGAIN not in outcome.log
    assert members(statsig) == {"a", "b", "d", "e"}
    assert KNOWN_AGAIN in mirrored(run_target, *seen).log


@pytest.mark.usefixtures("mirrored_before")
def test_a_source_that_changes_back_after_a_run_that_broke_off_is_compared(run_target, statsig):
    statsig.faults.add(path="/console/*", method="PATCH", drop=True)
    mirrored(run_target, *SEEN, *users("d"))
    statsig.faults.clear()
    outcome = mirrored(run_target, *SEEN)
    assert KNOWN_AGAIN not in outcome.log
    assert members(statsig) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("messages", "settings", "exit_code"),
    [
        pytest.param([*users("c"), OTHER_SCHEMA, *users("a", "b"), COMPLETE], {}, 0, id="in parts"),
        pytest.param([*SEEN], {"on_incomplete_stream": "fail"}, 1, id="no proof where one is asked for"),
        pytest.param([*SEEN], {}, 0, id="no proof, and nobody to remove"),
    ],
)
@pytest.mark.usefixtures("mirrored_before")
def test_the_guards_judge_an_audience_that_is_known_again_like_any_other(run_target, messages, settings, exit_code):
    outcome = run_target([schema("users"), *messages], **MIRROR, **settings)
    assert KNOWN_AGAIN in outcome.log
    assert outcome.exit_code == exit_code
    assert segment_report(outcome)["proof"] == "none"


def test_a_dry_run_knows_an_audience_again_and_leaves_nothing_behind(run_target):
    mirrored(run_target, *SEEN)
    assert KNOWN_AGAIN in mirrored(run_target, *SEEN, dry_run=True).log
    mirrored(run_target, *users("a"), dry_run=True, max_removal_percent=100)
    assert KNOWN_AGAIN in mirrored(run_target, *SEEN).log


def test_an_audience_that_only_a_dry_run_made_equal_is_compared(run_target, statsig):
    mirrored(run_target, *SEEN, dry_run=True)
    outcome = mirrored(run_target, *SEEN)
    assert KNOWN_AGAIN not in outcome.log
    assert members(statsig) == {"a", "b", "c"}
