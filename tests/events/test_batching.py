from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.events.prepare import SEPARATOR_BYTES, pack

SIZES = st.lists(st.integers(min_value=1, max_value=50), max_size=60)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([10], [[10]], id="one"),
        pytest.param([10, 10, 10, 10], [[10, 10, 10], [10]], id="rows"),
        pytest.param([40, 39, 10], [[40, 39], [10]], id="bytes-with-comma-fit"),
        pytest.param([40, 40, 10], [[40], [40, 10]], id="bytes-with-comma-do-not-fit"),
        pytest.param([10, 200, 10], [[10], [200], [10]], id="too-large-alone"),
    ],
)
def test_items_share_batches_up_to_both_bounds(sizes, batches):
    packed = [sizes[batch] for batch in pack(sizes, max_rows=3, max_bytes=100, overhead=20)]
    assert packed == batches


@given(SIZES, st.integers(1, 10), st.integers(1, 120), st.integers(0, 20))
def test_every_item_is_in_one_batch_and_the_order_is_kept(sizes, max_rows, max_bytes, overhead):
    items = list(enumerate(sizes))
    batches = [items[batch] for batch in pack(sizes, max_rows=max_rows, max_bytes=max_bytes, overhead=overhead)]
    assert [item for batch in batches for item in batch] == items
    assert all(batches)


@given(SIZES, st.integers(1, 10), st.integers(1, 120), st.integers(0, 20))
def test_no_batch_of_several_is_over_a_bound(sizes, max_rows, max_bytes, overhead):
    for batch in pack(sizes, max_rows=max_rows, max_bytes=max_bytes, overhead=overhead):
        packed = sizes[batch]
        assert len(packed) <= max_rows
        body = overhead + sum(packed) + SEPARATOR_BYTES * (len(packed) - 1)
        assert body <= max_bytes or len(packed) == 1


@given(SIZES, st.integers(1, 10), st.integers(1, 120))
def test_a_batch_ends_only_where_the_next_item_has_no_room(sizes, max_rows, max_bytes):
    for batch in pack(sizes, max_rows=max_rows, max_bytes=max_bytes):
        if batch.stop < len(sizes):
            packed = sizes[batch.start : batch.stop + 1]
            assert len(packed) > max_rows or sum(packed) + SEPARATOR_BYTES * (len(packed) - 1) > max_bytes
