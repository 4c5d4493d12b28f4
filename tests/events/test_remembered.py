"""The highest value of records, and how many are before a bookmark."""

from __future__ import annotations

from decimal import Decimal

import pytest

from target_statsig.events.remembered import NUMBER_LIMIT, below, highest, position

NOON = position("2026-11-01T12:00:00Z")
TEN = position(10)


@pytest.mark.parametrize(
    ("values", "bookmark", "count"),
    [
        pytest.param(("2026-11-01T12:00:00Z", "2026-11-01T13:00:00+00:00"), NOON, 0, id="times at it and behind it"),
        pytest.param(("2026-11-01T11:59:59.999Z", "2026-11-01T12:00:00Z"), NOON, 1, id="a time before it"),
        pytest.param(("2026-11-01T11:00:00Z", "2026-11-01T13:00:00+02:00"), NOON, 2, id="times of other zones"),
        pytest.param(("2026-11-01", "2026-11-02"), NOON, 1, id="dates"),
        pytest.param(("1969-12-31T23:00:00Z", "2026-11-01T11:00:00Z"), NOON, 1, id="a time before 1970"),
        pytest.param(("1969-12-31T23:00:00 Z", "2026-11-01T11:00Z"), NOON, 1, id="times of rare forms"),
        pytest.param(("2026-11-01T11:00:00Z", None, "soon", 7), NOON, 1, id="values that cannot be compared"),
        pytest.param((10, 11, Decimal("10.5")), TEN, 0, id="numbers at it and behind it"),
        pytest.param((9, Decimal("9.99"), 10), TEN, 2, id="numbers before it"),
        pytest.param((9, None, True), TEN, 1, id="numbers among others"),
        pytest.param(("9", "8"), TEN, 0, id="texts are no numbers"),
        pytest.param((), TEN, 0, id="no number"),
        pytest.param((), NOON, 0, id="no time"),
    ],
)
def test_values_before_a_bookmark_are_counted(values, bookmark, count):
    assert below(values, bookmark) == count
    assert below(values * 16, bookmark) == count * 16


@pytest.mark.parametrize(
    ("values", "top"),
    [
        pytest.param((3, Decimal("9.5"), 9), position(Decimal("9.5")), id="numbers"),
        pytest.param((3, 9.5), position(9.5), id="numbers with a fraction"),
        pytest.param((3, NUMBER_LIMIT), None, id="a number that is too large"),
        pytest.param((-NUMBER_LIMIT, 3), None, id="one that is too small"),
        pytest.param((3, None), None, id="null"),
        pytest.param((True, 3), None, id="a boolean"),
        pytest.param((3, "2026-11-01"), None, id="numbers and times"),
        pytest.param(("2026-11-01", "2026-11-02"), position("2026-11-02"), id="dates"),
        pytest.param(
            ("2026-11-01T00:00:00Z", "2026-11-01T02:00:00.5+03:00"), position("2026-11-01T00:00:00Z"), id="times"
        ),
        pytest.param(
            ("2026-11-01T00:00:00", "2026-11-01T00:30:00Z"), position("2026-11-01T00:30:00Z"), id="half with zones"
        ),
        pytest.param((), None, id="none"),
    ],
)
def test_the_highest_value_is_found_if_all_can_be_compared(values, top):
    assert highest(values) == highest(values * 2) == top
