"""Columns and streams that settings name and the input does not have are warned about, with the nearest name."""

from __future__ import annotations

import logging

import pytest

from tests.singer import ANYTHING, schema

EVENT = {"object_type": "event"}
ADD = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
BY_FIELD = {"object_type": "segment", "sync_mode": "add"}
TEXT = {"type": ["null", "string"]}
COLUMNS = {"EVENT": TEXT, "customer": {"type": "object", "properties": {"id": TEXT, "org": {"type": "object"}}}}


@pytest.fixture
def warnings(run_target, statsig, caplog):
    """Run a target and return the warnings in its log, without the stream's name."""

    def run(messages, **settings):
        statsig.state.seed_segment("vips", [])
        run_target(messages, **settings)
        texts = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
        return [text.removeprefix("Stream 's': ") for text in texts]

    return run


@pytest.mark.parametrize(
    ("settings", "setting", "source", "near"),
    [
        ({**EVENT, "field_mapping": {"event_name": "event"}}, "field_mapping.event_name", "event", "EVENT"),
        ({**EVENT, "field_mapping": {"user_id": "customer.ID"}}, "field_mapping.user_id", "customer.ID", "customer.id"),
        ({**EVENT, "field_mapping": {"event_name": "EVENT.x"}}, "field_mapping.event_name", "EVENT.x", "EVENT"),
        ({**EVENT, "custom_ids": {"companyID": "zzz"}}, "custom_ids.companyID", "zzz", None),
        ({**EVENT, "custom_fields": {"plan": "zzz"}}, "custom_fields.plan", "zzz", None),
        ({**EVENT, "environment_tier_field": "zzz"}, "environment_tier_field", "zzz", None),
        ({**EVENT, "metadata_fields": ["*", "custmer"]}, "metadata_fields", "custmer", "customer"),
        ({"object_type": "exposure", "custom_ids": {"c": "zzz"}}, "custom_ids.c", "zzz", None),
        ({"object_type": "metric", "field_mapping": {"metric_name": "m"}}, "field_mapping.metric_name", "m", None),
        ({**ADD, "field_mapping": {"user_id": "nope"}}, "field_mapping.user_id", "nope", None),
        ({**ADD, "membership_field": "active"}, "membership_field", "active", None),
        ({**ADD, "row_count_field": "n"}, "row_count_field", "n", None),
        ({**BY_FIELD, "segment_id_field": "custome"}, "segment_id_field", "custome", "customer"),
        ({**ADD, "id_type": "custom_id", "custom_id_type": "orgID"}, "custom_id_type", "orgID", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_column_is_warned_about_once(warnings, settings, setting, source, near):
    found = warnings([schema("s", COLUMNS), schema("s", {**COLUMNS, "more": TEXT})], **settings)
    hint = "" if near is None else f" (the nearest is `{near}`)"
    maps = "before" if setting == "row_count_field" else "after"
    missing = f"`{setting}` names `{source}`, which the stream does not have"
    assert found == [f"{missing}{hint}. Case matters, and names are those {maps} stream maps."]


@pytest.mark.parametrize(
    ("columns", "source"),
    [
        pytest.param(COLUMNS, "EVENT", id="a column"),
        pytest.param(COLUMNS, "customer.id", id="within an object"),
        pytest.param(COLUMNS, "customer.org.name", id="within an object without properties"),
        pytest.param({"a__b": TEXT}, "a.b", id="flattened"),
        pytest.param({"a.b": TEXT}, "a.b", id="a name with a dot"),
        pytest.param({"a": {"anyOf": [TEXT, {"type": "object"}]}}, "a.b", id="of several kinds"),
        pytest.param({"a": {}}, "a.b", id="of any kind"),
        pytest.param({"a": True}, "a.b", id="of any kind, written as true"),
        pytest.param({}, "nope", id="a schema without columns"),
        pytest.param(None, "nope", id="a schema that allows others"),
    ],
)
def test_columns_that_a_record_may_have_cause_no_warning(warnings, columns, source):
    assert warnings([schema("s", columns)], **EVENT, field_mapping={"user_id": source}) == []


@pytest.mark.parametrize("stream", [EVENT, ADD], ids=["events", "a segment"])
def test_one_of_several_sources_is_enough(warnings, stream):
    some = {**stream, "field_mapping": {"user_id": ["nope", "customer.id"]}}
    assert [message for message in warnings([schema("s", COLUMNS)], **some) if "names" in message] == []
    none = {**stream, "field_mapping": {"user_id": ["nope", "custmer"]}}
    assert (
        "`field_mapping.user_id` names `nope` and `custmer`, none of which the stream has (the nearest is "
        "`customer`). Case matters, and names are those after stream maps." in warnings([schema("s", COLUMNS)], **none)
    )


def test_a_schema_that_allows_other_columns_causes_no_warning(warnings):
    message = {**schema("s"), "schema": {**ANYTHING, "properties": COLUMNS}}
    assert warnings([message], **EVENT, field_mapping={"user_id": "nope"}) == []


def test_settings_of_other_object_types_cause_no_warning(warnings):
    settings = {"metadata_fields": ["note"], "custom_ids": {"c": "company"}, "membership_field": "active"}
    streams = {"s": {"object_type": "metric"}}
    assert warnings([schema("s", COLUMNS)], streams=streams, **settings) == []


def test_columns_are_looked_up_after_stream_maps(warnings):
    maps = {"s": {"who": "EVENT", "__else__": None}}
    messages = [schema("s", COLUMNS)]
    assert warnings(messages, **EVENT, stream_maps=maps, field_mapping={"user_id": "who"}) == []
    assert (
        "`EVENT`, which the stream does not have"
        in warnings(messages, **EVENT, stream_maps=maps, field_mapping={"user_id": "EVENT"})[0]
    )


def test_the_row_count_column_is_looked_up_before_stream_maps(warnings):
    maps = {"s": {"user_id": "EVENT", "__else__": None}}
    messages = [schema("s", {**COLUMNS, "n": {"type": "integer"}})]
    assert warnings(messages, **ADD, stream_maps=maps, row_count_field="n") == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        pytest.param("orders", "names 'orders', but no such stream came. Did you mean 'Orders'?", id="a name"),
        pytest.param("zzz-*", "names 'zzz-*', but no such stream came.", id="a glob"),
    ],
)
def test_a_configured_stream_that_never_came_is_warned_about(warnings, entry, message):
    messages = [schema("Orders", {}), schema("other", {})]
    found = warnings(messages, streams={entry: EVENT, "oth*": EVENT}, **EVENT)
    assert found == [f"`streams` {message} Streams that came, after stream maps: 'Orders', 'other'."]


def test_a_stream_with_its_own_entry_is_not_suggested(warnings):
    streams = {"public-orders": EVENT, "public-order_lines": EVENT}
    (found,) = warnings([schema("public-orders", {})], streams=streams)
    assert found.startswith("`streams` names 'public-order_lines', but no such stream came. Streams that came,")


def test_without_any_stream_the_warning_says_nothing_came(warnings):
    assert warnings([], streams={"orders": EVENT}) == [
        "`streams` names 'orders', but no such stream came. Streams that came, after stream maps: nothing."
    ]


def test_the_warning_lists_at_most_20_streams(warnings):
    found = warnings([schema(f"s{number:02}", {}) for number in range(30)], streams={"x": EVENT}, **EVENT)
    assert "'s19' and 10 more." in found[0]


def test_a_failed_run_does_not_warn_about_missing_streams(warnings):
    assert warnings([schema("a", {}), b"no JSON\n"], streams={"a": EVENT, "b": EVENT}) == []


def test_an_input_without_streams_is_warned_about(warnings):
    (warning,) = warnings([], **EVENT)
    assert warning == "No stream came: the input held no SCHEMA message. If the tap failed, its log says why."
