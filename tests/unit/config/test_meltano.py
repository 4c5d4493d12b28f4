"""Keys with dots that Meltano left out, put back from the variable that it hands to the loader."""

from __future__ import annotations

import json

import pytest

from target_statsig.config.meltano import restore_dotted_keys

EVENT = {"object_type": "event"}


@pytest.mark.parametrize(
    ("told", "got", "expected"),
    [
        pytest.param({"a.b": "x"}, {}, {"a.b": "x"}, id="left out"),
        pytest.param({"a.b": "x", "c": "y"}, {"c": "y"}, {"c": "y", "a.b": "x"}, id="beside one that was kept"),
        pytest.param({"a.b": EVENT}, {"a.b": EVENT}, {"a.b": EVENT}, id="kept whole"),
        pytest.param({"a.b": "x"}, {"a": {"b": "x"}}, {"a": {"b": "x"}}, id="split, not left out"),
        pytest.param({"a.b": "x"}, {"a": {"c": "z"}}, {"a": {"c": "z"}, "a.b": "x"}, id="beside one that was split"),
        pytest.param({r"a\.b": EVENT}, {"a.b": EVENT}, {"a.b": EVENT}, id="escaped for Meltano"),
        pytest.param({"a.b": {r"c\.d": "x"}}, {}, {"a.b": {"c.d": "x"}}, id="escaped inside what was left out"),
        pytest.param({"a": "x"}, {}, {}, id="without a dot Meltano decides"),
        pytest.param({"a.b": None}, {}, {}, id="null is nothing"),
        pytest.param({"a.b": "x"}, {"a": "text"}, {"a": "text", "a.b": "x"}, id="beside a plain value"),
        pytest.param({"raw.1": EVENT}, {"events": EVENT}, {"events": EVENT, "raw.1": EVENT}, id="a stream"),
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
    assert restore_dotted_keys({"streams": got, "other": 1}, environ) == {"streams": expected, "other": 1}


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
    assert restore_dotted_keys({"streams": {"a": EVENT}}, environ) == {"streams": {"a": EVENT}}


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
    ],
)
def test_paths_are_put_together(paths, expected):
    assert restore_dotted_keys({"streams": paths}, {}) == {"streams": expected}


def test_a_setting_that_meltano_left_out_altogether_is_put_back():
    environ = {"MELTANO_LOAD_CUSTOM_IDS": '{"shop.id": "shop"}'}
    assert restore_dotted_keys({}, environ) == {"custom_ids": {"shop.id": "shop"}}


def test_a_value_that_is_no_object_is_left_to_the_schema():
    environ = {"MELTANO_LOAD_STREAMS": '{"a.b": "x"}'}
    assert restore_dotted_keys({"streams": "text"}, environ) == {"streams": "text"}
