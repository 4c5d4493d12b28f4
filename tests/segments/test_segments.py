"""Segments from the input to Statsig, over a real socket."""

from __future__ import annotations

import re

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tests.singer import TargetRunner, activate_version, record, schema, state

MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}
ADD = {**MIRROR, "sync_mode": "add"}
REMOVE = {**MIRROR, "sync_mode": "remove"}
COMPLETE = activate_version("users")


def users(*names, stream="users"):
    return [record(stream, {"user_id": name}, version=1) for name in names]


def members(statsig, segment="vips"):
    return set(statsig.state.ids(segment))


def changes(statsig):
    return [(entry.method, entry.items) for entry in statsig.state.requests if entry.method in {"PATCH", "DELETE"}]


def segment_report(outcome, stream="users", segment="vips"):
    return outcome.report["streams"][stream]["segments"][segment]


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", ["a", "b", "c"])


def test_add_mode_adds_normalised_ids(run_target, statsig):
    outcome = run_target([schema("users"), *users("b", " d ", 7, 8.0, "d"), state(users={})], **ADD)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a", "b", "c", "d", "7", "8"}
    assert changes(statsig) == [("PATCH", 4)]
    assert outcome.states == [{"bookmarks": {"users": {}}}]


def test_an_unknown_destination_in_the_mapping_is_refused(run_target, statsig):
    rows = [schema("users"), record("users", {"user_id": "internal", "customer": "d"})]
    with pytest.raises(ConfigValidationError) as caught:
        run_target(rows, field_mapping={"userid": "customer"}, **ADD)
    assert caught.value.errors == ["`field_mapping` has no destination `userid`: did you mean `user_id`?"]
    assert members(statsig) == {"a", "b", "c"}


def test_remove_mode_removes_members(run_target, statsig):
    run_target([schema("users"), *users("a", "x"), COMPLETE], **REMOVE)
    assert members(statsig) == {"b", "c"}


def test_ids_go_in_full_requests(run_target, statsig):
    run_target([schema("users"), *users(*range(25))], segment_batch_size=10, **ADD)
    assert changes(statsig) == [("PATCH", 10), ("PATCH", 10), ("PATCH", 5)]


def test_deleted_and_inactive_rows_are_removed_and_the_last_row_wins(run_target, statsig):
    rows = [
        record("users", {"user_id": "d", "active": True}, version=1),
        record("users", {"user_id": "a", "active": False}, version=1),
        record("users", {"user_id": "b", "active": False}, version=1),
        record("users", {"user_id": "b", "active": True}, version=1),
        record("users", {"user_id": "c", "_sdc_deleted_at": "2026-11-22T03:55:38Z"}, version=1),
    ]
    run_target([schema("users"), *rows], membership_field="active", **ADD)
    assert members(statsig) == {"b", "d"}


def test_a_proven_mirror_adds_first_and_then_removes(run_target, statsig):
    outcome = run_target([schema("users"), *users("a", "b", "d"), COMPLETE], **MIRROR)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a", "b", "d"}
    assert changes(statsig) == [("PATCH", 1), ("DELETE", 1)]
    report = segment_report(outcome)
    assert (
        report
        | {
            "before": 3,
            "added": 1,
            "removed": 1,
            "unchanged": 2,
            "held": 0,
            "after": 3,
            "proof": "activate_version",
            "requests": 2,
        }
        == report
    )


def test_a_page_of_long_ids_is_read_whole(run_target, statsig):
    long = ["x" * 1_500 + str(number) for number in range(1_000)]
    statsig.state.seed_segment("vips", long)
    outcome = run_target([schema("users"), *users(*long[1:]), COMPLETE], max_removal_percent=100, **MIRROR)
    assert outcome.exit_code == 0
    assert members(statsig) == set(long[1:])


