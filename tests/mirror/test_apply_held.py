"""`--apply-held`: removes the members that the last run held only because a proof was missing."""

from __future__ import annotations

import json

import pytest

from target_statsig.clock import RunClock
from target_statsig.commands import apply_held as command
from target_statsig.errors import InterruptedRunError
from target_statsig.target import TargetStatsig
from tests.singer import activate_version, record, schema, state
from tests.tables import table_row

MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}
MANY = {"object_type": "segment", "segment_id_field": "list", "sync_mode": "mirror"}
COMPLETE = activate_version("users")
BEFORE = {"a", "b", "c"}


def users(*names, stream="users"):
    return [schema(stream), *(record(stream, {"user_id": name}, version=1) for name in names)]


def listed(**names):
    return [
        schema("users"),
        *(record("users", {"user_id": name, "list": key}) for key, value in names.items() for name in value),
    ]


def members(statsig, segment="vips"):
    return set(statsig.state.ids(segment))


def removals(statsig):
    return [entry.items for entry in statsig.state.requests if entry.method == "DELETE"]


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", sorted(BEFORE))


@pytest.fixture
def apply_held(run_target, caplog):
    """Apply what is held, and return the exit code and what was logged."""

    def apply(segment=None, **settings):
        caplog.clear()
        exit_code = command.apply_held(TargetStatsig(config=run_target.config(**settings)).run, segment)
        return exit_code, caplog.text

    return apply


def report_of(run_target, stream="users", segment="vips"):
    report = json.loads((run_target.directory / "report.json").read_text())
    return report["streams"][stream]["segments"][segment]


def test_held_members_are_removed_once(run_target, apply_held, statsig):
    assert run_target(users("a", "d"), **MIRROR).exit_code == 0
    assert members(statsig) == BEFORE | {"d"}

    exit_code, log = apply_held(**MIRROR)
    assert exit_code == 0
    assert members(statsig) == {"a", "d"}
    assert "Segment 'vips': removed 2 members that the last run held. Members now: 2." in log
    report = report_of(run_target)
    assert (report["before"], report["removed"], report["held"], report["after"]) == (4, 2, 0, 2)
    assert report["proof"] == "applied"
    assert report["unchanged"] == 2

    asked = len(statsig.state.requests)
    assert apply_held(**MIRROR)[0] == 0
    exit_code, log = apply_held("vips", **MIRROR)
    assert exit_code == 0
    assert "No member is held, so none is removed." in log
    assert len(statsig.state.requests) == asked


def test_the_next_run_after_apply_held_changes_nothing(run_target, apply_held, statsig):
    run_target(users("a", "d"), **MIRROR)
    apply_held(**MIRROR)
    statsig.state.requests.clear()
    outcome = run_target([*users("a", "d"), COMPLETE], **MIRROR)
    assert [entry.method for entry in statsig.state.requests] == ["GET", "GET"]
    assert outcome.report["streams"]["users"]["segments"]["vips"]["unchanged"] == 2


def test_the_log_names_apply_held_before_the_row_count(run_target):
    log = run_target(users("a"), **MIRROR).log
    assert 0 < log.index("--apply-held") < log.index("`row_count_field`")


def test_the_log_does_not_name_apply_held_where_it_is_refused(run_target):
    outcome = run_target([state(users={"xmin": 7}), *users("a")], **MIRROR)
    assert "`row_count_field`" in outcome.log
    assert "--apply-held" not in outcome.log


RESUMED = [schema("users"), state(users={"xmin": 7}), *users("a")[1:]]
MIDWAY = state(users={"progress_markers": {}})


