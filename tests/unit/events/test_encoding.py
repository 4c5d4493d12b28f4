from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.events.encoding import compact_json, encode
from target_statsig.exceptions import RecordError


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        pytest.param(Decimal("89.99"), b"89.99", id="as-it-came"),
        pytest.param(Decimal("1E+2"), b"100", id="large-exponent"),
        pytest.param(Decimal("1E-7"), b"0.0000001", id="small-exponent"),
        pytest.param(Decimal("123456789012345678901234567890.5"), b"123456789012345678901234567890.5", id="long"),
        pytest.param(10**40, b"1" + b"0" * 40, id="large-integer"),
        pytest.param("SKU-1E-7", b'"SKU-1E-7"', id="text-like-an-exponent"),
        pytest.param("Zürich 🚆", '"Zürich 🚆"'.encode(), id="unicode"),
    ],
)
def test_a_value_is_printed_plainly(value, printed):
    assert encode({"value": value}) == b'{"value":' + printed + b"}"


def test_one_exponent_mends_no_other_number():
    item = {"value": Decimal("1E+2"), "user": {"custom": {"rate": Decimal("0.10"), "tags": ["E-1"], "old": True}}}
    assert encode(item) == b'{"value":100,"user":{"custom":{"rate":0.10,"tags":["E-1"],"old":true}}}'


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("half a pair \ud800", id="lone-surrogate"),
        pytest.param({"half \udc00": "x"}, id="lone-surrogate-in-a-name"),
        pytest.param(10**5000, id="more-digits-than-python-prints"),
        pytest.param(Decimal("1E+400000"), id="absurd-exponent"),
        pytest.param(object(), id="no-json"),
        pytest.param({(1, 2): "x"}, id="name-that-is-no-text"),
    ],
)
def test_what_json_has_no_form_for_is_a_rejected_record(value):
    with pytest.raises(RecordError) as caught:
        encode({"value": value})
    assert caught.value.reason == "not_encodable"


def test_what_is_nested_too_deeply_is_a_rejected_record():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for encoder in (compact_json, lambda value: encode({"value": value})):
        with pytest.raises(RecordError):
            encoder(deep)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"b": 1, "a": [None, True, "x"]}, '{"b":1,"a":[null,true,"x"]}', id="compact-and-in-order"),
        pytest.param(
            [Decimal("1.10"), Decimal("1E+3"), 0.00001, 1e22],
            "[1.10,1000,0.00001,10000000000000000000000]",
            id="numbers",
        ),
        pytest.param({"a": {"b": [{"c": Decimal("2E+1")}]}}, '{"a":{"b":[{"c":20}]}}', id="deep"),
        pytest.param({}, "{}", id="empty"),
        pytest.param({"straße": "ü"}, '{"straße":"ü"}', id="unicode"),
    ],
)
def test_objects_and_lists_become_compact_json(value, text):
    assert compact_json(value) == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_a_number_that_is_none_has_no_json(number):
    with pytest.raises(RecordError):
        compact_json({"a": [number]})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e300", max_value="1e300")
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_reads_back_as_what_it_was(value):
    assert json.loads(compact_json(value), parse_float=Decimal) == value