def test_a_member_added_by_others_is_logged_and_removed(run_target, statsig):
    source = [schema("users"), *users("a", "b", "c"), COMPLETE]
    run_target(source, **MIRROR)
    statsig.state.seed_segment("vips", ["a", "b", "c", "stranger"])
    outcome = run_target(source, **MIRROR)
    assert "counts 4 members, but the store expected 3" in outcome.log
    assert members(statsig) == {"a", "b", "c"}


def test_a_mirror_without_proof_holds_removals_and_names_a_remedy(run_target, statsig):
    outcome = run_target([schema("users"), *users("a", "d")], **MIRROR)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a", "b", "c", "d"}
    report = segment_report(outcome)
    assert (report["removed"], report["held"], report["proof"]) == (0, 2, "none")
    assert report["held_since"] is not None
    assert "`row_count_field`" in outcome.log
    assert "vips: 2 held since" in outcome.log


def test_a_later_proof_removes_the_held_members(run_target, statsig):
    run_target([schema("users"), *users("a", "d")], **MIRROR)
    outcome = run_target([schema("users"), *users("a", "d"), COMPLETE], **MIRROR)
    assert members(statsig) == {"a", "d"}
    assert segment_report(outcome)["held"] == 0


@pytest.mark.parametrize(
    ("messages", "settings", "reason"),
    [
        pytest.param([*users("a")], {}, "unproven", id="end of input"),
        pytest.param([*users("a"), state(users={})], {}, "unproven", id="a final STATE"),
        pytest.param([state(users={"xmin": 7}), *users("a"), COMPLETE], {}, "unproven", id="a resumed table"),
        pytest.param([state(users={"page": 7}), *users("a"), COMPLETE], {}, "unknown_bookmark", id="a resumed page"),
        pytest.param(
            [*users("a"), record("users", {"user_id": "b"}, version=2), COMPLETE], {}, "unproven", id="two tables"
        ),
        pytest.param([*users("a"), state(users={"progress_markers": {}})], {}, "progress_markers", id="in progress"),
        pytest.param(
            [*users("a"), {"type": "STATE", "value": {"currently_syncing": "users", "bookmarks": {"users": {}}}}],
            {},
            "currently_syncing",
            id="currently syncing",
        ),
        pytest.param([*users("a", None), COMPLETE], {}, "rejected_records", id="a rejected record"),
        pytest.param([COMPLETE], {}, "empty_stream", id="an empty stream"),
        pytest.param([*users("a"), COMPLETE], {"row_count_field": "n"}, "unproven", id="no row count"),
        pytest.param(
            [*users("a"), state(users={"updated_at": "x"})],
            {"on_incomplete_stream": "remove"},
            "unknown_bookmark",
            id="a bookmark of unknown form",
        ),
    ],
)
def test_held_removals_have_a_reason(run_target, statsig, messages, settings, reason):
    outcome = run_target([schema("users"), *messages], **MIRROR, **settings)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a", "b", "c"}
    assert segment_report(outcome)["held_because"] == reason


@pytest.mark.parametrize(
    ("messages", "settings"),
    [
        pytest.param([*users("a")], {"on_incomplete_stream": "remove"}, id="no proof is wanted"),
        pytest.param([record("users", {"user_id": "a", "n": 1}, version=1)], {"row_count_field": "n"}, id="row count"),
        pytest.param([*users("a"), {"type": "ACTIVATE_VERSION", "stream": "users", "version": 1}], {}, id="version"),
    ],
)
def test_a_mirror_removes_with_proof(run_target, statsig, messages, settings):
    statsig.state.seed_segment("z", [])
    streams = {"users": {**MIRROR, **settings}, "z": {**ADD, "segment_id": "z"}}
    assert run_target([schema("users"), *messages], streams=streams).exit_code == 0
    assert members(statsig) == {"a"}


def test_a_stream_that_begins_after_a_mirror_proves_nothing(run_target, statsig):
    streams = {"users": MIRROR, "z": {**ADD, "segment_id": "z"}}
    statsig.state.seed_segment("z", [])
    outcome = run_target([schema("users"), *users("a"), schema("z"), *users("q", stream="z")], streams=streams)
    assert members(statsig) == {"a", "b", "c"}
    assert segment_report(outcome)["held_because"] == "unproven"


