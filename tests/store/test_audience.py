"""The audience that a run gathers for a segment, and the plan that follows, on both databases."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.rows import current_members, known, last_changes

TRAPS = [
    *("a", "A", "Z", "z", "á", "a\u0301", "ä", "ae", "é", "e", "ß", "ss", "İ", "i"),
    *("1", "10", "2", "a ", "a  ", " a", "🙂", "\uffff", "\U00010000"),
]
"""What a database may sort or compare by its locale."""

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
    assert current_members(audience) == ["a", "b"]
    assert audience.count() == 2


def test_an_audience_without_ids_is_empty(audience):
    assert current_members(audience) == []
    assert audience.count() == 0
    assert last_changes(audience) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(["+a", "-a"], [("a", False)], id="added, removed"),
        pytest.param(["-a", "+a"], [("a", True)], id="removed, added"),
        pytest.param(["+a", "-a", "+a", "-a", "+b"], [("a", False), ("b", True)], id="changed several times"),
        pytest.param(["-a"], [("a", False)], id="never a member"),
    ],
)
def test_the_last_change_of_an_id_wins(audience, changes, expected):
    for change in changes:
        audience.take({change[1:]: change[0] == "+"})
    assert last_changes(audience) == expected
    assert current_members(audience) == [id_ for id_, member in expected if member]


def test_changes_can_follow_the_first_count(audience):
    join(audience, ["a"])
    assert audience.count() == 1
    join(audience, ["b"])
    leave(audience, ["a"])
    assert current_members(audience) == ["b"]


def test_a_mirror_adds_the_new_and_removes_the_absent(members, audience):
    members.replace_known(["a", "b"])
    join(audience, ["b", "c"])
    assert audience.plan() == (1, 1)
    assert planned(audience) == (["c"], ["a"])


def test_a_mirror_of_its_own_members_leaves_others_alone(members, audience):
    members.replace_known(["stranger"])
    members.record_added(["mine"])
    join(audience, ["c"])
    audience.plan(own_only=True)
    assert planned(audience) == (["c"], ["mine"])


def test_a_plan_does_not_change_while_it_is_carried_out(members, audience):
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


def test_two_audiences_are_kept_apart(store):
    first, second = store.audience("vip"), store.audience("staff")
    join(first, ["a"])
    join(second, ["b"])
    assert current_members(first) == ["a"]
    assert current_members(second) == ["b"]


def test_a_closed_store_leaves_no_audience(opening):
    closing = opening()
    join(closing.audience("vip"), ["a"])
    closing.close()
    assert current_members(opening().audience("vip")) == []


def test_the_audience_after_a_closed_one_is_empty(store):
    audience = store.audience("vip")
    join(audience, ["a"])
    audience.plan()
    audience.close()
    assert current_members(store.audience("vip")) == []


@on_one_store
@given(seen=st.lists(ids, max_size=30))
def test_ids_are_compared_and_sorted_by_code_point(store, seen):
    audience = store.audience("vip")
    join(audience, seen)
    assert current_members(audience) == sorted(set(seen))
    audience.close()


@on_one_store
@given(before=st.sets(ids, max_size=20), own=st.sets(ids, max_size=10), seen=st.lists(ids, max_size=20))
def test_the_plan_of_a_mirror_is_the_difference_of_two_sets(store, before, own, seen):
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
@given(changes=st.lists(st.tuples(ids, st.booleans()), max_size=20))
def test_changes_of_an_audience_work_like_those_of_a_dictionary(store, changes):
    audience = store.audience("vip")
    for id_, member in changes:
        audience.take({id_: member})
    assert last_changes(audience) == sorted(dict(changes).items())
    audience.close()
