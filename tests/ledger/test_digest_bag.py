"""A multiset of digests against a dictionary of counts."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from target_statsig.store.ledger import DIGEST_BYTES, DigestBag

digests = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES) | st.sampled_from(
    [bytes(DIGEST_BYTES), b"\0" * 8 + b"\1" * 8, b"\1" * 8 + b"\0" * 8, b"\1" * 16]
)
"""Some of them, end to end, contain another one across their border."""


@given(expected=st.sampled_from([0, 1, 100, 10_000]), added=st.lists(digests), asked=st.lists(digests))
def test_a_bag_gives_each_digest_as_often_as_it_was_put_in(expected, added, asked):
    bag, left = DigestBag(expected), Counter(added)
    bag.add(added)
    for some in (asked, [*added, *added]):
        expected_answers = []
        for digest in some:
            expected_answers.append(left[digest] > 0)
            left[digest] -= left[digest] > 0
        assert bag.take_each(some) == expected_answers
        assert len(bag) == left.total()