@pytest.mark.parametrize(
    ("messages", "settings", "later", "words"),
    [
        pytest.param(RESUMED, {}, {}, "the tap resumed it", id="a resumed table"),
        pytest.param([*users("a"), MIDWAY], {}, {}, "an unfinished bookmark", id="a bookmark in mid-progress"),
        pytest.param([*users("a"), state(users={"id": 5})], {}, {}, "that of an incremental", id="unknown bookmark"),
        pytest.param(
            [schema("users", bookmark_properties=["at"]), *users("a")[1:]], {}, {}, "looks like", id="incremental hint"
        ),
        pytest.param(users("a", None), {}, {}, "1 record of the stream was rejected", id="a rejected record"),
        pytest.param([*users("a", None), COMPLETE], {}, {}, "was rejected", id="a rejected record of a proven stream"),
        pytest.param(users("a"), {"row_count_field": "n"}, {}, "no number in `n`", id="no row count"),
        pytest.param(
            [schema("users"), record("users", {"user_id": "a", "n": 2})],
            {"row_count_field": "n"},
            {},
            "holds another number",
            id="a row count that is not met",
        ),
        pytest.param(
            [schema("users"), record("users", {"user_id": "a", "n": 2})],
            {"row_count_field": "n"},
            {"row_count_field": None},
            "holds another number",
            id="a row count that was not met, and no longer set",
        ),
        pytest.param(users(), {}, {}, "`allow_empty_segment`", id="an empty stream"),
        pytest.param(users("a"), {"on_incomplete_stream": "fail"}, {}, "did not finish it", id="a run that failed"),
    ],
)
def test_removals_held_for_more_than_a_missing_proof_are_refused(
    run_target, apply_held, statsig, messages, settings, later, words
):
    run_target(messages, **MIRROR, **settings)
    exit_code, log = apply_held(**MIRROR, **{**settings, **later})
    assert exit_code == 1
    assert words in log
    assert "No member was removed." in log
    assert members(statsig) == BEFORE
    assert removals(statsig) == []


def change_by_others(statsig, run_target):
    statsig.state.seed_segment("vips", ["a", "b", "x"])
    statsig.state.segments["vips"].version += 1


def grow(statsig, run_target):
    statsig.state.seed_segment("vips", [*sorted(BEFORE), "x"])


def add_by_rows(statsig, run_target):
    settings = {**MIRROR, "sync_mode": "add"}
    run_target(users("x", stream="others"), **settings)


def delete(statsig, run_target):
    del statsig.state.segments["vips"]


def fail_a_mirror_run(statsig, run_target):
    statsig.faults.add(method="PATCH", drop=True)
    run_target(users("a", "d"), **MIRROR)
    statsig.faults.clear()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(change_by_others, "changed by someone else (version", id="another version"),
        pytest.param(grow, "Statsig counts 4 members, but the store expected 3", id="another count"),
        pytest.param(add_by_rows, "Statsig counts 4 members", id="members added by rows"),
        pytest.param(delete, "does not exist in this Statsig project", id="deleted"),
        pytest.param(fail_a_mirror_run, "did not finish it", id="a later run that failed"),
    ],
)
def test_a_segment_that_changed_since_the_run_is_refused(run_target, apply_held, statsig, change, words):
    run_target(users("a"), **MIRROR)
    change(statsig, run_target)
    before = members(statsig) if "vips" in statsig.state.segments else None
    exit_code, log = apply_held(**MIRROR, create_segment=True)
    assert exit_code == 1
    assert words in log
    assert removals(statsig) == []
    assert before == (members(statsig) if "vips" in statsig.state.segments else None)


@pytest.mark.parametrize(
    ("messages", "before", "relaxed", "words"),
    [
        pytest.param(
            users(*"abcdefgh"), [*"abcdefgh", *range(20)], {"max_removal_percent": 90}, "`max_removal_percent` (20)",
            id="the share of the members",
        ),
        pytest.param(
            users(*range(1000, 1100)), [*range(20)], {"max_removal_percent": 100}, "`max_removal_percent` (20)",
            id="the share of the members before the run",
        ),
        pytest.param(users(), [*"abc"], {"allow_empty_segment": True}, "held no member", id="an empty stream"),
    ],
)  # fmt: skip
def test_guards_are_checked_again_with_the_current_settings(
    run_target, apply_held, statsig, messages, before, relaxed, words
):
    statsig.state.seed_segment("vips", [str(name) for name in before])
    assert run_target(messages, **MIRROR).exit_code == 0
    exit_code, log = apply_held(**MIRROR)
    assert exit_code == 1
    assert words in log
    assert removals(statsig) == []
    assert apply_held(**MIRROR, **relaxed)[0] == 0
    assert members(statsig) == {str(message["record"]["user_id"]) for message in messages[1:]}


