from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.routing import find_entry, join_dotted_keys, join_stream_names
from target_statsig.config.schema import STREAM_TYPES
from target_statsig.exceptions import SettingsError

EVENT = {"object_type": "event"}


@pytest.mark.parametrize(
    ("stream", "keys", "expected"),
    [
        pytest.param("orders", ["orders", "*"], "orders", id="an exact name wins over a glob"),
        pytest.param("public-orders", ["*", "public-*"], "public-*", id="the longest literal part wins"),
        pytest.param("public-orders", ["public-o*", "*-orders"], "public-o*", id="wherever the wildcard stands"),
        pytest.param("x", ["orders", "a*"], None, id="nothing matches"),
        pytest.param("a[b]", ["a[b]", "a*"], "a[b]", id="a name with a bracket is a name first"),
        pytest.param("Orders", ["orders", "o*"], None, id="names are case-sensitive"),
    ],
)
def test_a_stream_finds_its_entry(stream, keys, expected):
    assert find_entry(stream, dict.fromkeys(keys, EVENT)) == expected


def test_two_globs_that_match_equally_well_are_an_error_that_names_both():
    with pytest.raises(SettingsError, match=r"'orders-\*' and '\*-orders' match"):
        find_entry("orders-orders", {"orders-*": EVENT, "*-orders": EVENT})


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
    assert join_stream_names(split, frozenset(STREAM_TYPES)) == expected


def split_at_dots(mapping):
    split = {}
    for key, value in mapping.items():
        node = split
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return split


@given(st.sets(st.from_regex(r"[A-Za-z ]{1,4}(\.[A-Za-z0-9]{1,3}){0,2}", fullmatch=True), max_size=6))
def test_what_meltano_splits_is_put_together_as_it_was(names):
    names = {name for name in names if not any(other != name and other.startswith(f"{name}.") for other in names)}
    whole = {name: {"object_type": "event", "event_name": "x"} for name in names}
    assert join_stream_names(split_at_dots(whole), frozenset(STREAM_TYPES)) == whole
