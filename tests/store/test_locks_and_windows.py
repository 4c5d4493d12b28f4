"""What runs share: the locks of segments and streams, and the rate windows of requests to Statsig."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from target_statsig.client.rate_limit import RateLimiter
from target_statsig.clock import RunClock
from target_statsig.config.settings import RateWindow
from target_statsig.errors import FatalRunError, Heading, InterruptedRunError, SegmentError
from target_statsig.store.locks import PATIENCE

HOLD = """
import sys
from target_statsig.clock import RunClock
from target_statsig.store.store import Store

store = Store(sys.argv[1], clock=RunClock(), project="a project", run_id="another process")
store.lock("vips").acquire()
store.ledger("vips").begin()
print("held", flush=True)
sys.stdin.read()
"""


def lock_a_segment(store, name="vips"):
    lock = store.lock(name)
    lock.acquire()
    return lock


def lock_a_stream(store, name="vips"):
    ledger = store.ledger(name)
    ledger.begin()
    return ledger


segment_and_stream = pytest.mark.parametrize(
    ("lock", "error", "heading"),
    [
        pytest.param(lock_a_segment, SegmentError, Heading.SHARED_SEGMENT, id="segment"),
        pytest.param(lock_a_stream, FatalRunError, Heading.SHARED_STREAM, id="stream"),
    ],
)


@pytest.fixture
def take_away_all_locks(store_url):
    """Take the locks from all holders: end their sessions, or remove their files."""

    def take_away():
        if store_url.startswith("sqlite"):
            for path in Path(store_url.removeprefix("sqlite:///")).parent.glob("*.lock"):
                path.unlink()
            return
        holders = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        engine = create_engine(store_url, poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(
                text(f"{holders} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
            )

    return take_away


@segment_and_stream
def test_a_second_run_waits_and_then_names_the_first(opening, clock, lock, error, heading):
    lock(opening(run_id="first"))
    message = r" 'vips' is being synced by another run \(first, process \d+ on .*, since 2026-11-22T12:00:00"
    with pytest.raises(error, match=message) as caught:
        lock(opening(run_id="second"))
    assert caught.value.heading is heading
    assert sum(clock.sleeps) == pytest.approx(PATIENCE)


@segment_and_stream
def test_a_lock_is_free_once_its_run_has_ended(opening, clock, lock, error, heading):
    first = opening()
    lock(first)
    first.close()
    lock(opening())
    assert clock.sleeps == []


def test_a_lock_is_free_once_it_is_released(opening, clock):
    lock = lock_a_segment(opening())
    lock.release()
    with pytest.raises(SegmentError, match="no longer locked for this run"):
        lock.check()
    lock_a_segment(opening())
    assert clock.sleeps == []


@segment_and_stream
def test_a_run_cannot_take_a_lock_twice(opening, lock, error, heading):
    lock(store := opening())
    with pytest.raises(error):
        lock(store)


@segment_and_stream
def test_a_lock_holds_for_one_name_in_one_project(opening, clock, lock, error, heading):
    lock(opening())
    lock(opening(), "others")
    lock(opening(project="another project"))
    assert clock.sleeps == []


def test_a_stream_and_a_segment_of_one_name_have_two_locks(opening, clock):
    lock_a_segment(opening())
    lock_a_stream(opening())
    opening().ledger("vips", object_type="exposure").begin()
    assert clock.sleeps == []


@segment_and_stream
def test_a_killed_process_leaves_no_lock_behind(opening, store_url, clock, monkeypatch, lock, error, heading):
    command = [sys.executable, "-c", HOLD, store_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(error, match=f"another process, process {process.pid} on "):
            lock(opening())
        process.kill()
        process.wait()
    # The server may take a moment to see that the process is gone.
    monkeypatch.setattr(clock, "sleep", RunClock().sleep)
    lock(opening())


@segment_and_stream
def test_a_run_that_lost_its_lock_notices(opening, take_away_all_locks, lock, error, heading):
    held = lock(opening(run_id="first"))
    held.check()
    take_away_all_locks()
    for _ in range(2):
        with pytest.raises(error, match="'vips' is no longer locked for this run") as caught:
            held.check()
        assert caught.value.heading is heading
    lock(opening(run_id="second"))
    with pytest.raises(error):
        held.check()


@segment_and_stream
def test_an_interrupted_run_does_not_wait_for_a_lock(opening, clock, lock, error, heading):
    lock(opening())
    clock.interrupt()
    with pytest.raises(InterruptedRunError):
        lock(opening())


def test_runs_share_rate_windows_that_outlive_them(opening, clock):
    windows = [RateWindow(2, 10)]
    first, second = opening(), opening()
    for store in (first, second):
        RateLimiter(windows, clock, store.request_log(keep=20)).acquire()
    assert clock.sleeps == []
    first.close()
    RateLimiter(windows, clock, opening().request_log(keep=20)).acquire()
    assert sum(clock.sleeps) >= 10


def test_each_project_has_its_own_rate_windows(opening, clock):
    for project in ("one", "another"):
        RateLimiter([RateWindow(1, 10)], clock, opening(project=project).request_log(keep=20)).acquire()
    assert clock.sleeps == []
