"""Settings that choose the sources of fields, from the input to Statsig."""

from __future__ import annotations

import pytest

from tests.singer import record, schema

ALSO_IN_A_WORKER = True

EVENT = {"object_type": "event", "event_name": "order", "dedupe": False}
TIME = {"timestamp": "2026-11-01T00:00:00Z"}


def test_each_record_uses_its_first_source_that_is_not_null(run_target, statsig):
    rows = [
        {"customer_id": "c1", "user": {"id": "u1"}, **TIME},
        {"customer_id": None, "user": {"id": "u2"}, **TIME},
        {"user__id": "u3", **TIME},
    ]
    mapping = {"user_id": ["customer_id", "user.id"]}
    run_target([schema("s"), *(record("s", row) for row in rows)], field_mapping=mapping, **EVENT)
    assert [event["user"]["userID"] for event in statsig.state.events] == ["c1", "u2", "u3"]


def test_a_segment_uses_the_first_source_that_is_not_null(run_target, statsig):
    statsig.state.seed_segment("vips", [])
    rows = [{"customer_id": "c1", "uid": "u1"}, {"customer_id": None, "uid": "u2"}]
    run_target(
        [schema("s"), *(record("s", row) for row in rows)],
        object_type="segment",
        segment_id="vips",
        sync_mode="add",
        field_mapping={"user_id": ["customer_id", "uid"]},
    )
    assert statsig.state.segments["vips"].ids == {"c1", "u2"}


def test_a_rejection_names_the_sources(run_target, statsig):
    statsig.state.seed_segment("vips", [])
    messages = [schema("s"), record("s", {"user_id": "u"})]
    mapping = {"user_id": ["customer_id", "uid"]}
    message = "`user_id` is read from `customer_id` or `uid`"
    assert message in run_target(messages, field_mapping=mapping, **EVENT).log
    segment = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
    assert message in run_target(messages, field_mapping=mapping, **segment).log


@pytest.mark.parametrize("object_type", ["event", "exposure"])
def test_custom_fields_are_user_attributes_and_no_metadata(run_target, statsig, object_type):
    row = {
        "user_id": "u",
        "plan": "gold",
        "seats": 5,
        "trial": False,
        "n": 1,
        "custom": {"plan": "old", "a": 1},
        **TIME,
    }
    settings = {**EVENT, "object_type": object_type, "custom_fields": {"plan": "plan", "seats": ["places", "seats"]}}
    settings |= {"experiment_name": "e", "field_mapping": {"group": "n"}} if object_type == "exposure" else {}
    run_target([schema("s"), record("s", row)], **settings)
    (item,) = statsig.state.events or statsig.state.items("exposures")
    assert item["user"]["custom"] == {"plan": "gold", "a": 1, "seats": 5}
    if object_type == "event":
        assert item["metadata"] == {"trial": "false", "n": "1"}


def test_each_record_is_sent_and_billed_by_its_tier(run_target, statsig):
    tiers = ["production", "staging", None, "qa", 7]
    rows = [{"user_id": "u", "stage": tier, **TIME} for tier in tiers]
    outcome = run_target([schema("s"), *(record("s", row) for row in rows)], environment_tier_field="stage", **EVENT)
    sent = [event["user"].get("statsigEnvironment") for event in statsig.state.events]
    assert sent == [{"tier": "production"}, {"tier": "staging"}, None, {"tier": "qa"}, None]
    assert all("metadata" not in event for event in statsig.state.events[:4])
    counts = outcome.report["streams"]["s"]
    assert (counts["delivered"], counts["billable"], counts["tier_ignored"]) == (5, 3, 1)


@pytest.mark.parametrize(
    ("types", "metadata"),
    [
        ({}, {"n": "2", "on": "true", "at": '{"b":1.5}', "c": "x"}),
        ({"metadata_types": "typed"}, {"n": 2, "on": True, "at": {"b": 1.5}, "c": "x"}),
    ],
    ids=["text", "typed"],
)
def test_metadata_is_sent_as_text_or_typed(run_target, statsig, types, metadata):
    row = {"user_id": "u", "n": 2, "on": True, "at": {"b": 1.5}, "properties": {"c": "x", "d": None}, **TIME}
    run_target([schema("s"), record("s", row)], **EVENT, **types)
    assert [event["metadata"] for event in statsig.state.events] == [metadata]
