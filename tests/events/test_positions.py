"""Which records lie before a bookmark."""

from __future__ import annotations

from decimal import Decimal

import pytest

from target_statsig.events.positions import below, position

NOON = position("2026-11-01T12:00:00Z")
TEN = position(10)


@pytest.mark.parametrize(
    ("values", "bookmark", "count"),
    [
        pytest.param(("2026-11-01T12:00:00Z", "2026-11-01T13:00:00+00:00"), NOON, 0, id="times at it and behind it"),
        pytest.param(("2026-11-01T11:59:59.999Z", "2026-11-01T12:00:00Z"), NOON, 1, id="a time before it"),
        pytest.param(("2026-11-01T11:00:00Z", "2026-11-01T13:00:00+02:00"), NOON, 2, id="times of other zones"),
        pytest.param(("2026-11-01", "2026-11-02"), NOON, 1, id="dates"),
        pytest.param(("2026-11-01T11:00:00Z", None, "soon", 7), NOON, 1, id="what cannot be compared counts nothing"),
        pytest.param((10, 11, Decimal("10.5")), TEN, 0, id="numbers at it and behind it"),
        pytest.param((9, Decimal("9.99"), 10), TEN, 2, id="numbers before it"),
        pytest.param((9, None, True), TEN, 1, id="numbers among others"),
        pytest.param(("9", "8"), TEN, 0, id="texts are no numbers"),
        pytest.param((), TEN, 0, id="no number"),
        pytest.param((), NOON, 0, id="no time"),
    ],
)
def test_what_is_before_a_bookmark_is_counted(values, bookmark, count):
    assert below(values, bookmark) == count
