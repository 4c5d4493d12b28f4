"""Sliding windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.emulator.console_api import Quota
from target_statsig.emulator.state import ID_LIST_WINDOWS, Window


def test_a_full_window_opens_when_its_first_request_leaves_it():
    quota = Quota((Window(2, 10),))
    quota.count(0)
    quota.count(4)

    assert quota.wait(5) == 5
    assert quota.wait(10) == 0


@pytest.mark.parametrize(("now", "wait"), [pytest.param(10, 90, id="the-long-one"), pytest.param(100, 0, id="neither")])
def test_every_window_must_have_room(now, wait):
    quota = Quota((Window(2, 10), Window(3, 100)))
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
