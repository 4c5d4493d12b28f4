"""An audience that the members were found equal to is known again, until anything about the members changes."""

from __future__ import annotations

import inspect
import itertools
import random
import threading

import pytest

from target_statsig.store.agreement import changing_members
from target_statsig.store.audience import Plan
from target_statsig.store.members import Members, Missing

IDS = [f"{number:05}" for number in range(9_000)]
"""More than a list of the spool, and than a page."""


@pytest.fixture
def members(store):
    return store.members("vip")


@pytest.fixture
def lock(store):
    """Hold the segment, as a mirror does that agrees."""
    lock = store.lock("vip")
    lock.acquire()
    return lock


@pytest.fixture
def audience_of(store):
    """Return a planned audience of these ids, all of them members, handed over a few at a time."""

    def planned(ids, *, own_only=False, at_once=700):
        audience = store.audience("vip")
        remaining = iter(ids)
        while some := dict.fromkeys(itertools.islice(remaining, at_once), True):
            audience.take(some)
        audience.plan(absent=True, own_only=own_only)
        return audience

    return planned


@pytest.fixture
def synced(members, audience_of, lock):
    """Make the members those whom an audience has, as a mirror does."""

    def sync(ids, **how):
        audience = audience_of(ids, **how)
        audience.clear_missing()
        for page in audience.additions(1_000):
            members.record_added(page)
        for page in audience.removals(1_000):
            members.record_removed(page)
        audience.agree(lock)
        audience.close()

    return sync


@pytest.fixture
def agreed(members, synced):
    """Begin with members who were found to be a, b and c."""
    members.replace_known(["a", "b"])
    synced(["a", "b", "c"])


ORDERS = [
    pytest.param(lambda ids: ids, id="in order"),
    pytest.param(lambda ids: ids[::-1], id="the other way round"),
    pytest.param(lambda ids: random.Random(0).sample(ids, len(ids)), id="in no order"),
]


class TestAnAudience:
    @pytest.mark.parametrize("before", ORDERS)
    @pytest.mark.parametrize("now", ORDERS)
    def test_is_known_again_in_whatever_order_it_comes(self, members, synced, audience_of, before, now):
        members.replace_known(IDS[10:])
        synced(before(IDS[:-10]))
        audience = audience_of(now(IDS[:-10]), at_once=333)
        assert audience.is_agreed
        assert audience.plan(absent=True) == Plan(0, 0)
        assert audience.count_current() == members.count_known() == len(IDS) - 10
        assert list(audience.additions(10)) == list(audience.removals(10)) == []

    def test_is_known_again_by_another_run(self, opening, members, agreed):
        audience = opening().audience("vip")
        audience.take({"c": True, "a": True, "b": True})
        audience.plan(absent=True)
        assert audience.is_agreed

    def test_stays_known_however_often_it_comes(self, synced, agreed, audience_of):
        for _ in range(3):
            synced(["c", "b", "a"])
            assert audience_of(["a", "b", "c"]).is_agreed

    def test_of_nobody_is_known_again(self, members, synced, audience_of):
        members.replace_known(["a"])
        synced([])
        assert audience_of([]).is_agreed

    def test_that_repeats_itself_is_compared_each_time_and_known_again_when_it_does_not(
        self, agreed, synced, audience_of
    ):
        synced(["a", "b", "c", "c"], at_once=1)
        assert not audience_of(["a", "b", "c"]).is_agreed
        synced(["a", "b", "c"])
        assert audience_of(["a", "b", "c"]).is_agreed

    def test_may_be_looked_at_all_the_same(self, agreed, audience_of):
        audience = audience_of(["c", "a", "b"])
        assert list(audience.current()) == ["a", "b", "c"]
        assert list(audience.words()) == [("a", True), ("b", True), ("c", True)]

    def test_is_compared_after_all_when_more_of_it_comes(self, agreed, audience_of):
        audience = audience_of(["a", "b", "c"])
        audience.take({"d": True})
        assert not audience.is_agreed
        assert audience.count_current() == 4
        assert audience.plan(absent=True) == Plan(added=1, removed=0)

    def test_is_compared_where_rows_say_who_leaves(self, agreed, store):
        audience = store.audience("vip")
        audience.take({"a": True, "b": True, "c": True})
        assert audience.plan(absent=False) == Plan(0, 0)
        assert not audience.is_agreed