def test_removal_scope_own_removes_only_own_members(run_target, apply_held, statsig):
    own = {**MIRROR, "removal_scope": "own"}
    run_target([*users("a", "mine", "mine too"), COMPLETE], **own)
    run_target(users("a", "mine too"), **own)
    assert apply_held(**own)[0] == 0
    assert members(statsig) == BEFORE | {"mine too"}


def test_a_removal_scope_that_changed_since_the_run_is_refused(run_target, apply_held, statsig):
    run_target([*users("a", "mine"), COMPLETE], **MIRROR)
    run_target(users("mine"), **MIRROR)
    exit_code, log = apply_held(**{**MIRROR, "removal_scope": "own"})
    assert exit_code == 1
    assert "2 members that are not held, but 1 were expected" in log
    assert members(statsig) == {"a", "mine"}


def test_each_segment_of_a_stream_is_judged_alone(run_target, apply_held, statsig):
    statsig.state.seed_segment("staff", ["a", "b"])
    run_target([*listed(vips="abc", staff="ab"), COMPLETE], **MANY)
    run_target(listed(vips="a"), **MANY)
    exit_code, log = apply_held(**MANY)
    assert exit_code == 1
    assert members(statsig) == {"a"}
    assert members(statsig, "staff") == {"a", "b"}
    assert "Segment 'staff': 2 of 2 members are not in stream 'users'. No member was removed. The stream held no" in log


def test_held_removals_of_one_segment_can_be_applied(run_target, apply_held, statsig):
    statsig.state.seed_segment("staff", ["a", "b"])
    run_target(listed(vips="a", staff="a"), **MANY)
    assert apply_held("staff", **MANY)[0] == 0
    assert (members(statsig), members(statsig, "staff")) == (BEFORE, {"a"})
    exit_code, log = apply_held("stuff", **MANY)
    assert exit_code == 1
    assert (
        "`--segment stuff` is not a segment that this configuration mirrors. Segments with held removals: 'vips'."
        in log
    )
    assert members(statsig) == BEFORE


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"object_type": "event"}, id="no mirror"),
        pytest.param({"streams": {"others": MIRROR}}, id="another stream"),
        pytest.param({**MIRROR, "segment_id": "others"}, id="another segment"),
        pytest.param({**MIRROR, "sync_mode": "add"}, id="another mode"),
    ],
)
def test_segments_that_the_settings_do_not_mirror_are_left_alone(run_target, apply_held, statsig, settings):
    run_target(users("a"), **MIRROR)
    exit_code, log = apply_held(**settings)
    assert exit_code == 0
    assert "No member is held, so none is removed." in log
    assert "vips" not in log
    exit_code, log = apply_held("vips", **settings)
    assert exit_code == 1
    assert "vips" in log
    assert members(statsig) == BEFORE
    assert apply_held(**MIRROR)[0] == 0
    assert members(statsig) == {"a"}


def test_a_missing_store_is_not_made(run_target, apply_held):
    assert apply_held(**MIRROR)[0] == 0
    assert not (run_target.directory / "store.db").exists()


def test_a_store_that_cannot_be_opened_is_an_error(run_target, apply_held):
    exit_code, log = apply_held(**MIRROR, store_url=f"sqlite:///{run_target.directory / ('x' * 300)}")
    assert exit_code == 1
    assert "cannot be opened" in log


def test_what_a_run_held_after_the_command_had_begun_is_not_removed(run_target, apply_held, statsig, monkeypatch):
    run_target(users("a", "d"), **MIRROR)
    make_baseline = command.Baseline

    def run_in_between(*arguments):
        run_target(users("b"), **MIRROR)
        return make_baseline(*arguments)

    monkeypatch.setattr(command, "Baseline", run_in_between)
    exit_code, log = apply_held(**MIRROR)
    assert exit_code == 1
    assert "another run came in between. No member was removed." in log
    assert members(statsig) == BEFORE | {"d"}


