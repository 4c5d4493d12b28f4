from __future__ import annotations

import pickle

import pytest

from target_statsig.config.choices import EventPreset, ObjectType, SyncMode
from target_statsig.config.load import restore_keys
from target_statsig.config.parse import find_entry, parse_config
from target_statsig.config.settings import config_schema
from target_statsig.errors import SettingsError

KEYS = {"server_secret_key": "secret-abcdefgh", "console_api_key": "console-abcdefgh"}
EVENT = {"object_type": "event"}
MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}


def parse(**raw):
    return parse_config(restore_keys(raw, {}), config_schema())


def errors_of(**raw):
    with pytest.raises(SettingsError) as caught:
        parse(**raw)
    return caught.value.errors


def test_a_flat_configuration_needs_no_streams():
    config = parse(**KEYS, object_type="event", event_preset="retail")
    stream = config.for_stream("anything")
    assert stream.object_type is ObjectType.EVENT
    assert stream.event_preset is EventPreset.RETAIL


def test_only_the_matching_entry_overrides_the_top_level():
    config = parse(
        **KEYS,
        object_type="event",
        max_rejected_percent=50,
        streams={"*": {"event_name": "any"}, "vips": {**MIRROR, "max_rejected_percent": 0}},
    )
    assert config.for_stream("vips").sync_mode is SyncMode.MIRROR
    assert config.for_stream("vips").max_rejected_percent == 0
    assert config.for_stream("vips").event_name is None
    assert config.for_stream("other").max_rejected_percent == 50


def test_null_counts_as_unset():
    assert parse(**KEYS, object_type="event", event_name=None).for_stream("x").event_name is None


def test_sources_may_be_lists_and_nested_mappings_are_flattened():
    config = parse(
        **KEYS,
        **EVENT,
        field_mapping={"user_id": ["customer_id", "user.id"], "email": "mail"},
        custom_fields={"plan": {"name": ["plan", "tier"]}},
    )
    stream = config.for_stream("x")
    assert stream.field_mapping == {"user_id": ("customer_id", "user.id"), "email": "mail"}
    assert stream.custom_fields == {"plan.name": ("plan", "tier")}


def test_stream_settings_can_be_pickled():
    stream = parse(**KEYS, object_type="event", custom_ids={"companyID": "company"}).for_stream("x")
    assert pickle.loads(pickle.dumps(stream)) == stream


def test_all_errors_are_reported_at_once():
    errors = errors_of(
        server_secret_key="console-xyzw1234",
        events_url="events.statsigapi.net",
        streams={"orders": {"object_type": "event"}, "vips": {"object_type": "segment", "segment_id": "v"}},
    )
    assert len(errors) == 4
    assert any("streams.vips: `sync_mode`" in text for text in errors)


def test_a_value_of_the_wrong_type_hides_no_other_error():
    errors = errors_of(
        server_secret_key="console-xyzw1234",
        batch_size_rows=0,
        streams={"orders": {"object_type": "event", "dedupe": 1}, "vips": {**MIRROR, "segment_id": 5}, "x": 1},
    )
    assert [error.split(" ")[:2] for error in sorted(errors)] == [
        ["`batch_size_rows`", "must"],
        ["`console_api_key`", "is"],
        ["`server_secret_key`", "holds"],
        ["`streams.x`", "must"],
        ["streams.orders:", "`dedupe`"],
        ["streams.vips:", "`segment_id`"],
    ]


def test_errors_of_one_stream_hide_none_of_another():
    errors = errors_of(
        **KEYS,
        streams={
            "gold": {**MIRROR, "sync_mode": "mirrr"},
            "silver": {"object_type": "segment", "segment_id": "silver"},
            "orders": {"object_type": "event", "field_mapping": {"user_id": 5}},
            "visits": {"object_type": "event", "field_mapping": {"usr_id": "id"}},
        },
    )
    assert [error.split(" ")[:2] for error in sorted(errors)] == [
        ["streams.gold:", "`sync_mode`"],
        ["streams.orders:", "`field_mapping.user_id`"],
        ["streams.silver:", "`sync_mode`"],
        ["streams.visits:", "`field_mapping`"],
    ]


def test_streams_of_the_wrong_type_hide_no_other_error():
    assert len(errors_of(**KEYS, batch_size_rows=0, streams=5)) == 2


