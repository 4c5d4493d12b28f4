from __future__ import annotations

import pytest

from target_statsig.client.failures import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        pytest.param(-3, "0 s", id="less than nothing"),
        pytest.param(0, "0 s", id="nothing"),
        pytest.param(0.04, "0.1 s", id="next to nothing"),
        pytest.param(3.14, "3.2 s", id="tenths"),
        pytest.param(10.2, "11 s", id="seconds"),
        pytest.param(119, "119 s", id="under two minutes"),
        pytest.param(121, "3 min", id="minutes"),
        pytest.param(1800, "30 min", id="half an hour"),
        pytest.param(7200, "2 h", id="hours"),
        pytest.param(7500, "2 h 5 min", id="hours and minutes"),
        pytest.param(365 * 86_400, "8,760 h", id="a year"),
    ],
)
def test_a_duration_is_never_told_shorter_than_it_is(seconds, said):
    assert duration(seconds) == said