def test_held_removals_expire_with_a_run_without_their_stream(run_target, apply_held, statsig):
    """The tap of the last run ended well; whether that of the run before did is not known."""
    statsig.state.seed_segment("others", ["x"])
    streams = {"users": MIRROR, "others": {**MIRROR, "segment_id": "others"}}
    run_target(users("a"), streams=streams)
    assert run_target(users("y", stream="others"), streams=streams).exit_code == 0
    exit_code, log = apply_held(streams=streams)
    assert exit_code == 0
    assert members(statsig) == BEFORE
    assert members(statsig, "others") == {"y"}
    assert "Segment 'vips': the last run did not contain stream 'users'" in log


def test_a_run_with_other_settings_expires_no_held_removals(run_target, apply_held, statsig):
    run_target(users("a"), **MIRROR)
    run_target([schema("orders")], streams={"orders": {"object_type": "event"}, "others": MIRROR})
    assert apply_held(**MIRROR)[0] == 0
    assert members(statsig) == {"a"}


def test_a_dry_run_shows_the_removals_and_makes_none(run_target, apply_held, statsig):
    run_target(users("a", "d"), **MIRROR)
    run_target(users("a"), dry_run=True, **MIRROR)
    exit_code, log = apply_held(dry_run=True, **MIRROR)
    assert exit_code == 0
    row = {"before": "4", "added": "0", "removed": "2", "unchanged": "2", "after": "2", "requests": "1"}
    assert row.items() <= table_row(log, "vips").items()
    assert members(statsig) == BEFORE | {"d"}
    assert apply_held(**MIRROR)[0] == 0
    assert members(statsig) == {"a", "d"}


@pytest.mark.parametrize("taken", [pytest.param(False, id="before it is accepted"), pytest.param(True, id="after")])
@pytest.mark.parametrize("skip", range(9))
def test_interrupted_removals_are_finished_by_the_same_command(run_target, apply_held, statsig, skip, taken):
    settings = {**MIRROR, "segment_batch_size": 1, "console_rate_limits": "1000/1s"}
    run_target(users("a", "d"), **settings)
    statsig.faults.add(path="/console/*", skip=skip, drop=True, taken=taken)
    apply_held(**settings)
    statsig.faults.clear()
    assert members(statsig) >= {"a", "d"}
    assert apply_held(**settings)[0] == 0
    assert members(statsig) == {"a", "d"}
    assert apply_held(**settings)[0] == 0


def test_interrupted_removals_are_refused_after_a_member_joined(run_target, apply_held, statsig):
    settings = {**MIRROR, "segment_batch_size": 1}
    run_target(users("a", "d"), **settings)
    statsig.faults.add(method="DELETE", skip=1, drop=True)
    assert apply_held(**settings)[0] == 1
    statsig.faults.clear()
    statsig.state.seed_segment("vips", [*sorted(members(statsig)), "x"])
    exit_code, log = apply_held(**settings)
    assert exit_code == 1
    assert "3 members that are not held, but 2 were expected" in log
    assert len(removals(statsig)) == 2


def test_the_same_command_removes_the_rest_after_a_signal(run_target, apply_held, statsig, monkeypatch):
    settings = {**MIRROR, "segment_batch_size": 1}
    run_target(users("a", "d"), **settings)

    def stopped(clock, seconds):
        if removals(statsig):
            msg = "stopped"
            raise InterruptedRunError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(RunClock, "sleep", stopped)
        apply_held(**settings)
    assert len(members(statsig)) == 3
    assert apply_held(**settings)[0] == 0
    assert members(statsig) == {"a", "d"}


def test_the_store_can_be_a_postgresql_database(run_target, apply_held, statsig, request):
    settings = {**MIRROR, "store_url": request.getfixturevalue("postgres_url")}
    run_target(users("a"), **settings)
    assert apply_held(**settings)[0] == 0
    assert members(statsig) == {"a"}


def test_the_command_reads_no_input_and_writes_nothing_to_standard_output(run_target, command, statsig):
    assert run_target(users("a"), **MIRROR).exit_code == 0
    running = command.start("--config", command.config_file(**MIRROR), "--apply-held", "--segment", "vips")
    done = running.finish()  # its input is still open
    assert (done.exit_code, done.stdout) == (0, "")
    assert members(statsig) == {"a"}