def test_a_state_omits_the_position_in_a_mirrored_stream(run_target):
    midway = {"bookmarks": {"users": {"version": 1, "xmin": 1010}, "z": {"id": 7}}, "currently_syncing": "users"}
    outcome = run_target([schema("users"), *users("a"), {"type": "STATE", "value": midway}], **MIRROR)
    assert outcome.states == [{"bookmarks": {"z": {"id": 7}}}]


def test_an_empty_record_that_stream_maps_drop_holds_removals(run_target, statsig):
    row = record("users", {}, version=1)
    outcome = run_target(
        [schema("users"), *users("a"), row, COMPLETE], stream_maps={"users": {"plan": "'pro'"}}, **MIRROR
    )
    assert members(statsig) == {"a", "b", "c"}
    assert outcome.report["streams"]["users"]["rejected"] == 1
    assert segment_report(outcome)["held_because"] == "rejected_records"


def test_an_activate_version_that_is_not_processed_proves_nothing(run_target, statsig):
    messages = [schema("users"), *users("a"), {"type": "ACTIVATE_VERSION", "stream": "users", "version": 1}]
    run_target(messages, process_activate_version_messages=False, **MIRROR)
    assert members(statsig) == {"a", "b", "c"}


def test_too_many_removals_fail_the_run_but_all_else_is_sent(run_target, statsig):
    statsig.state.seed_segment("vips", [f"u{number}" for number in range(100)])
    event = {"object_type": "event", "dedupe": False}
    messages = [schema("users"), *users("new"), COMPLETE, schema("z"), record("z", {"event": "e", "user_id": "u"})]
    outcome = run_target([*messages, state(users={}, z={})], streams={"users": MIRROR, "z": event})
    assert outcome.exit_code == 1
    assert len(members(statsig)) == 101
    assert len(statsig.state.events) == 1
    assert outcome.states[-1] == {"bookmarks": {"users": {}, "z": {}}}
    assert "`max_removal_percent` (20)" in outcome.errors


def test_a_mirror_can_empty_a_segment_if_it_is_allowed_to(run_target, statsig):
    statsig.state.seed_segment("vips", [f"u{number}" for number in range(100)])
    settings = {"allow_empty_segment": True, "on_incomplete_stream": "remove"}
    outcome = run_target([schema("users"), COMPLETE], **settings, **MIRROR)
    assert outcome.exit_code == 0
    assert members(statsig) == set()


def test_an_unproven_mirror_can_be_an_error(run_target, statsig):
    for listed, missing in (("ad", "2 of 3 members are"), ("abcd", "0 of 4 members are")):
        outcome = run_target([schema("users"), *users(*listed)], on_incomplete_stream="fail", **MIRROR)
        assert outcome.exit_code == 1
        assert members(statsig) == {"a", "b", "c", "d"}
        assert f"{missing} not in stream 'users'" in outcome.errors
        assert f"Removed none and added {int(listed == 'ad')}. Nothing proves that the tap finished" in outcome.errors
        assert "`on_incomplete_stream: fail` makes that an error. To prove it, set `row_count_field`" in outcome.errors
        # A failed run leaves nothing for `--apply-held`.
        assert "removes them" not in outcome.errors


def test_an_incremental_stream_cannot_be_mirrored(run_target, statsig):
    bookmark = {"replication_key": "updated_at", "replication_key_value": "2026-11-10T10:20:00+00:00"}
    outcome = run_target([schema("users"), *users("a"), state(users=bookmark)], **MIRROR)
    assert outcome.exit_code == 1
    assert "it is incremental" in outcome.errors
    assert outcome.states == []
    assert changes(statsig) == []


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        pytest.param(None, "does not exist in this Statsig project (404: Segment not found", id="404"),
        pytest.param({"segment_type": "rule_based"}, "is of type rule_based, but must be an ID list", id="type"),
        pytest.param({"id_type": "companyID"}, "holds ids of type companyID, but the stream is configured", id="id"),
    ],
)
def test_an_unsuitable_segment_fails_before_the_first_change(run_target, statsig, seed, words):
    if seed is not None:
        statsig.state.seed_segment("other", [], **seed)
    outcome = run_target([schema("users"), *users("a"), COMPLETE], **{**ADD, "segment_id": "other"})
    assert outcome.exit_code == 1
    assert words in outcome.errors
    assert changes(statsig) == []


