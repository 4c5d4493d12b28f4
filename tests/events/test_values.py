from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.errors import RecordError
from target_statsig.events.values import compact_json, event_value, event_values, label, labels, text, texts
from target_statsig.reports.report import MappingWarnings

_ENCODER = msgspec.json.Encoder(decimal_format="number")


@pytest.mark.parametrize(
    ("value", "as_text"),
    [
        pytest.param("as it is ", "as it is ", id="text"),
        pytest.param("", "", id="empty"),
        pytest.param(3, "3", id="integer"),
        pytest.param(Decimal("89.90"), "89.90", id="decimal"),
        pytest.param(Decimal("1E+3"), "1000", id="exponent"),
        pytest.param(2.0, "2", id="whole-float"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param({"a": [1, None]}, '{"a":[1,null]}', id="object"),
        pytest.param(["a", {"b": Decimal("1.0")}], '["a",{"b":1.0}]', id="list"),
        pytest.param(dt.datetime(2024, 6, 6, tzinfo=dt.UTC), "2024-06-06T00:00:00+00:00", id="datetime"),
        pytest.param(dt.date(2024, 6, 6), "2024-06-06", id="date"),
        pytest.param(dt.time(12, 30), "12:30:00", id="time"),
    ],
)
def test_every_value_has_a_text(value, as_text):
    assert text(value) == as_text


@pytest.mark.parametrize(
    "value",
    [float("nan"), Decimal("1E+400000"), {"a": float("inf")}, object(), 10**5000],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_cannot_encode_is_rejected(value):
    with pytest.raises(RecordError) as caught:
        text(value)
    assert caught.value.reason == "not_encodable"


@pytest.mark.parametrize(
    ("value", "identifier"),
    [
        pytest.param("user-1", "user-1", id="text"),
        pytest.param("\t user-1 \n", "user-1", id="blanks-are-cut"),
        pytest.param(1001, "1001", id="integer"),
        pytest.param(Decimal("1001.0"), "1001", id="decimal"),
        pytest.param(1e6, "1000000", id="float"),
        pytest.param("1.0", "1.0", id="a-text-stays-what-it-is"),
        pytest.param("  ", None, id="blank"),
        pytest.param(None, None, id="null"),
        pytest.param(True, None, id="true"),
        pytest.param(["user-1"], None, id="list"),
        pytest.param({"id": 1}, None, id="object"),
    ],
)
def test_an_identifier_is_a_text_or_a_number(value, identifier):
    assert label(value) == identifier


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param(Decimal("89.99"), Decimal("89.99"), id="decimal"),
        pytest.param(5, 5, id="integer"),
        pytest.param(89.99, Decimal("89.99"), id="float"),
        pytest.param("89.99", Decimal("89.99"), id="numeric-text"),
        pytest.param(" 12 ", Decimal(12), id="blanks-around-a-number"),
        pytest.param("1e3", Decimal(1000), id="exponent"),
        pytest.param("-.5", Decimal("-0.5"), id="no-leading-zero"),
        pytest.param("+7.", Decimal(7), id="no-fraction"),
        pytest.param("gold ", "gold ", id="another-text"),
        pytest.param("NaN", "NaN", id="nan-is-a-text"),
        pytest.param("-Infinity", "-Infinity", id="infinity-is-a-text"),
        pytest.param("1e999", "1e999", id="beyond-a-double-is-a-text"),
        pytest.param("9" * 400, "9" * 400, id="digits-beyond-a-double-are-a-text"),
        pytest.param("1_000", "1_000", id="underscore"),
        pytest.param("1,000", "1,000", id="comma"),
        pytest.param("٣", "٣", id="digit-of-another-script"),
        pytest.param("  ", None, id="blank"),
        pytest.param("", None, id="empty"),
        pytest.param(True, "true", id="true"),
        pytest.param(["a"], '["a"]', id="list"),
        pytest.param({"amount": 1}, '{"amount":1}', id="object"),
    ],
)
def test_an_event_value_is_a_number_if_possible(value, sent):
    result = event_value(value)
    assert result == sent
    assert type(result) is type(sent)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("1E+400000")], ids=str)
def test_an_event_value_that_no_double_holds_is_rejected(value):
    with pytest.raises(RecordError):
        event_value(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e300", max_value="1e300"))
def test_a_number_as_text_is_the_same_number(number):
    assert event_value(str(number)) == number


@given(st.text())
def test_a_text_becomes_a_number_itself_or_null(value):
    result = event_value(value)
    assert result == value or isinstance(result, Decimal) or (result is None and not value.strip())


@pytest.mark.parametrize(
    ("value", "compact"),
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
def test_objects_and_lists_become_compact_json(value, compact):
    assert compact_json(value) == compact


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("half a pair \ud800", id="lone-surrogate"),
        pytest.param({"half \udc00": "x"}, id="lone-surrogate-in-a-name"),
        pytest.param(10**5000, id="more-digits-than-python-prints"),
        pytest.param(Decimal("1E+400000"), id="huge-exponent"),
        pytest.param(object(), id="no-json"),
        pytest.param({(1, 2): "x"}, id="name-that-is-no-text"),
    ],
)
def test_compact_json_refuses_what_json_cannot_encode(value):
    with pytest.raises(RecordError) as caught:
        compact_json({"value": [value]})
    assert caught.value.reason == "not_encodable"


def test_compact_json_refuses_what_is_nested_too_deeply():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecordError):
        compact_json(deep)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_compact_json_refuses_nan_and_infinity(number):
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
def test_compact_json_can_be_read_back(value):
    assert json.loads(compact_json(value), parse_float=Decimal) == value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals(min_value="-1e300", max_value="1e300", allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from([" ", "1e5", "12.50", Decimal("1E+400000"), Decimal("NaN"), Decimal("7.0"), Decimal("0.10")])
)

COLUMNS = (
    st.lists(SCALARS, max_size=4)
    | st.lists(st.integers() | st.none(), max_size=4)
    | st.lists(st.text(" ab", max_size=2) | st.none(), max_size=4)
    | st.lists(st.decimals(0, 1000, places=2) | st.none() | st.integers(), max_size=4)
)


def one_by_one(function, column):
    """Return each value converted alone, and the faults by row."""
    found, faults = [], {}
    for row, value in enumerate(column):
        try:
            found.append(None if value is None else function(value))
        except RecordError as error:
            found.append(None)
            faults[row] = error.reason
    return found, faults


@pytest.mark.parametrize(("of_column", "of_one"), [(labels, label), (texts, text)])
@given(COLUMNS)
def test_a_column_is_converted_like_its_values_alone(of_column, of_one, column):
    faults = {}
    found = [*of_column(column, faults)]
    assert (found, {row: error.reason for row, error in faults.items()}) == one_by_one(of_one, column)


@given(COLUMNS)
def test_a_column_of_event_values_is_converted_like_each_alone(column):
    faults, warnings = {}, MappingWarnings()
    found = event_values(column, warnings, faults)
    alone, faults_alone = one_by_one(event_value, column)
    printed = [None if each is None else json.loads(_ENCODER.encode(each), parse_float=Decimal) for each in found]
    assert (printed, {row: error.reason for row, error in faults.items()}) == (alone, faults_alone)
    assert not any(b"E" in _ENCODER.encode(each) for each in found if not isinstance(each, str))
    assert warnings.text_values == sum(isinstance(each, str) for each in alone)
