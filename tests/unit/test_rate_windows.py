from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.rate_windows import parse_rate_windows
from target_statsig.settings import RateWindow, Settings

positive = st.integers(1, 999_999_999)
MINUTE, HOUR = 60, 3600


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        pytest.param("10/10s", [(10, 10)], id="seconds"),
        pytest.param("850/15m", [(850, 15 * MINUTE)], id="minutes"),
        pytest.param("9000/1h", [(9000, HOUR)], id="hours"),
        pytest.param("10/10s, 850/15m", [(10, 10), (850, 15 * MINUTE)], id="several"),
        pytest.param(" 10 / 10 s ,850/15m ", [(10, 10), (850, 15 * MINUTE)], id="blanks"),
        pytest.param("850/15m,10/10s", [(850, 15 * MINUTE), (10, 10)], id="as it stands"),
    ],
)
def test_rates_are_read(text, windows):
    assert parse_rate_windows(text) == tuple(RateWindow(*window) for window in windows)


def test_the_default_is_a_rate():
    assert parse_rate_windows(Settings().console_rate_limits) == (RateWindow(10, 10), RateWindow(850, 900))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("", "'' is not a number of requests", id="empty"),
        pytest.param("10/10s,", "'' is not a number of requests", id="comma at the end"),
        pytest.param("10", "'10' is not", id="no period"),
        pytest.param("10/10", "'10/10' is not", id="no unit"),
        pytest.param("10/s", "'10/s' is not", id="no number of units"),
        pytest.param("10/10d", "'10/10d' is not", id="unknown unit"),
        pytest.param("10/10s; 850/15m", "'10/10s; 850/15m' is not", id="semicolon"),
        pytest.param("1.5/10s", "'1.5/10s' is not", id="fraction"),
        pytest.param("-1/10s", "'-1/10s' is not", id="negative"),
        pytest.param("٣/10s", "'٣/10s' is not", id="digits of another script"),
        pytest.param("10/10s, 0/15m", "'0/15m' would let no request through", id="none"),
        pytest.param("10/0s", "'10/0s' would let no request through", id="no time"),
    ],
)
def test_what_is_wrong_is_named(text, wrong):
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}"):
        parse_rate_windows(text)


@given(pairs=st.lists(st.tuples(positive, positive), min_size=1))
def test_what_is_written_is_read(pairs):
    text = ", ".join(f"{limit}/{seconds}s" for limit, seconds in pairs)

    assert parse_rate_windows(text) == tuple(RateWindow(*pair) for pair in pairs)
