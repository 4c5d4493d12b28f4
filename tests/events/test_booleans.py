from __future__ import annotations

from decimal import Decimal

import pytest

from target_statsig.singer.columns import parse_bool


@pytest.mark.parametrize("value", [True, 1, 1.0, Decimal(1), "true", " TRUE ", "t", "Yes", "y", "On", "1", "granted"])
def test_values_that_mean_yes_are_true(value):
    assert parse_bool(value) is True


@pytest.mark.parametrize("value", [False, 0, -0.0, Decimal(0), "false", "F", "no", "n", "OFF", "0", "Denied"])
def test_values_that_mean_no_are_false(value):
    assert parse_bool(value) is False


@pytest.mark.parametrize("value", [None, "", "maybe", 2, 0.5, Decimal("NaN"), [], {}, [True]])
def test_other_values_are_no_boolean(value):
    assert parse_bool(value) is None
