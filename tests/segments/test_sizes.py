"""How large a segment may grow, and the warnings before it does, in every sync mode."""

from __future__ import annotations

import pytest

from target_statsig.segments import segment
from tests.segments.test_segments import ADD, MIRROR, REMOVE, changes, members, segment_report, users
from tests.singer import activate_version, record, schema, state

BY_ROW = {**ADD, "membership_field": "active"}
MODES = [pytest.param(ADD, id="add"), pytest.param(BY_ROW, id="by row"), pytest.param(MIRROR, id="mirror")]
OVER_1000 = "over 1,000. This cannot be undone"
LISTED = ("GET", "/console/v1/segments")
STATE = state(users={})


def sized(count, stream="users"):
    return [record(stream, {"user_id": f"u{number:05}", "active": True}, version=1) for number in range(count)]


def fed(run_target, count, **settings):
    return run_target([schema("users"), *sized(count), STATE, activate_version("users")], **settings)


def calls(statsig):
    return [(entry.method, entry.path) for entry in statsig.state.requests]


@pytest.fixture
def vips(statsig):
    """Seed the segment with the first members of the stream."""

    def seed(count):
        statsig.state.seed_segment("vips", [f"u{number:05}" for number in range(count)])

    return seed


@pytest.fixture
def project_limit(monkeypatch):
    monkeypatch.setattr(segment, "MAX_IDS", 2_000)


@pytest.mark.parametrize("mode", MODES)
def test_growth_over_1000_members_is_warned_of_before_the_request(run_target, statsig, vips, mode):
    vips(990)
    statsig.faults.add(method="PATCH", path="*", status=400)
    outcome = fed(run_target, 1_005, **mode)
    assert outcome.log.index(OVER_1000) < outcome.log.index("Statsig answered 400")
    assert "Segment 'vips' grows from 990 to 1,005 members" in outcome.log
    assert "`enableIDLists: true`" in outcome.log
    assert [OVER_1000 in warning for warning in segment_report(outcome)["warnings"]] == [True]


@pytest.mark.parametrize("mode", MODES)
def test_members_already_in_a_segment_do_not_make_it_grow(run_target, statsig, vips, mode):
    vips(1_000)
    outcome = fed(run_target, 1_000, **mode)
    assert outcome.exit_code == 0
    assert segment_report(outcome)["warnings"] == []


@pytest.mark.parametrize("mode", MODES)
def test_a_large_segment_is_warned_of_the_next_threshold_only(run_target, statsig, vips, mode):
    vips(9_999)
    outcome = fed(run_target, 10_001, **mode)
    (warning,) = segment_report(outcome)["warnings"]
    assert "grows from 9,999 to 10,001 members, over 10,000" in warning


def test_a_mirror_grows_by_its_additions_before_it_removes(run_target, statsig, vips):
    vips(1_000)
    rows = [schema("users"), *sized(991)[:990], *users("new"), activate_version("users")]
    outcome = run_target(rows, **MIRROR)
    assert outcome.exit_code == 0
    assert len(members(statsig)) == 991
    assert OVER_1000 in segment_report(outcome)["warnings"][0]


def test_removing_rows_do_not_make_up_for_adding_rows(run_target, statsig, vips):
    vips(1_000)
    rows = [record("users", {"user_id": name, "active": name == "new"}) for name in ("u00000", "new")]
    outcome = run_target([schema("users"), *rows], **BY_ROW)
    assert (outcome.exit_code, len(members(statsig))) == (0, 1_000)
    (warning,) = segment_report(outcome)["warnings"]
    assert f"grows from 1,000 to 1,001 members, {OVER_1000}" in warning


@pytest.mark.parametrize("mode", MODES)
def test_a_segment_that_would_grow_over_its_limit_is_not_changed(run_target, statsig, vips, mode):
    vips(5)
    outcome = fed(run_target, 21, max_segment_size=20, segment_batch_size=4, **mode)
    assert outcome.exit_code == 1
    assert "The segment would grow too large" in outcome.errors
    assert "`max_segment_size` allows 20" in outcome.errors
    assert "Nothing in it was changed" in outcome.errors
    assert changes(statsig) == []
    if mode is not MIRROR:
        assert outcome.states == []


@pytest.mark.parametrize("mode", MODES)
def test_a_segment_may_grow_up_to_its_limit(run_target, statsig, vips, mode):
    vips(15)
    outcome = fed(run_target, 20, max_segment_size=20, **mode)
    assert (outcome.exit_code, len(members(statsig))) == (0, 20)
    assert outcome.states == [STATE["value"]] or mode is MIRROR


@pytest.mark.parametrize("mode", MODES)
def test_a_segment_over_its_limit_can_lose_members_but_gain_none(run_target, statsig, vips, mode):
    vips(25)
    assert fed(run_target, 25, max_segment_size=20, **mode).exit_code == 0
    assert fed(run_target, 26, max_segment_size=20, **mode).exit_code == 1
    statsig.state.requests.clear()
    assert run_target([schema("users"), *users("u00000")], max_segment_size=20, **REMOVE).exit_code == 0
    assert len(members(statsig)) == 24


def test_the_limit_holds_for_each_segment_that_a_column_names(run_target, statsig):
    settings = {"object_type": "segment", "segment_id_field": "list", "sync_mode": "add", "max_segment_size": 2}
    for name in ("few", "many"):
        statsig.state.seed_segment(name)
    rows = [("few", "a"), ("few", "b"), ("many", "a"), ("many", "b"), ("many", "c")]
    outcome = run_target(
        [schema("users"), *(record("users", {"list": name, "user_id": member}) for name, member in rows)], **settings
    )
    assert outcome.exit_code == 1
    assert members(statsig, "few") == {"a", "b"}
    assert members(statsig, "many") == set()


