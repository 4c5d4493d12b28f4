"""What runs share: one at a time on a segment, and one account of the requests to Statsig."""

from __future__ import annotations

from dataclasses import replace

import pytest

from target_statsig.client.rate_limit import RateLimiter
from target_statsig.exceptions import InterruptedRunError, SegmentError
from target_statsig.settings import RateWindow
from target_statsig.store import locks
from target_statsig.store.locks import PATIENCE, SILENCE, this_process


@pytest.fixture
def elsewhere(monkeypatch):
    """Let what follows happen in another process, on another machine unless said otherwise."""

    def move(**other):
        holder = replace(this_process(), **({"host": "elsewhere"} | other))
        monkeypatch.setattr(locks, "this_process", lambda: holder)

    return move


def test_a_second_run_waits_a_little_and_says_who_holds_the_segment(opening, clock):
    opening(run_id="first").lock("vips").acquire()
    with pytest.raises(SegmentError, match=r"being synced by another run \(first, process \d+ on .*, since 2026-11-22"):
        opening(run_id="second").lock("vips").acquire()
    assert sum(clock.sleeps) == pytest.approx(PATIENCE)


def test_a_lock_is_free_once_it_is_released(opening, clock):
    first, second = opening().lock("vips"), opening().lock("vips")
    first.acquire()
    first.release()
    second.acquire()
    assert clock.sleeps == []


def test_other_segments_and_other_projects_are_not_locked(opening, clock):
    opening().lock("vips").acquire()
    opening().lock("others").acquire()
    opening(project="another project").lock("vips").acquire()
    assert clock.sleeps == []


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param({"pid": 2**22 + 1, "process_started": "1"}, id="no such process"),
        pytest.param({"process_started": "1"}, id="another process has its number"),
    ],
)
def test_a_lock_of_a_dead_process_is_taken_over_at_once(opening, clock, elsewhere, monkeypatch, dead):
    elsewhere(host=this_process().host, **dead)
    opening().lock("vips").acquire()
    monkeypatch.undo()
    opening().lock("vips").acquire()
    assert clock.sleeps == []


def test_a_holder_on_another_machine_is_dead_when_it_has_been_silent_for_long(opening, clock, elsewhere, monkeypatch):
    elsewhere()
    held = opening().lock("vips")
    held.acquire()
    monkeypatch.undo()
    clock.advance(SILENCE)
    held.beat()
    clock.advance(SILENCE - PATIENCE - 1)
    with pytest.raises(SegmentError):
        opening().lock("vips").acquire()
    clock.advance(SILENCE)
    opening().lock("vips").acquire()
    with pytest.raises(SegmentError, match="taken over by another run"):
        held.beat()


def test_releasing_a_lock_that_was_taken_over_leaves_it_to_the_new_holder(opening, clock, elsewhere, monkeypatch):
    elsewhere()
    lost = opening().lock("vips")
    lost.acquire()
    monkeypatch.undo()
    clock.advance(SILENCE + 1)
    opening().lock("vips").acquire()
    lost.release()
    with pytest.raises(SegmentError):
        opening().lock("vips").acquire()


def test_a_run_that_is_asked_to_stop_does_not_wait_for_a_lock(opening, clock):
    opening().lock("vips").acquire()
    clock.interrupt()
    with pytest.raises(InterruptedRunError):
        opening().lock("vips").acquire()


def test_runs_share_the_windows_and_the_windows_outlive_a_run(opening, clock):
    windows = [RateWindow(2, 10)]
    first, second = opening(), opening()
    for store in (first, second):
        RateLimiter(windows, clock, store.request_log(keep=20)).acquire()
    assert clock.sleeps == []
    first.close()
    RateLimiter(windows, clock, opening().request_log(keep=20)).acquire()
    assert sum(clock.sleeps) >= 10


def test_each_project_has_windows_of_its_own(opening, clock):
    for project in ("one", "another"):
        RateLimiter([RateWindow(1, 10)], clock, opening(project=project).request_log(keep=20)).acquire()
    assert clock.sleeps == []