@pytest.mark.parametrize(
    ("ids", "plan"),
    [
        pytest.param(["a", "b"], Plan(0, 1), id="one fewer"),
        pytest.param(["a", "b", "c", "d"], Plan(1, 0), id="one more"),
        pytest.param(["a", "b", "d"], Plan(1, 1), id="one for another"),
        pytest.param(["a", "b", "b"], Plan(0, 1), id="one twice instead of another"),
        pytest.param(["a", "b", "c", "c"], Plan(0, 0), id="one twice"),
        pytest.param([], Plan(0, 3), id="nobody"),
    ],
)
@pytest.mark.usefixtures("agreed")
def test_another_audience_is_compared(audience_of, ids, plan):
    audience = audience_of(ids, at_once=1)
    assert not audience.is_agreed
    assert audience.plan(absent=True) == plan


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        pytest.param([{"a": True, "b": True, "c": True}, {"c": False}], Plan(0, 1), id="who left at last"),
        pytest.param([{"a": True, "b": True, "c": False}, {"c": True}], Plan(0, 0), id="who came back"),
        pytest.param([{"d": False}, {"a": True, "b": True, "c": True}], Plan(0, 0), id="who never was a member"),
    ],
)
@pytest.mark.usefixtures("agreed")
def test_an_audience_that_someone_leaves_is_compared(store, words, plan):
    audience = store.audience("vip")
    for some in words:
        audience.take(some)
    assert audience.plan(absent=True) == plan
    assert not audience.is_agreed


CHANGES = {
    "record_added": [lambda members: members.record_added(["d"]), lambda members: members.record_added(["a"])],
    "record_removed": [lambda members: members.record_removed(["a"]), lambda members: members.record_removed(["x"])],
    "replace_known": [
        lambda members: members.replace_known(["a", "b", "x"]),
        lambda members: members.replace_known(["a", "b", "c"]),
    ],
    "forget": [lambda members: members.forget()],
    "mark_missing": [
        lambda members: members.mark_missing(["a"], since=100.0),
        lambda members: members.mark_missing(["x"], since=100.0),
    ],
}
"""What may change members: in each case once so that something changes, and once so that nothing seems to."""

READERS = {
    "is_known": lambda members: members.is_known(),
    "count_known": lambda members: members.count_known(),
    "count_own": lambda members: members.count_own(),
    "previous": lambda members: list(members.previous()),
    "missing": lambda members: members.missing(),
    "held": lambda members: list(members.held(10, own_only=False)),
    "count_held": lambda members: members.count_held(own_only=True),
}


class TestWhatWasAgreed:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(change, id=f"{name} {number}")
            for name, changes in CHANGES.items()
            for number, change in enumerate(changes)
        ],
    )
    @pytest.mark.usefixtures("agreed")
    def test_ends_with_every_change_to_the_members(self, members, audience_of, change):
        assert audience_of(["a", "b", "c"]).is_agreed
        change(members)
        assert not audience_of(["a", "b", "c"]).is_agreed
        assert not audience_of(list(members.previous())).is_agreed
        assert members.count_known() == len(list(members.previous()))

    def test_ends_where_members_come_back_who_were_missing(self, agreed, audience_of):
        audience_of(["a", "b", "c", "d"]).clear_missing()
        assert not audience_of(["a", "b", "c"]).is_agreed

    @pytest.mark.usefixtures("agreed")
    def test_outlives_every_look(self, members, audience_of):
        for look in READERS.values():
            look(members)
        assert audience_of(["a", "b", "c"]).is_agreed

    def test_knows_all_that_changes_members_and_all_that_looks(self):
        public = {name for name, _ in inspect.getmembers(Members, inspect.isfunction) if not name.startswith("_")}
        assert public == CHANGES.keys() | READERS.keys()

    @pytest.mark.usefixtures("agreed")
    def test_outlives_a_change_that_fails(self, members, audience_of):
        with pytest.raises(UnicodeEncodeError):
            members.record_added(["\ud800"])
        assert audience_of(["a", "b", "c"]).is_agreed

    @pytest.mark.usefixtures("agreed")
    def test_is_another_segment_s_or_another_project_s_no_business(self, store, opening, audience_of):
        store.members("staff").record_added(["d"])
        elsewhere = opening("another project")
        elsewhere.members("vip").forget()
        assert audience_of(["a", "b", "c"]).is_agreed
        for stranger in (store.audience("staff"), elsewhere.audience("vip")):
            stranger.take({"a": True, "b": True, "c": True})
            stranger.plan(absent=True)
            assert not stranger.is_agreed

    @pytest.mark.usefixtures("agreed")
    def test_may_end_while_the_audience_is_still_coming(self, store, members):
        audience = store.audience("vip")
        audience.take({"a": True})
        members.replace_known(["a", "b", "d"])
        audience.take({"b": True, "c": True})
        assert audience.plan(absent=True) == Plan(1, 1)


