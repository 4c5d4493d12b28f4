"""Segments, quotas and runs of the emulator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.settings import RateWindow
from target_statsig.emulator import Options, State
from target_statsig.emulator.state import ID_LIST_WINDOWS, MAX_SHOWN_IDS, QUIET_SECONDS, Quota, Segment

IDS = st.sets(st.text(min_size=1), max_size=30)


@given(IDS, IDS, IDS)
def test_changes_are_applied_and_counted(first, added, removed):
    segment = Segment("vip_users", ids=set(first))
    segment.change("add", added)
    segment.change("remove", removed)

    assert segment.ids == (first | added) - removed
    assert len(first) + sum(change.added - change.removed for change in segment.history) == len(segment.ids)
    assert segment.version == 3


@given(IDS, st.integers(1, 7))
def test_pages_hold_every_member_once_in_order(ids, size):
    segment = Segment("vip_users", ids=set(ids))
    pages = [segment.page(number, size) for number in range(1, len(ids) // size + 3)]

    assert [member for page in pages for member in page] == sorted(ids)


def test_a_page_read_after_a_change_shows_the_change():
    segment = Segment("vip_users", ids={"b", "c"})
    assert segment.page(1, 1) == ["b"]

    segment.change("add", ["a"])

    assert segment.page(2, 1) == ["b"]


def test_a_change_has_its_time_and_its_first_effective_ids():
    segment = Segment("vip_users", ids={"a", "b"})
    added = segment.change("add", ["b", *"zyxwvc"], time=7.0)
    removed = segment.change("remove", ["a", "never there"], time=8.0)

    assert (added.time, added.added, added.added_ids) == (7.0, 6, list("cvwxyz"[:MAX_SHOWN_IDS]))
    assert (removed.time, removed.removed_ids) == (8.0, ["a"])


def test_members_are_found_by_a_part_of_their_id():
    segment = Segment("vip_users", ids={"u-1", "u-10", "u-2", "v-1"})

    assert segment.find("-1", 10) == ["u-1", "u-10", "v-1"]
    assert len(segment.find("", 2)) == 2
    assert segment.find("nobody", 10) == []


@pytest.mark.parametrize(("now", "wait"), [pytest.param(10, 90, id="long-window"), pytest.param(100, 0, id="none")])
def test_the_longest_wait_of_all_windows_counts(now, wait):
    quota = Quota((RateWindow(2, 10), RateWindow(3, 100)))
    for time in (0, 1, 2):
        quota.count(time)

    assert quota.wait(now) == wait


@given(st.lists(st.floats(0, 30), max_size=200))
def test_no_window_ever_holds_more_than_its_limit(pauses):
    quota = Quota(ID_LIST_WINDOWS)
    now = 0.0
    taken = []
    for pause in pauses:
        now += pause
        if quota.wait(now) == 0:
            quota.count(now)
            taken.append(now)

    for window in ID_LIST_WINDOWS:
        for end in taken:
            assert sum(end - window.seconds < time <= end for time in taken) <= window.limit


LATER = QUIET_SECONDS + 1


class TimedState(State):
    """A state whose clock is set for each connection."""

    def __init__(self):
        super().__init__(Options(clock=lambda: self.now))

    def arrive_at(self, now, connection):
        self.now = now
        self.arrive(connection)

    def leave_at(self, now, connection):
        self.now = now
        self.leave(connection)

    def run_times(self):
        return [(run.number, run.started, run.ended) for run in self.runs]


@pytest.fixture
def timed():
    return TimedState()


def test_the_first_request_begins_the_first_run(timed):
    timed.arrive_at(10.0, 1)

    assert timed.run_times() == [(1, 10.0, 10.0)]
    assert timed.active


def test_a_pause_on_an_open_connection_is_the_same_run(timed):
    timed.arrive_at(0.0, 1)
    timed.arrive_at(900.0, 1)

    assert timed.run_times() == [(1, 0.0, 900.0)]


def test_a_run_lasts_while_any_connection_is_open(timed):
    timed.arrive_at(0.0, 1)
    timed.arrive_at(0.0, 2)
    timed.leave_at(0.0, 1)
    timed.arrive_at(LATER, 3)

    assert timed.run_times() == [(1, 0.0, LATER)]


def test_a_connection_after_a_pause_begins_another_run(timed):
    timed.arrive_at(0.0, 1)
    timed.leave_at(5.0, 1)
    assert not timed.active
    timed.arrive_at(5.0 + LATER, 2)

    assert timed.run_times() == [(1, 0.0, 5.0), (2, 5.0 + LATER, 5.0 + LATER)]


def test_a_new_connection_soon_after_is_the_same_run(timed):
    timed.arrive_at(0.0, 1)
    timed.leave_at(0.0, 1)
    timed.arrive_at(QUIET_SECONDS, 2)

    assert timed.run_times() == [(1, 0.0, QUIET_SECONDS)]


def test_a_connection_without_requests_is_ignored(timed):
    revision = timed.revision
    timed.leave_at(0.0, 7)

    assert (timed.runs, timed.revision) == ([], revision)