def test_a_wrong_default_is_reported_once():
    assert len(errors_of(**KEYS, object_type="evnt", streams={"a": {"event_name": "x"}, "b": {}})) == 1


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        pytest.param(
            {"console_url": "https://statsigapi.net"},
            "`console_url` must end in /console/v1 at this host: https://statsigapi.net/console/v1",
            id="console URL without its path",
        ),
        pytest.param(
            {"events_url": "https://events.statsigapi.net/"}, "`events_url` must end in /v1", id="events URL without"
        ),
        pytest.param(
            {"events_url": "http://[::1/v1"}, "`events_url` must be an address such as", id="open bracket in a URL"
        ),
        pytest.param({"console_url": "http://h:99999/v1"}, "`console_url` must be an address", id="invalid port"),
        pytest.param(
            {"notify_url": "http://[::1/x"}, "`notify_url` must be a complete address", id="notify URL without a host"
        ),
        pytest.param({"evnts_url": "x"}, "`evnts_url` is not a setting; did you mean `events_url`?", id="misspelt"),
        pytest.param(
            {"streams": {"a": {"segmnt_id": "x"}}},
            "streams.a: `segmnt_id` is not a setting; did you mean `segment_id`?",
            id="misspelt in a stream",
        ),
        pytest.param({"load_method": "upsert"}, "`sync_mode`", id="load_method instead of sync_mode"),
        pytest.param({"request_timeout": "x"}, "`request_timeout` must be an integer.", id="wrong type"),
        pytest.param(
            {"field_mapping": {"user_id": 1}},
            "`field_mapping.user_id` must be a string or a list of strings.",
            id="a number as a source",
        ),
        pytest.param(
            {"custom_ids": {"c": []}},
            "`custom_ids.c` must not be empty: leave it out, or give it a value.",
            id="empty list of sources",
        ),
        pytest.param(
            {"object_type": "event", "custom_fields": {"x": ["a", "privateAttributes.b"]}},
            "`custom_fields.x` names private attributes",
            id="private attributes",
        ),
        pytest.param({"streams": {"a": 1}}, "`streams.a` must be an object.", id="an entry of the wrong type"),
        pytest.param({"batch_size_rows": 3001}, "`batch_size_rows` must be at most 3000.", id="too large"),
        pytest.param(
            {"streams": {"a": {"object_type": "gate"}}},
            "streams.a: `object_type` must be one of event, segment",
            id="not one of the choices",
        ),
        pytest.param({"server_secret_key": ""}, "`server_secret_key` must not be empty", id="an empty key"),
        pytest.param({"object_type": "event"}, "`server_secret_key` is missing", id="events without their key"),
        pytest.param(MIRROR, "`console_api_key` is missing", id="segments without their key"),
        pytest.param(
            {**MIRROR, "dry_run": True}, "`console_api_key` is missing", id="segments without their key in a dry run"
        ),
        pytest.param(
            {"object_type": "event", "server_secret_key": "client-abcd"},
            "`server_secret_key` holds a Client SDK Key (client-…, ends in abcd); it must be a Server Secret Key",
            id="a client key",
        ),
        pytest.param(
            {**MIRROR, "console_api_key": "secret-abcd"},
            "`console_api_key` holds a Server Secret Key",
            id="a server key for the console",
        ),
        pytest.param({"streams": {"a": {}}}, "streams.a: `object_type` is missing", id="no object type"),
        pytest.param(
            {**KEYS, "object_type": "segment", "sync_mode": "add"},
            "`segment_id` or `segment_id_field`",
            id="no segment",
        ),
        pytest.param(
            {**KEYS, **MIRROR, "segment_id_field": "s"},
            "and not both",
            id="a segment and a segment column",
        ),
        pytest.param(
            {**KEYS, **MIRROR, "id_type": "custom_id"}, "`custom_id_type` is missing", id="custom_id without its type"
        ),
        pytest.param(
            {**KEYS, **MIRROR, "custom_id_type": "companyID"},
            "needs `id_type: custom_id`",
            id="a custom ID type without custom_id",
        ),
        pytest.param(
            {**KEYS, **MIRROR, "membership_field": "active"},
            "needs `sync_mode: add`",
            id="membership_field of a mirror",
        ),
        pytest.param(
            {**KEYS, "object_type": "event", "field_mapping": {"userid": "x"}},
            "`field_mapping` has no destination `userid`: did you mean `user_id`?",
            id="unknown destination",
        ),
        pytest.param(
            {**KEYS, "object_type": "event", "event_name": "a;b"},
            "`event_name` holds characters",
            id="a name that Statsig drops",
        ),
        pytest.param(
            {"object_type": "exposure"},
            "a stream goes to exposures and needs a Server",
            id="exposures without their key",
        ),
        pytest.param(
            {"streams": {"a": {"object_type": "metric"}, "b": {"object_type": "event"}}},
            "`server_secret_key` is missing: a stream goes to events or metrics",
            id="metrics and events without their key",
        ),
        pytest.param(
            {**KEYS, "object_type": "exposure", "experiment_name": "a", "gate_name": "b"},
            "`experiment_name` and `gate_name` exclude each other",
            id="an experiment and a gate",
        ),
        pytest.param(
            {**KEYS, "object_type": "exposure", "field_mapping": {"rule": "x"}},
            "`field_mapping` has no destination `rule`: did you mean `rule_id`?",
            id="unknown destination of an exposure",
        ),
        pytest.param(
            {**KEYS, "object_type": "metric", "field_mapping": {"email": "x"}},
            "`field_mapping` has no destination `email`: choose from user_id",
            id="unknown destination of a metric",
        ),
        pytest.param(
            {**KEYS, **MIRROR, "field_mapping": {"userid": "x"}},
            "`field_mapping` has no destination `userid`: did you mean `user_id`?",
            id="unknown destination of a segment",
        ),
        pytest.param(
            {**KEYS, **MIRROR, "id_type": "custom_id", "custom_id_type": "shop", "field_mapping": {"company": "x"}},
            "`field_mapping` has no destination `company`: choose from user_id, anonymous_id, shop.",
            id="the custom ID type of another segment",
        ),
        pytest.param(
            {**KEYS, "object_type": "metric", "id_type": "custom_id"},
            "`custom_id_type` is missing",
            id="a metric's custom_id without its type",
        ),
        pytest.param({"console_rate_limits": "10 per second"}, "`console_rate_limits`: ", id="rate limits"),
        pytest.param(
            {**KEYS, "streams": {"a": MIRROR, "b": MIRROR}},
            "segment 'vips' is fed by 'a', 'b'",
            id="two mirrors",
        ),
        pytest.param(
            {**KEYS, "streams": {"a": MIRROR, "b": {**MIRROR, "sync_mode": "add"}}},
            "A mirror would remove what the others added",
            id="a mirror and an addition",
        ),
    ],
)
def test_an_error_names_the_setting_and_the_remedy(raw, part):
    assert any(part in text for text in errors_of(**raw)), errors_of(**raw)


