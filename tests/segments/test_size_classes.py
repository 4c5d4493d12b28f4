from __future__ import annotations

import pytest

from target_statsig.segments.segment import MEANINGS, crossings, size_class

SMALL = "small: it travels with the gates"
LARGE = "over 1,000: it reaches SDKs by a slower path"
LARGER = "over 10,000: it reaches SDKs by the slowest path, and not on every plan"


@pytest.mark.parametrize(
    ("members", "words"), [(0, SMALL), (1_000, SMALL), (1_001, LARGE), (10_000, LARGE), (10_001, LARGER)]
)
def test_a_segment_has_a_size_class(members, words):
    assert size_class(members) == words


@pytest.mark.parametrize(
    ("before", "after", "crossed"),
    [
        pytest.param(900, 1_000, [], id="small before and after"),
        pytest.param(1_000, 1_001, [1_000], id="over the first threshold"),
        pytest.param(10_000, 10_001, [10_000], id="over the second threshold"),
        pytest.param(0, 60_000, [1_000, 10_000], id="over both thresholds"),
        pytest.param(1_001, 10_000, [], id="large before and after"),
        pytest.param(20_000, 500, [], id="shrunk"),
    ],
)
def test_growth_crosses_thresholds(before, after, crossed):
    assert crossings(before, after) == [MEANINGS[size] for size in crossed]