class TestNothingIsAgreed:
    """Where the members are not just the audience."""

    @pytest.fixture(autouse=True)
    def known(self, members):
        members.replace_known(["a", "b"])

    def test_without_a_plan(self, store, audience_of, lock):
        audience = store.audience("vip")
        audience.take({"a": True, "b": True})
        audience.agree(lock)
        assert not audience_of(["a", "b"]).is_agreed

    def test_where_removals_are_held(self, members, audience_of, lock):
        audience = audience_of(["a"])
        for page in audience.removals(10):
            members.mark_missing(page, since=100.0)
        audience.agree(lock)
        assert not audience_of(["a"]).is_agreed
        assert not audience_of(["a", "b"]).is_agreed

    def test_where_a_member_still_counts_as_missing(self, members, audience_of, lock):
        members.mark_missing(["a"], since=100.0)
        audience = audience_of(["a", "b"])
        audience.agree(lock)
        assert not audience_of(["a", "b"]).is_agreed
        assert members.missing() == Missing(1, 100.0)

    def test_where_strangers_stay(self, synced, audience_of):
        synced(["c"], own_only=True)
        assert not audience_of(["c"], own_only=True).is_agreed
        assert not audience_of(["a", "b", "c"], own_only=True).is_agreed

    def test_before_the_last_addition_is_recorded(self, members, audience_of, lock):
        audience = audience_of(["a", "b", "c", "d"])
        members.record_added(["c"])
        audience.agree(lock)
        assert not audience_of(["a", "b", "c", "d"]).is_agreed
        assert not audience_of(["a", "b", "c"]).is_agreed

    def test_where_as_many_are_left_over_as_are_still_to_be_added(self, audience_of, lock):
        audience = audience_of(["a", "c"])
        audience.agree(lock)
        assert not audience_of(["a", "c"]).is_agreed

    def test_where_the_list_is_not_known(self, store):
        lock = store.lock("fresh")
        lock.acquire()
        store.members("fresh").record_added(["a"])
        for _ in range(2):
            audience = store.audience("fresh")
            audience.take({"a": True})
            assert audience.plan(absent=True) == Plan(0, 0)
            assert not audience.is_agreed
            audience.agree(lock)

    def test_where_an_id_came_twice(self, store, audience_of, lock):
        audience = store.audience("vip")
        for id_ in ("a", "b", "a"):
            audience.take({id_: True})
        assert audience.plan(absent=True) == Plan(0, 0)
        audience.agree(lock)
        assert not audience_of(["a", "b"]).is_agreed
        assert not audience_of(["a", "b", "a"], at_once=1).is_agreed

    def test_where_someone_left_and_another_came_instead(self, store, members, audience_of, lock):
        audience = store.audience("vip")
        for words in ({"a": True, "b": True}, {"b": False}, {"c": True}):
            audience.take(words)
        assert audience.plan(absent=True) == Plan(1, 1)
        members.record_added(["c"])
        members.record_removed(["b"])
        audience.agree(lock)
        assert not audience_of(["a", "b"]).is_agreed

    def test_while_another_run_changes_the_members(self, opening, store, audience_of, lock):
        other = opening()
        audience = audience_of(["a", "b"])
        agreeing = threading.Thread(target=audience.agree, args=[lock])
        with changing_members(other._members, other._segment("vip")) as connection:
            connection.exec_driver_sql("UPDATE target_statsig_members SET id = 'x' WHERE id = 'a'")
            agreeing.start()
            connection.exec_driver_sql("DELETE FROM target_statsig_members WHERE id = 'b'")
        agreeing.join()
        assert not audience_of(["a", "b"]).is_agreed

    def test_by_a_run_that_lost_its_lock(self, opening, members, audience_of, lock):
        audience = audience_of(["a", "b"])
        lock.release()
        successor = opening().lock("vip")
        successor.acquire()
        audience.agree(lock)
        assert not audience_of(["a", "b"]).is_agreed
        audience.agree(successor)
        assert audience_of(["a", "b"]).is_agreed

    def test_by_a_run_that_dies_half_way(self, opening, members, audience_of):
        dying = opening()
        audience = dying.audience("vip")
        audience.take({"a": True, "b": True, "c": True})
        audience.plan(absent=True)
        dying.members("vip").record_added(["c"])
        dying.close()
        assert not audience_of(["a", "b", "c"]).is_agreed