def test_no_error_quotes_a_key():
    secret = "secret-0123456789abcdef"
    assert "0123456789" not in str(errors_of(console_api_key=secret, server_secret_key=123, store_url=secret))


def test_the_custom_id_type_of_a_metric_is_a_destination():
    company = {"id_type": "custom_id", "custom_id_type": "companyID", "field_mapping": {"companyID": "account"}}
    assert parse(**KEYS, object_type="metric", **company).for_stream("x").custom_id_type == "companyID"


def test_a_segment_may_inherit_destinations_of_other_object_types():
    mapping = {"user_id": "id", "event_time": "at", "metric_value": "total"}
    assert parse(**KEYS, **MIRROR, field_mapping=mapping).for_stream("x").field_mapping["user_id"] == "id"


def test_two_streams_may_add_to_one_segment():
    add = {**MIRROR, "sync_mode": "add"}
    assert parse(**KEYS, streams={"a": add, "b": add}).for_stream("b").segment_id == "vips"


def test_the_second_stream_of_a_mirror_with_a_glob_is_refused():
    config = parse(**KEYS, streams={"audience-*": MIRROR})
    config.for_stream("audience-a")
    with pytest.raises(SettingsError, match="segment 'vips' is fed by"):
        config.for_stream("audience-b")


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        pytest.param({}, "is missing, and so is every other setting. Give `--config`", id="nothing is configured"),
        pytest.param({"event_name": "a"}, "is missing. Set it in an entry for this stream", id="no entries"),
        pytest.param(
            {"streams": {"public-x": MIRROR}}, "(there are 'public-x'). Set it in an entry", id="another stream's entry"
        ),
    ],
)
def test_a_stream_without_an_object_type_is_refused(settings, part):
    with pytest.raises(SettingsError, match="stream 'x': `object_type` is missing") as refused:
        parse(**KEYS, **settings).for_stream("x")
    assert part in str(refused.value)
    assert ("Set it" in str(refused.value)) is bool(settings)


@pytest.mark.parametrize(
    ("stream", "keys", "expected"),
    [
        pytest.param("orders", ["orders", "*"], "orders", id="an exact name wins over a glob"),
        pytest.param("public-orders", ["*", "public-*"], "public-*", id="the longest literal part wins"),
        pytest.param("public-orders", ["public-o*", "*-orders"], "public-o*", id="the wildcard may be anywhere"),
        pytest.param("x", ["orders", "a*"], None, id="nothing matches"),
        pytest.param("a[b]", ["a[b]", "a*"], "a[b]", id="a bracket is part of the name"),
        pytest.param("Orders", ["orders", "o*"], None, id="names are case-sensitive"),
    ],
)
def test_the_entry_of_a_stream_is_found(stream, keys, expected):
    assert find_entry(stream, dict.fromkeys(keys, EVENT)) == expected


def test_two_equally_matching_globs_are_an_error():
    with pytest.raises(SettingsError, match=r"'orders-\*' and '\*-orders' match"):
        find_entry("orders-orders", {"orders-*": EVENT, "*-orders": EVENT})
