"""What a run saw of a segment's audience, and the plan that follows, on both databases."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.rows import current, known, last_words

TRAPS = [
    *("a", "A", "Z", "z", "á", "a\u0301", "ä", "ae", "é", "e", "ß", "ss", "İ", "i"),
    *("1", "10", "2", "a ", "a  ", " a", "🙂", "\uffff", "\U00010000"),
]
"""Case, accents composed and not, digits, blanks at the ends, characters beyond the basic plane."""

ids = st.sampled_from(TRAPS) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6
)

on_one_store = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def members(store):
    return store.members("vip")


@pytest.fixture
def audience(store):
    return store.audience("vip")


def join(audience, ids):
    audience.take(dict.fromkeys(ids, True))


def leave(audience, ids):
    audience.take(dict.fromkeys(ids, False))


def planned(audience):
    return [id_ for page in audience.additions(2) for id_ in page], [
        id_ for page in audience.removals(2) for id_ in page
    ]


def test_each_id_counts_once(audience):
    join(audience, ["b", "a", "b"])
    join(audience, ["a"])
    assert current(audience) == ["a", "b"]
    assert audience.count() == 2


def test_nobody_seen_is_nobody(audience):
    assert current(audience) == []
    assert audience.count() == 0
    assert last_words(audience) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["+a", "-a"], [("a", False)], id="removed at last"),
        pytest.param(["-a", "+a"], [("a", True)], id="back at last"),
        pytest.param(["+a", "-a", "+a", "-a", "+b"], [("a", False), ("b", True)], id="to and fro"),
        pytest.param(["-a"], [("a", False)], id="never a member"),
    ],
)
def test_the_last_word_on_an_id_wins(audience, words, expected):
    for word in words:
        audience.take({word[1:]: word[0] == "+"})
    assert last_words(audience) == expected
    assert current(audience) == [id_ for id_, member in expected if member]


def test_words_may_come_after_the_first_look(audience):
    join(audience, ["a"])
    assert audience.count() == 1
    join(audience, ["b"])
    leave(audience, ["a"])
    assert current(audience) == ["b"]


def test_a_mirror_adds_the_new_and_removes_the_absent(members, audience):
    members.replace_known(["a", "b"])
    join(audience, ["b", "c"])
    assert audience.plan() == (1, 1)
    assert planned(audience) == (["c"], ["a"])


def test_a_mirror_of_its_own_leaves_strangers(members, audience):
    members.replace_known(["stranger"])
    members.record_added(["mine"])
    join(audience, ["c"])
    audience.plan(own_only=True)
    assert planned(audience) == (["c"], ["mine"])


def test_a_plan_stands_still_while_it_is_carried_out(members, audience):
    members.replace_known([f"old {number}" for number in range(10)])
    join(audience, [f"new {number}" for number in range(10)])
    audience.plan()
    added, removed = [], []
    for page in audience.additions(3):
        members.record_added(page)
        added.append(len(page))
    for page in audience.removals(4):
        members.record_removed(page)
        removed.append(len(page))
    assert added == [3, 3, 3, 1]
    assert removed == [4, 4, 2]
    assert audience.plan() == (0, 0)


def test_two_audiences_gather_side_by_side(store):
    first, second = store.audience("vip"), store.audience("staff")
    join(first, ["a"])
    join(second, ["b"])
    assert current(first) == ["a"]
    assert current(second) == ["b"]


def test_a_run_that_dies_leaves_no_audience(opening):
    dying = opening()
    join(dying.audience("vip"), ["a"])
    dying.close()
    assert current(opening().audience("vip")) == []


def test_a_closed_audience_gives_way_to_another(store):
    audience = store.audience("vip")
    join(audience, ["a"])
    audience.plan()
    audience.close()
    assert current(store.audience("vip")) == []


@on_one_store
@given(seen=st.lists(ids, max_size=30))
def test_ids_are_told_apart_and_sorted_by_code_point(store, seen):
    audience = store.audience("vip")
    join(audience, seen)
    assert current(audience) == sorted(set(seen))
    audience.close()


@on_one_store
@given(before=st.sets(ids, max_size=20), own=st.sets(ids, max_size=10), seen=st.lists(ids, max_size=20))
def test_a_mirror_s_plan_is_the_difference_of_two_sets(store, before, own, seen):
    members, audience = store.members("vip"), store.audience("vip")
    members.forget()
    members.record_added(sorted(own))
    members.replace_known(before | own)
    assert known(members) == sorted(before | own)
    join(audience, seen)
    audience.plan()
    assert planned(audience) == (sorted(set(seen) - before - own), sorted((before | own) - set(seen)))
    audience.plan(own_only=True)
    assert planned(audience) == (sorted(set(seen) - before - own), sorted(own - set(seen)))
    audience.close()


@on_one_store
@given(words=st.lists(st.tuples(ids, st.booleans()), max_size=20))
def test_the_last_words_are_those_of_a_dictionary(store, words):
    audience = store.audience("vip")
    for id_, member in words:
        audience.take({id_: member})
    assert last_words(audience) == sorted(dict(words).items())
    audience.close()
