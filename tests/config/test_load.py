"""Environment variables, and keys with dots, which Meltano splits or drops."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.load import restore_keys, typed
from target_statsig.config.settings import config_schema

EVENT = {"object_type": "event"}


@pytest.mark.parametrize(
    ("configured", "passed", "expected"),
    [
        pytest.param({"a.b": EVENT}, {}, {"a.b": EVENT}, id="dropped"),
        pytest.param({"a.b": EVENT, "c": EVENT}, {"c": EVENT}, {"c": EVENT, "a.b": EVENT}, id="beside one kept"),
        pytest.param({"a.b": EVENT}, {"a.b": EVENT}, {"a.b": EVENT}, id="kept"),
        pytest.param(
            {"a.b": {**EVENT, "dedupe": False}},
            {"a.b": EVENT},
            {"a.b": EVENT},
            id="an entry that came is not completed",
        ),
        pytest.param({"a.b": EVENT}, {"a": {"b": EVENT}}, {"a.b": EVENT}, id="split"),
        pytest.param({"a.b": EVENT}, {"a": {"c": EVENT}}, {"a.c": EVENT, "a.b": EVENT}, id="beside one split"),
        pytest.param({r"a\.b": EVENT}, {"a.b": EVENT}, {"a.b": EVENT}, id="escaped for Meltano"),
        pytest.param(
            {"a.b": {"custom_ids": {r"c\.d": "x"}}},
            {},
            {"a.b": {"custom_ids": {"c.d": "x"}}},
            id="escaped in a dropped entry",
        ),
        pytest.param({"a": EVENT}, {}, {}, id="without a dot"),
        pytest.param({"a.b": None}, {}, {}, id="null"),
        pytest.param({"a.b": EVENT}, {"a": EVENT}, {"a": EVENT, "a.b": EVENT}, id="beside a stream"),
        pytest.param(
            {"raw.1": EVENT, "orders.object_type": "event"},
            {"orders": EVENT},
            {"orders": EVENT, "raw.1": EVENT},
            id="beside paths of settings",
        ),
        pytest.param(
            {"orders": EVENT | {"event_name_mapping": {"v2.0": "x"}}},
            {"orders": EVENT | {"event_name_mapping": {}}},
            {"orders": EVENT | {"event_name_mapping": {"v2.0": "x"}}},
            id="within a stream",
        ),
    ],
)
def test_streams_that_meltano_drops_are_restored(configured, passed, expected):
    environ = {"MELTANO_LOAD_STREAMS": json.dumps(configured)}
    assert restore_keys({"streams": passed, "other": 1}, environ) == {"streams": expected, "other": 1}


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="not under Meltano"),
        pytest.param({"TARGET_STATSIG_STREAMS": '{"a.b": {}}'}, id="the target's own variable"),
        pytest.param({"MELTANO_LOAD_STREAMS": "{broken"}, id="invalid JSON"),
        pytest.param({"MELTANO_LOAD_STREAMS": '["a.b"]'}, id="a list"),
        pytest.param({"MELTANO_LOAD_STREAM_MAPS": '{"a.b": "x"}'}, id="another setting"),
    ],
)
def test_other_variables_do_not_change_the_configuration(environ):
    assert restore_keys({"streams": {"a": EVENT}}, environ) == {"streams": {"a": EVENT}}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(
            {"orders.object_type": "event", "orders.field_mapping.event_value": "total", "users.dedupe": False},
            {"orders": EVENT | {"field_mapping": {"event_value": "total"}}, "users": {"dedupe": False}},
            id="paths",
        ),
        pytest.param(
            {"orders.object_type": "event", r"orders.event_name_mapping.Order v2\.0": "x"},
            {"orders": EVENT | {"event_name_mapping": {"Order v2.0": "x"}}},
            id="with an escaped dot",
        ),
        pytest.param({"Shop v2.0": EVENT}, {"Shop v2.0": EVENT}, id="a name with a dot"),
        pytest.param({"orders": "text"}, {"orders": "text"}, id="an invalid value is left to the schema"),
        pytest.param(
            {"orders": "text", "orders.dedupe": False},
            {"orders": "text"},
            id="an invalid value beside a path",
        ),
    ],
)
def test_dotted_paths_of_settings_are_expanded(paths, expected):
    assert restore_keys({"streams": paths}, {}) == {"streams": expected}


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        pytest.param({}, {"custom_ids": {"shop.id": "shop"}}, id="dropped"),
        pytest.param({"custom_ids": {"shop": {"id": "x"}}}, {"custom_ids": {"shop.id": "x"}}, id="split"),
        pytest.param(
            {"custom_ids": {"shop": "y"}}, {"custom_ids": {"shop": "y", "shop.id": "shop"}}, id="beside a plain value"
        ),
    ],
)
def test_mapping_keys_that_meltano_drops_are_restored(passed, expected):
    assert restore_keys(passed, {"MELTANO_LOAD_CUSTOM_IDS": '{"shop.id": "shop"}'}) == expected


def test_a_value_of_the_wrong_type_is_left_to_the_schema():
    environ = {"MELTANO_LOAD_STREAMS": '{"a.b": "x"}'}
    assert restore_keys({"streams": "text"}, environ) == {"streams": "text"}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        pytest.param({"Order v2": {"0": "order"}}, {"Order v2.0": "order"}, id="one dot"),
        pytest.param({"a": {"b": {"c": "x"}}, "d": "y"}, {"a.b.c": "x", "d": "y"}, id="several"),
        pytest.param({"a": "x"}, {"a": "x"}, id="none"),
    ],
)
def test_split_mapping_keys_are_joined(split, expected):
    assert restore_keys({"custom_ids": split}, {}) == {"custom_ids": expected}


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        pytest.param({"public": {"orders": EVENT}}, {"public.orders": EVENT}, id="one dot"),
        pytest.param({"a": {"b": {"c": EVENT}}}, {"a.b.c": EVENT}, id="two dots"),
        pytest.param({"a": {**EVENT, "b": EVENT}}, {"a": EVENT, "a.b": EVENT}, id="a stream and its dotted sibling"),
        pytest.param(
            {"a": {**EVENT, "feild_mapping": {"x": "y"}}},
            {"a": {**EVENT, "feild_mapping": {"x": "y"}}},
            id="a misspelt setting",
        ),
        pytest.param(
            {"a": {"b": {**EVENT, "feild": "y"}}}, {"a.b": {**EVENT, "feild": "y"}}, id="a misspelt setting after a dot"
        ),
        pytest.param({"a": {}}, {"a": {}}, id="an empty entry"),
        pytest.param({"a": 1}, {"a": 1}, id="an invalid entry is left to the schema"),
    ],
)
def test_split_stream_names_are_joined(split, expected):
    assert restore_keys({"streams": split}, {}) == {"streams": expected}


def split_at_dots(mapping):
    split = {}
    for key, value in mapping.items():
        node = split
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return split


parts = st.text("ab Z", min_size=1, max_size=3)


@given(st.sets(st.lists(parts, min_size=1, max_size=3).map(".".join), max_size=6))
def test_any_names_that_meltano_splits_are_joined(names):
    names = {name for name in names if not any(other != name and other.startswith(f"{name}.") for other in names)}
    whole = {name: {"object_type": "event", "event_name": "x"} for name in names}
    assert restore_keys({"streams": split_at_dots(whole)}, {}) == {"streams": whole}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("request_timeout", "5", 5, id="a number"),
        pytest.param("request_timeout", "soon", "soon", id="not a number"),
        pytest.param("dedupe", "False", False, id="a boolean"),
        pytest.param("dedupe", "on", True, id="a boolean word"),
        pytest.param("dedupe", "ture", "ture", id="not a boolean"),
        pytest.param("field_mapping", '{"user_id": "x"}', {"user_id": "x"}, id="an object"),
        pytest.param("field_mapping", "user_id=x", "user_id=x", id="not an object"),
        pytest.param("metadata_fields", "[]", [], id="an array"),
        pytest.param("segment_id", "5", "5", id="text"),
        pytest.param("event_preset", "none", "none", id="a choice"),
    ],
)
def test_a_variable_is_parsed_by_the_type_of_its_setting(name, text, value):
    assert typed({name: text}, config_schema()) == {name: value}
