"""What is remembered of a segment's members, on both databases."""

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


def test_what_was_added_is_known_and_ours(members):
    members.record_added(["b", "a"])
    assert known(members) == ["a", "b"]
    assert count_own(members) == 2


def test_adding_does_not_make_the_whole_list_known(members):
    members.record_added(["a"])
    assert not members.is_known()


def test_what_was_removed_is_known_no_more(members):
    members.record_added(["a", "b", "c"])
    members.record_removed(["b", "x"])
    assert known(members) == ["a", "c"]


def test_adding_a_stranger_again_does_not_make_him_ours(members):
    members.replace_known(["a"])
    members.record_added(["a", "b"])
    assert count_own(members) == 1


def test_members_may_be_written_while_they_are_walked(members):
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


def test_segments_do_not_see_each_other(store):
    store.members("vip").record_added(["a"])
    assert known(store.members("staff")) == []


def test_projects_do_not_see_each_other(opening):
    opening("production").members("vip").replace_known(["a"])
    elsewhere = opening("development").members("vip")
    assert known(elsewhere) == []
    assert not elsewhere.is_known()


def test_another_run_knows_what_this_one_recorded(opening):
    opening().members("vip").record_added(["a"])
    assert known(opening().members("vip")) == ["a"]


class TestReadingTheListAnew:
    def test_takes_the_list_over_whatever_its_order_and_repetitions(self, members):
        assert members.replace_known(iter(["b", "a", "b"])) == 2
        assert known(members) == ["a", "b"]
        assert members.is_known()

    def test_drops_who_is_not_there_and_keeps_whose_the_others_are(self, members):
        members.record_added(["mine", "gone"])
        members.replace_known(["mine", "stranger"])
        assert known(members) == ["mine", "stranger"]
        assert count_own(members) == 1

    def test_keeps_since_when_a_member_is_missing(self, members):
        members.replace_known(["a", "b"])
        members.mark_missing(["a"], since=100.0)
        members.replace_known(["a", "c"])
        assert (members.count_held(own_only=False), members.missing_since()) == (1, 100.0)

    def test_changes_nothing_when_the_reading_fails(self, members):
        members.replace_known(["a"])

        def breaking_off():
            yield "b"
            raise ConnectionError

        with pytest.raises(ConnectionError):
            members.replace_known(breaking_off())
        assert known(members) == ["a"]
        assert members.is_known()

    def test_takes_more_than_one_page(self, members):
        ids = [f"{number:06}" for number in range(60_000)]
        members.replace_known(reversed(ids))
        assert known(members) == ids
        members.replace_known(ids[::2])
        assert known(members) == ids[::2]

    def test_of_an_empty_list_is_knowledge_too(self, members):
        assert members.replace_known([]) == 0
        assert members.is_known()


def test_forgetting_leaves_nothing(members):
    members.replace_known(["a"])
    members.forget()
    assert known(members) == []
    assert not members.is_known()


class TestMissingMembers:
    @pytest.fixture(autouse=True)
    def some_members(self, members):
        members.replace_known(["a", "b", "c"])

    def test_keep_the_date_of_the_first_time(self, members):
        members.mark_missing(["a"], since=100.0)
        members.mark_missing(["a", "b", "x"], since=200.0)
        assert (members.count_held(own_only=False), members.missing_since()) == (2, 100.0)

    def test_are_missing_no_more_when_removed(self, members):
        members.mark_missing(["a"], since=100.0)
        members.mark_missing(["b"], since=200.0)
        members.record_removed(["a"])
        assert (members.count_held(own_only=False), members.missing_since()) == (1, 200.0)

    def test_are_missing_no_more_when_added_again(self, members):
        members.mark_missing(["a"], since=100.0)
        members.record_added(["a"])
        assert (members.count_held(own_only=False), members.missing_since()) == (0, None)

    def test_are_missing_no_more_when_they_come_back(self, members, store):
        members.mark_missing(["a", "b"], since=100.0)
        audience = store.audience("vip")
        audience.take({"a": True, "b": False, "c": True})
        audience.clear_missing()
        assert (members.count_held(own_only=False), members.missing_since()) == (1, 100.0)