def test_a_missing_segment_is_created_if_configured(run_target, statsig):
    run_target([schema("users"), *users("a"), COMPLETE], **{**MIRROR, "segment_id": "fresh", "create_segment": True})
    assert members(statsig, "fresh") == {"a"}


def test_a_created_segment_has_the_configured_description_and_tags(run_target, statsig):
    settings = {"create_segment": True, "segment_description": "Who pays", "segment_tags": ["crm", "daily"]}
    for _ in range(2):
        run_target([schema("users"), *users("a")], **{**ADD, "segment_id": "fresh", **settings})
        fresh = statsig.state.segments["fresh"]
        assert (fresh.description, fresh.tags) == ("Who pays", ["crm", "daily"])
    bodies = [entry.path for entry in statsig.state.requests if entry.method == "POST"]
    assert bodies == ["/console/v1/segments"]


def test_an_existing_segment_keeps_its_description(run_target, statsig):
    statsig.state.segments["vips"].description = "By hand"
    run_target([schema("users"), *users("a")], **ADD, segment_description="Who pays", segment_tags=["crm"])
    assert (statsig.state.segments["vips"].description, statsig.state.segments["vips"].tags) == ("By hand", [])


@pytest.mark.parametrize("respects", [True, False])
def test_every_change_asks_for_reviews_if_configured(run_target, statsig, respects):
    settings = {**MIRROR, "segment_id": "fresh", "create_segment": True, "respect_review_settings": respects}
    run_target([schema("users"), *users("a", "b"), COMPLETE], **settings)
    run_target([schema("users"), *users("a"), COMPLETE], **settings)
    asked = {(entry.method, entry.respects_reviews) for entry in statsig.state.requests}
    assert asked == {("GET", False), *((method, respects) for method in ("POST", "PATCH", "DELETE"))}


def test_a_change_that_needs_review_fails_and_its_rows_are_kept(run_target, statsig):
    fault = statsig.faults.add(method="PATCH", status=403, body='{"status": 403, "message": "This requires a review"}')
    rows = [schema("users"), *users("d"), state(users={})]
    outcome = run_target(rows, **ADD, respect_review_settings=True)
    assert outcome.exit_code == 1
    assert outcome.report["error_codes"] == ["review_required"]
    assert "Set `respect_review_settings` to false" in outcome.errors
    assert fault.hits == 1
    assert members(statsig) == {"a", "b", "c"}
    statsig.faults.clear()
    assert run_target([schema("users"), COMPLETE], **ADD).exit_code == 0
    assert members(statsig) == {"a", "b", "c", "d"}


def test_a_mirror_does_not_count_proposed_additions_as_added(run_target, statsig):
    statsig.faults.add(method="PATCH", status=200, body='{"message": "The change was submitted for review"}')
    audience = [schema("users"), *users("a", "b", "c", "d"), COMPLETE]
    assert run_target(audience, **MIRROR).report["error_codes"] == ["review_required"]
    statsig.faults.clear()
    assert segment_report(run_target(audience, **MIRROR))["added"] == 1
    assert members(statsig) == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("settings", "column", "id_type"),
    [
        pytest.param({}, "user_id", "userID", id="user"),
        pytest.param({"id_type": "stable_id"}, "anonymous_id", "stableID", id="stable"),
        pytest.param({"id_type": "custom_id", "custom_id_type": "companyID"}, "companyID", "companyID", id="custom"),
        pytest.param({"field_mapping": {"user_id": "user.id"}}, "user", "userID", id="a dotted path"),
    ],
)
def test_the_member_is_read_from_the_column_of_its_id_type(run_target, statsig, settings, column, id_type):
    statsig.state.seed_segment("typed", [], id_type=id_type)
    value = {"id": "m"} if column == "user" else "m"
    outcome = run_target(
        [schema("users"), record("users", {column: value}, version=1), COMPLETE],
        **{**ADD, "segment_id": "typed", **settings},
    )
    assert outcome.exit_code == 0, outcome.errors
    assert members(statsig, "typed") == {"m"}


