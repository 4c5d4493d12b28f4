from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.singer.columns import exact, plain_text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        pytest.param(7, "7", id="integer"),
        pytest.param(Decimal("89.99"), "89.99", id="decimal"),
        pytest.param(Decimal("12.50"), "12.50", id="digits-as-they-came"),
        pytest.param(Decimal("1.0"), "1", id="fraction-of-zeros"),
        pytest.param(1.0, "1", id="float-holding-an-integer"),
        pytest.param(0.1, "0.1", id="float"),
        pytest.param(Decimal("1E+6"), "1000000", id="large-exponent"),
        pytest.param(1e21, "1000000000000000000000", id="large-float"),
        pytest.param(Decimal("1E-7"), "0.0000001", id="small-exponent"),
        pytest.param(Decimal("-0.0"), "0", id="negative-zero"),
        pytest.param(Decimal("0E-400000"), "0", id="zero-with-a-huge-exponent"),
        pytest.param(-3.5, "-3.5", id="negative"),
    ],
)
def test_a_number_has_a_plain_text(number, text):
    assert plain_text(number) == text


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(float("nan"), id="nan"),
        pytest.param(float("-inf"), id="infinity"),
        pytest.param(Decimal("NaN"), id="decimal-nan"),
        pytest.param(Decimal("Infinity"), id="decimal-infinity"),
        pytest.param(Decimal("1E+400000"), id="too-large"),
        pytest.param(Decimal("1E-400000"), id="too-small"),
    ],
)
def test_a_number_that_no_double_holds_is_an_error(number):
    with pytest.raises(ValueError, match="not finite, or too large or too small"):
        plain_text(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_keeps_its_value(number):
    assert float(exact(number)) == number
    assert float(plain_text(number)) == number


@given(
    st.integers() | st.decimals(allow_nan=False, allow_infinity=False, min_value="-1e300", max_value="1e300", places=9)
)
def test_every_number_keeps_its_value_without_an_exponent(number):
    text = plain_text(number)
    assert Decimal(text) == number
    assert set(text) <= set("-.0123456789")
    assert not text.endswith(".0")
