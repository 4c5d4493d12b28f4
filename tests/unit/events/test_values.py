from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.events.values import event_value, label, text
from target_statsig.exceptions import RecordError


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
        pytest.param(dt.datetime(2024, 6, 6, tzinfo=dt.timezone.utc), "2024-06-06T00:00:00+00:00", id="datetime"),
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
def test_a_value_that_json_has_no_form_for_is_a_rejected_record(value):
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
def test_a_value_is_a_number_where_it_is_one(value, sent):
    result = event_value(value)
    assert result == sent
    assert type(result) is type(sent)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), Decimal("1E+400000")], ids=str)
def test_a_number_that_is_none_is_a_rejected_record(value):
    with pytest.raises(RecordError):
        event_value(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e300", max_value="1e300"))
def test_a_number_as_text_is_the_same_number(number):
    assert event_value(str(number)) == number


@given(st.text())
def test_any_text_is_a_number_itself_or_nothing(value):
    result = event_value(value)
    assert result == value or isinstance(result, Decimal) or (result is None and not value.strip())
