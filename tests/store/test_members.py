"""What the store remembers of a segment's members, on both databases."""

from __future__ import annotations

import pytest

from tests.store.rows import count_own, known


@pytest.fixture
def members(store):
    return store.members("vip")


def test_a_new_segment_has_no_members_and_no_known_list(members):
    assert known(members) == []
    assert not members.is_known()
    assert members.count_known() == 0
    assert (members.count_held(own_only=False), members.missing_since()) == (0, None)


def test_added_members_are_known_and_ours(members):
    members.record_added(["b", "a"])
    assert known(members) == ["a", "b"]
    assert count_own(members) == 2


def test_adding_members_does_not_make_the_list_known(members):
    members.record_added(["a"])
    assert not members.is_known()


def test_removed_members_are_no_longer_known(members):
    members.record_added(["a", "b", "c"])
    members.record_removed(["b", "x"])
    assert known(members) == ["a", "c"]


def test_a_member_added_by_others_does_not_become_ours(members):
    members.replace_known(["a"])
    members.record_added(["a", "b"])
    assert count_own(members) == 1


def test_members_can_be_changed_while_they_are_read(members):
    ids = [f"{number:05}" for number in range(0, 30_000, 2)]
    members.record_added(ids)
    members.mark_missing(ids, since=100.0)
    seen = []
    for page in members.held(5_000, own_only=False):
        seen += page
        members.record_added([f"{int(page[-1]) - 1:05}"])
        members.record_removed(page[-1:])
    assert seen == ids
    assert members.count_known() == 15_000


def test_segments_do_not_share_members(store):
    store.members("vip").record_added(["a"])
    assert known(store.members("staff")) == []


def test_projects_do_not_share_members(opening):
    opening("production").members("vip").replace_known(["a"])
    elsewhere = opening("development").members("vip")
    assert known(elsewhere) == []
    assert not elsewhere.is_known()


def test_another_run_knows_the_recorded_members(opening):
    opening().members("vip").record_added(["a"])
    assert known(opening().members("vip")) == ["a"]


def test_a_list_is_taken_over_in_any_order_and_with_repetitions(members):
    assert members.replace_known(iter(["b", "a", "b"])) == 2
    assert known(members) == ["a", "b"]
    assert members.is_known()


def test_a_new_list_drops_the_absent_and_keeps_who_is_ours(members):
    members.record_added(["mine", "gone"])
    members.replace_known(["mine", "stranger"])
    assert known(members) == ["mine", "stranger"]
    assert count_own(members) == 1


def test_a_new_list_keeps_since_when_a_member_is_missing(members):
    members.replace_known(["a", "b"])
    members.mark_missing(["a"], since=100.0)
    members.replace_known(["a", "c"])
    assert (members.count_held(own_only=False), members.missing_since()) == (1, 100.0)


def test_a_list_whose_reading_fails_changes_nothing(members):
    members.replace_known(["a"])

    def breaking_off():
        yield "b"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        members.replace_known(breaking_off())
    assert known(members) == ["a"]
    assert members.is_known()


def test_a_list_can_have_more_than_one_page(members):
    ids = [f"{number:06}" for number in range(60_000)]
    members.replace_known(reversed(ids))
    assert known(members) == ids
    members.replace_known(ids[::2])
    assert known(members) == ids[::2]


def test_an_empty_list_is_known_too(members):
    assert members.replace_known([]) == 0
    assert members.is_known()


def test_a_forgotten_segment_has_no_known_members(members):
    members.replace_known(["a"])
    members.forget()
    assert known(members) == []
    assert not members.is_known()


@pytest.fixture
def listed(members):
    members.replace_known(["a", "b", "c"])
    return members


def test_a_missing_member_keeps_its_first_date(listed):
    listed.mark_missing(["a"], since=100.0)
    listed.mark_missing(["a", "b", "x"], since=200.0)
    assert (listed.count_held(own_only=False), listed.missing_since()) == (2, 100.0)


def test_a_removed_member_is_no_longer_missing(listed):
    listed.mark_missing(["a"], since=100.0)
    listed.mark_missing(["b"], since=200.0)
    listed.record_removed(["a"])
    assert (listed.count_held(own_only=False), listed.missing_since()) == (1, 200.0)


def test_a_member_added_again_is_no_longer_missing(listed):
    listed.mark_missing(["a"], since=100.0)
    listed.record_added(["a"])
    assert (listed.count_held(own_only=False), listed.missing_since()) == (0, None)


def test_a_member_seen_again_is_no_longer_missing(listed, store):
    listed.mark_missing(["a", "b"], since=100.0)
    audience = store.audience("vip")
    audience.take({"a": True, "b": False, "c": True})
    audience.clear_missing()
    assert (listed.count_held(own_only=False), listed.missing_since()) == (1, 100.0)
