"""Changes that a run keeps for the next one, and how the log, the summary and the report count them."""

from __future__ import annotations

import pytest

from tests.segments.test_segments import ADD, MIRROR, members, segment_report, users
from tests.singer import activate_version, record, schema, state

ROWS = [
    schema("users"),
    *users("d", "e"),
    record("users", {"user_id": "a", "_sdc_deleted_at": "2026-11-22T03:55:38Z"}),
    state(users={}),
]


def test_changes_to_a_missing_segment_are_sent_by_the_next_run(run_target, statsig):
    outcome = run_target(ROWS, **ADD)
    assert (outcome.exit_code, outcome.states) == (1, [{"bookmarks": {"users": {}}}])
    assert segment_report(outcome)["kept"] == 3
    assert "Segment 'vips': 3 changes are kept in the store; the next run sends them first." in outcome.log
    assert "vips: 3 kept; the next run sends them first" in outcome.log
    statsig.state.seed_segment("vips", ["a"])
    outcome = run_target([schema("users")], **ADD)
    assert outcome.exit_code == 0
    assert members(statsig) == {"d", "e"}
    assert segment_report(outcome)["kept"] == 0
    assert " kept" not in outcome.log


def test_ids_of_another_type_are_not_kept_and_hold_the_state_back(run_target, statsig):
    statsig.state.seed_segment("vips", [], id_type="stableID")
    rows = [schema("users"), record("users", {"user_id": "u1", "stable_id": "s1"}), state(users={})]
    outcome = run_target(rows, **ADD)
    assert (outcome.exit_code, outcome.states) == (1, [])
    assert segment_report(outcome)["kept"] == 0
    outcome = run_target(rows, id_type="stable_id", **ADD)
    assert (outcome.exit_code, outcome.states) == (0, [{"bookmarks": {"users": {}}}])
    assert members(statsig) == {"s1"}


def test_changes_that_are_still_kept_are_counted_again(run_target):
    run_target(ROWS, **ADD)
    outcome = run_target([schema("users"), *users("f", "d")], **ADD)
    assert segment_report(outcome)["kept"] == 4


def test_a_single_kept_change_is_logged_in_the_singular(run_target):
    outcome = run_target([schema("users"), *users("d")], **ADD)
    assert "Segment 'vips': 1 change is kept in the store" in outcome.log


def test_sent_changes_are_not_kept(run_target, statsig):
    statsig.state.seed_segment("vips")
    statsig.faults.add(method="PATCH", path="*", status=400, skip=1)
    outcome = run_target([schema("users"), *users("a", "b", "c", "d", "e")], segment_batch_size=2, **ADD)
    assert members(statsig) == {"a", "b"}
    assert segment_report(outcome)["kept"] == 3


def test_a_dry_run_says_what_would_be_kept(run_target, tmp_path):
    outcome = run_target(ROWS, dry_run=True, **ADD)
    assert segment_report(outcome)["kept"] == 3
    assert "vips: 3 kept; the next run sends them first" in outcome.log
    assert not (tmp_path / "store.db").exists()


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_mirror_stopped_by_a_guard_reports_the_segments_size(run_target, statsig, dry_run):
    statsig.state.seed_segment("vips", [f"u{number}" for number in range(100)])
    outcome = run_target(
        [schema("users"), *users("new"), activate_version("users")], dry_run=dry_run, **MIRROR, max_removal_percent=10
    )
    assert outcome.exit_code == 1
    assert (segment_report(outcome)["held"], segment_report(outcome)["after"]) == (100, 101)