def test_one_stream_feeds_many_segments(run_target, statsig):
    statsig.state.seed_segment("other", ["x", "y"])
    rows = [
        record("users", {"user_id": name, "s": name_of}, version=1) for name, name_of in (("a", "vips"), ("x", "other"))
    ]
    settings = {"object_type": "segment", "segment_id_field": "s", "sync_mode": "mirror"}
    outcome = run_target([schema("users"), *rows, COMPLETE], **settings)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a"}
    assert members(statsig, "other") == {"x"}


def test_a_list_in_the_user_store_is_changed_by_its_own_requests(run_target, statsig):
    statsig.state.seed_segment("stored", [], segment_type="user_store_id_list")
    run_target([schema("users"), *users(*range(1500)), COMPLETE], **{**ADD, "segment_id": "stored"})
    assert changes(statsig) == [("PATCH", 1000), ("PATCH", 500)]
    assert len(members(statsig, "stored")) == 1500


def test_a_schema_change_does_not_split_the_audience(run_target, statsig):
    messages = [schema("users", {"user_id": {}}), *users("a", "b"), schema("users", {"user_id": {}, "x": {}})]
    outcome = run_target([*messages, *users("c"), COMPLETE], on_incomplete_stream="remove", **MIRROR)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a", "b", "c"}


def test_ids_are_not_in_the_log_or_the_report(run_target, statsig):
    outcome = run_target([schema("users"), *users("secret-person"), COMPLETE], **MIRROR)
    assert "secret-person" in members(statsig)
    assert "secret-person" not in outcome.log + str(outcome.report)


def test_another_stream_that_mirrors_the_segment_is_refused(run_target, statsig):
    run_target([schema("users"), *users("a", "b", "c"), COMPLETE], **MIRROR)
    outcome = run_target([schema("others"), *users("z", stream="others"), state(others={})], **MIRROR)
    assert outcome.exit_code == 1
    assert "is mirrored from stream 'users'" in outcome.errors
    assert "but may send recent events twice" in outcome.errors
    assert members(statsig) == {"a", "b", "c"}


def test_removal_scope_own_removes_only_members_that_the_target_added(run_target, statsig):
    run_target([schema("users"), *users("a", "d"), COMPLETE], removal_scope="own", **MIRROR)
    assert members(statsig) == {"a", "b", "c", "d"}
    run_target([schema("users"), *users("a"), COMPLETE], removal_scope="own", **MIRROR)
    assert members(statsig) == {"a", "b", "c"}


def test_a_segment_that_no_record_names_any_more_has_no_audience(run_target, statsig):
    statsig.state.seed_segment("other", [])
    settings = {"object_type": "segment", "segment_id_field": "s", "sync_mode": "mirror"}
    rows = [
        record("users", {"user_id": "a", "s": "vips"}, version=1),
        record("users", {"user_id": "x", "s": "other"}, version=1),
    ]
    run_target([schema("users"), *rows, COMPLETE], **settings)
    outcome = run_target([schema("users"), rows[0], COMPLETE], **settings)
    assert members(statsig, "other") == {"x"}
    assert segment_report(outcome, segment="other")["held_because"] == "empty_stream"
    run_target([schema("users"), rows[0], COMPLETE], allow_empty_segment=True, **settings)
    assert members(statsig, "other") == set()