def test_the_last_row_of_a_member_counts_for_the_limit(run_target, statsig, vips):
    vips(1)
    leaving = [record("users", {"user_id": f"u{number:05}", "active": False}) for number in range(10)]
    outcome = run_target([schema("users"), *sized(12), *leaving], max_segment_size=3, **BY_ROW)
    assert outcome.exit_code == 0
    assert members(statsig) == {"u00010", "u00011"}


def test_changes_kept_before_a_limit_was_set_count_for_it(run_target, statsig):
    assert fed(run_target, 3, **ADD).exit_code == 1
    statsig.state.seed_segment("vips")
    more = [schema("users"), *users("a", "b")]
    assert run_target(more, max_segment_size=4, **ADD).exit_code == 1
    assert changes(statsig) == []
    assert run_target(more, max_segment_size=5, **ADD).exit_code == 0
    assert len(members(statsig)) == 5
    assert run_target([], max_segment_size=5, **ADD).exit_code == 0
    assert changes(statsig) == [("PATCH", 5)]


def test_kept_changes_of_an_absent_stream_are_sent_within_its_limit(run_target, statsig):
    streams = {"users": ADD, "others": {"object_type": "segment", "segment_id": "o", "sync_mode": "add"}}
    statsig.state.seed_segment("o")
    assert run_target([schema("users"), *sized(3)], streams=streams).exit_code == 1
    statsig.state.seed_segment("vips")
    streams["users"] = {**ADD, "max_segment_size": 3}
    assert run_target([schema("others")], streams=streams).exit_code == 0
    assert len(members(statsig)) == 3


@pytest.mark.usefixtures("project_limit")
@pytest.mark.parametrize("mode", MODES)
def test_additions_over_the_project_limit_are_not_begun(run_target, statsig, vips, mode):
    vips(5)
    statsig.state.seed_segment("others", map(str, range(1_990)))
    outcome = fed(run_target, 11, segment_batch_size=4, **mode)
    assert outcome.exit_code == 1
    assert (
        "would grow from 5 to 11 members, and all lists of the project together to 2,001, but Statsig takes 2,000"
        in outcome.errors
    )
    assert changes(statsig) == []


@pytest.mark.usefixtures("project_limit")
@pytest.mark.parametrize("mode", MODES)
def test_members_already_in_a_project_do_not_count_for_its_limit(run_target, statsig, vips, mode):
    vips(9)
    statsig.state.seed_segment("others", map(str, range(1_990)))
    assert fed(run_target, 10, segment_batch_size=4, **mode).exit_code == 0
    assert len(members(statsig)) == 10


@pytest.mark.usefixtures("project_limit")
def test_a_mirror_in_a_project_over_its_limit_can_lose_members(run_target, statsig, vips):
    vips(1_998)
    statsig.state.seed_segment("mirrored", ["m0", "m1", "m2"])
    streams = {"users": MIRROR, "others": {**MIRROR, "segment_id": "mirrored"}}
    messages = [schema("users"), *sized(2_010), activate_version("users")]
    messages += [schema("others"), *users("m1", stream="others"), activate_version("others")]
    outcome = run_target(messages, streams=streams, segment_batch_size=4)
    assert "all lists of the project together to 2,013" in outcome.errors
    assert "'mirrored'" not in outcome.errors
    assert members(statsig, "mirrored") == {"m1"}


@pytest.mark.usefixtures("project_limit")
def test_members_added_again_do_not_count_for_the_project_limit(run_target, statsig, vips, monkeypatch):
    monkeypatch.setattr("target_statsig.segments.changes.GATHERED", 8)
    vips(11)
    statsig.state.seed_segment("mirrored")
    statsig.state.seed_segment("large", map(str, range(1_979)))
    streams = {"users": ADD, "others": {**MIRROR, "segment_id": "mirrored"}}
    others = [schema("others"), *sized(10, "others"), activate_version("others")]
    outcome = run_target([schema("users"), *sized(11), *others], streams=streams, segment_batch_size=4)
    assert (outcome.exit_code, len(members(statsig, "mirrored"))) == (0, 10)


def test_the_projects_lists_are_read_once_and_page_by_page(run_target, statsig, vips):
    for number in range(1_500):
        statsig.state.seed_segment(f"list-{number}")
    vips(0)
    fed(run_target, 2_000, segment_batch_size=500, **MIRROR)
    assert calls(statsig).count(LISTED) == 2


@pytest.mark.parametrize("mode", MODES)
def test_additions_in_one_request_do_not_read_the_projects_lists(run_target, statsig, vips, mode):
    vips(5)
    assert fed(run_target, 12, **mode).exit_code == 0
    assert LISTED not in calls(statsig)


@pytest.mark.parametrize("mode", MODES)
def test_a_dry_run_warns_and_fails_as_a_run_does(run_target, statsig, vips, mode):
    vips(990)
    outcome = fed(run_target, 1_005, dry_run=True, **mode)
    assert OVER_1000 in segment_report(outcome)["warnings"][0]
    assert fed(run_target, 1_005, dry_run=True, max_segment_size=1_000, **mode).exit_code == 1
    assert changes(statsig) == []
