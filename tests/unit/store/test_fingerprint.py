"""A fingerprint tells sets of ids apart, whatever their order and however they were handed over."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.store.fingerprint import Fingerprinter

KEY = 7

ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def fingerprint(*handed_over, key=KEY):
    fingerprinter = Fingerprinter(key)
    for some in handed_over:
        fingerprinter.take(some)
    return fingerprinter.fingerprint


@given(seen=st.lists(ids), cuts=st.lists(st.integers(0, 20)), data=st.data())
def test_neither_order_nor_what_came_together_shows(seen, cuts, data):
    shuffled = data.draw(st.permutations(seen))
    ends = [*sorted(cuts), len(shuffled)]
    parts = [shuffled[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    assert fingerprint(*parts) == fingerprint(seen)


@given(first=st.lists(ids, max_size=5), second=st.lists(ids, max_size=5))
def test_what_differs_in_any_id_or_in_how_often_it_came_has_another_fingerprint(first, second):
    assert (fingerprint(first) == fingerprint(second)) == (Counter(first) == Counter(second))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(["a", "b"], ["ab"], id="joined"),
        pytest.param(["ab", "c"], ["a", "bc"], id="cut elsewhere"),
        pytest.param(["a", "a"], ["b", "b"], id="twice, which cancels out in an exclusive or"),
        pytest.param(["a"], ["a", ""], id="one that is empty"),
        pytest.param(["a"], ["a", "a"], id="one that is repeated"),
        pytest.param([], [""], id="nothing"),
        pytest.param(["é"], ["e\u0301"], id="composed otherwise"),
    ],
)
def test_what_looks_alike_is_told_apart(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_it_counts_what_it_took():
    assert fingerprint(["a", "b"], [], ["c"]).count == 3


def test_the_same_ids_under_another_key_look_different():
    assert fingerprint(["a"]).sum != fingerprint(["a"], key=KEY + 1).sum


def test_a_key_is_drawn_where_none_is_given_and_fits_into_a_database_s_integer():
    keys = {Fingerprinter().fingerprint.key for _ in range(100)}
    assert len(keys) == 100
    assert all(0 <= key < 1 << 63 for key in keys)


def test_a_fingerprint_stays_the_same_from_one_release_to_the_next():
    """Stores remember them: another one would make every segment be compared once more."""
    assert fingerprint(["a", "b", "ü"]).sum.hex() == "7f8ea689e6a6770b5bb58fbbabd0fc0d"
