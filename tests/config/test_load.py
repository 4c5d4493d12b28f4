"""Variables that cannot be read, and keys with dots that Meltano split or left out, put back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.load import join_dotted_keys, join_stream_names, restore_keys, typed
from target_statsig.config.settings import config_schema

EVENT = {"object_type": "event"}


@pytest.mark.parametrize(
    ("told", "got", "expected"),
    [
        pytest.param({"a.b": EVENT}, {}, {"a.b": EVENT}, id="left out"),
        pytest.param(
            {"a.b": EVENT, "c": EVENT}, {"c": EVENT}, {"c": EVENT, "a.b": EVENT}, id="beside one that was kept"
        ),
        pytest.param({"a.b": EVENT}, {"a.b": EVENT}, {"a.b": EVENT}, id="kept whole"),
        pytest.param({"a.b": EVENT}, {"a": {"b": EVENT}}, {"a.b": EVENT}, id="split, not left out"),
        pytest.param({"a.b": EVENT}, {"a": {"c": EVENT}}, {"a.c": EVENT, "a.b": EVENT}, id="beside one that was split"),
        pytest.param({r"a\.b": EVENT}, {"a.b": EVENT}, {"a.b": EVENT}, id="escaped for Meltano"),
        pytest.param(
            {"a.b": {"custom_ids": {r"c\.d": "x"}}},
            {},
            {"a.b": {"custom_ids": {"c.d": "x"}}},
            id="escaped inside what was left out",
        ),
        pytest.param({"a": EVENT}, {}, {}, id="without a dot Meltano decides"),
        pytest.param({"a.b": None}, {}, {}, id="null is nothing"),
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
            id="deeper inside a stream",
        ),
    ],
)
def test_what_meltano_left_out_is_put_back(told, got, expected):
    environ = {"MELTANO_LOAD_STREAMS": json.dumps(told)}
    assert restore_keys({"streams": got, "other": 1}, environ) == {"streams": expected, "other": 1}


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="not under Meltano"),
        pytest.param({"TARGET_STATSIG_STREAMS": '{"a.b": {}}'}, id="a variable that is not Meltano's"),
        pytest.param({"MELTANO_LOAD_STREAMS": "{broken"}, id="no JSON"),
        pytest.param({"MELTANO_LOAD_STREAMS": '["a.b"]'}, id="no object"),
        pytest.param({"MELTANO_LOAD_STREAM_MAPS": '{"a.b": "x"}'}, id="another setting"),
    ],
)
def test_anything_else_leaves_the_configuration_alone(environ):
    assert restore_keys({"streams": {"a": EVENT}}, environ) == {"streams": {"a": EVENT}}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(
            {"orders.object_type": "event", "orders.field_mapping.event_value": "total", "users.dedupe": False},
            {"orders": EVENT | {"field_mapping": {"event_value": "total"}}, "users": {"dedupe": False}},
            id="a command's",
        ),
        pytest.param(
            {"orders.object_type": "event", r"orders.event_name_mapping.Order v2\.0": "x"},
            {"orders": EVENT | {"event_name_mapping": {"Order v2.0": "x"}}},
            id="with an escaped dot",
        ),
        pytest.param({"Shop v2.0": EVENT}, {"Shop v2.0": EVENT}, id="no path, but a name with a dot"),
        pytest.param({"orders": "text"}, {"orders": "text"}, id="a slip is left to the schema"),
        pytest.param(
            {"orders": "text", "orders.dedupe": False},
            {"orders": "text", "orders.dedupe": False},
            id="a slip beside a path is left to the schema",
        ),
    ],
)
def test_paths_are_put_together(paths, expected):
    assert restore_keys({"streams": paths}, {}) == {"streams": expected}


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        pytest.param({}, {"custom_ids": {"shop.id": "shop"}}, id="left out altogether"),
        pytest.param({"custom_ids": {"shop": {"id": "x"}}}, {"custom_ids": {"shop.id": "x"}}, id="split, not left out"),
        pytest.param(
            {"custom_ids": {"shop": "y"}}, {"custom_ids": {"shop": "y", "shop.id": "shop"}}, id="beside a plain value"
        ),
    ],
)
def test_what_meltano_left_out_of_a_mapping_is_put_back(got, expected):
    assert restore_keys(got, {"MELTANO_LOAD_CUSTOM_IDS": '{"shop.id": "shop"}'}) == expected


def test_a_value_that_is_no_object_is_left_to_the_schema():
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
def test_mapping_keys_are_put_together_again(split, expected):
    assert join_dotted_keys(split) == expected


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        pytest.param({"public": {"orders": EVENT}}, {"public.orders": EVENT}, id="one dot"),
        pytest.param({"a": {"b": {"c": EVENT}}}, {"a.b.c": EVENT}, id="two dots"),
        pytest.param({"a": {**EVENT, "b": EVENT}}, {"a": EVENT, "a.b": EVENT}, id="a stream and its dotted sibling"),
        pytest.param(
            {"a": {**EVENT, "feild_mapping": {"x": "y"}}},
            {"a": {**EVENT, "feild_mapping": {"x": "y"}}},
            id="a misspelt setting is no part of a name",
        ),
        pytest.param({"a": {}}, {"a": {}}, id="an entry that sets nothing"),
        pytest.param({"a": 1}, {"a": 1}, id="what is no entry is left for the schema"),
    ],
)
def test_stream_names_are_put_together_again(split, expected):
    assert join_stream_names(split) == expected


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
def test_what_meltano_splits_is_put_together_as_it_was(names):
    names = {name for name in names if not any(other != name and other.startswith(f"{name}.") for other in names)}
    whole = {name: {"object_type": "event", "event_name": "x"} for name in names}
    assert join_stream_names(split_at_dots(whole)) == whole


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        pytest.param("request_timeout", "5", 5, id="a number"),
        pytest.param("request_timeout", "soon", "soon", id="no number"),
        pytest.param("dedupe", "False", False, id="a switch"),
        pytest.param("dedupe", "on", True, id="another"),
        pytest.param("dedupe", "ture", "ture", id="no switch"),
        pytest.param("field_mapping", '{"user_id": "x"}', {"user_id": "x"}, id="an object"),
        pytest.param("field_mapping", "user_id=x", "user_id=x", id="no object"),
        pytest.param("metadata_fields", "[]", [], id="an array"),
        pytest.param("segment_id", "5", "5", id="text"),
        pytest.param("event_preset", "none", "none", id="one of some"),
    ],
)
def test_what_a_variable_holds_has_its_setting_s_type_or_stays_text(name, text, value):
    assert typed({name: text}, config_schema()) == {name: value}