def test_kept_changes_are_sent_although_their_stream_is_absent(run_target, statsig):
    streams = {"users": {**ADD, "segment_id": "later"}, "z": {**ADD, "segment_id": "vips"}}
    run_target([schema("users"), *users("a")], streams=streams)
    statsig.state.seed_segment("later", [])
    assert run_target([schema("z"), *users("q", stream="z")], streams=streams).exit_code == 0
    assert members(statsig, "later") == {"a"}


@pytest.mark.usefixtures("waits_take_no_time")
def test_a_long_list_is_read_in_spaced_requests_with_progress(statsig_factory, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    statsig = statsig_factory(page_size=10)
    statsig.state.seed_segment("vips", [f"u{number:05}" for number in range(3_300)])
    run = TargetRunner(statsig, tmp_path, capsys, caplog)
    outcome = run([schema("users"), *users("a")], **MIRROR)
    assert segment_report(outcome)["held"] == 3_300
    # 330 pages, 80 in 10 seconds: half a minute has passed before the last hundred.
    assert re.search("users: 1 record, 1 staged, [123],000 ids of a list read, in spaced requests", outcome.log)


@pytest.mark.parametrize(("dry_run", "after"), [(False, {"a", "c"}), (True, {"a"})], ids=["run", "dry run"])
def test_of_two_streams_for_one_segment_only_the_first_is_mirrored(run_target, statsig, dry_run, after):
    statsig.state.seed_segment("vips", ["a"])
    mirror = {"object_type": "segment", "segment_id_field": "list", "sync_mode": "mirror"}
    lines = []
    for stream, name in [("users", "c"), ("staff", "d")]:
        rows = [record(stream, {"user_id": member, "list": "vips"}, version=1) for member in ("a", name)]
        lines += [schema(stream), *rows, activate_version(stream)]
    outcome = run_target(lines, streams={"users": mirror, "staff": mirror}, dry_run=dry_run)
    assert outcome.exit_code == 1
    assert members(statsig) == after
    assert [stream["segments"]["vips"]["added"] for stream in outcome.report["streams"].values()] == [1, 0]
    (error,) = outcome.report["errors"]
    assert "Segment 'vips' is being synced from another stream of this run" in error


@pytest.mark.parametrize("mode", ["add", "remove"])
@pytest.mark.parametrize("streams", [("users", "staff"), ("staff", "users")], ids=["mirror first", "mirror second"])
def test_a_mirror_and_rows_of_another_stream_are_not_mixed_in_one_segment(run_target, statsig, streams, mode):
    named = {"object_type": "segment", "segment_id_field": "list", "max_removal_percent": 100}
    lines = []
    for stream, member in zip(streams, ("c", "d"), strict=True):
        rows = [record(stream, {"user_id": member, "list": "vips"}, version=1)]
        lines += [schema(stream), *rows, activate_version(stream)]
    settings = {"users": {**named, "sync_mode": "mirror"}, "staff": {**named, "sync_mode": mode}}
    outcome = run_target(lines, streams=settings)
    assert outcome.exit_code == 1
    second = segment_report(outcome, streams[1])
    assert (second["added"], second["removed"]) == (0, 0)
    (error,) = outcome.report["errors"]
    assert "and one of them mirrors it. This stream did not touch it." in error
    by_rows = {"a", "b", "c"} if mode == "add" else {"a", "b"}
    assert members(statsig) == ({"c"} if streams[0] == "users" else by_rows)


def test_a_segment_that_a_mirror_no_longer_names_is_left_to_another_stream(run_target, statsig):
    statsig.state.seed_segment("team")
    named = {"object_type": "segment", "segment_id_field": "list"}
    settings = {"users": {**named, "sync_mode": "mirror"}, "staff": {**named, "sync_mode": "add"}}

    def lines(stream, segment, member):
        row = record(stream, {"user_id": member, "list": segment}, version=1)
        return [schema(stream), row, activate_version(stream)]

    run_target(lines("users", "vips", "a"), streams=settings)
    outcome = run_target(lines("users", "team", "b") + lines("staff", "vips", "d"), streams=settings)
    assert outcome.exit_code == 0
    assert members(statsig) == {"a", "d"}
