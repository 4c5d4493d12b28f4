from __future__ import annotations

import signal
import threading

import pytest

from target_statsig import clock as clock_module
from target_statsig.clock import RunClock
from target_statsig.errors import InterruptedRunError


def test_a_wait_lasts_as_long_as_asked():
    clock = RunClock()
    begun = clock.monotonic()
    clock.sleep(0.01)
    assert clock.monotonic() - begun >= 0.01
    clock.sleep(-1)


def test_no_wait_begins_after_stop():
    clock = RunClock()
    clock.stop()
    clock.stop()
    for seconds in (0, 3600):
        with pytest.raises(InterruptedRunError):
            clock.sleep(seconds)


def test_stop_ends_the_waits_of_all_threads():
    clock = RunClock()
    ended = []

    def wait():
        with pytest.raises(InterruptedRunError):
            clock.sleep(3600)
        ended.append(True)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    clock.stop()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 8


def test_a_signal_ends_the_wait_of_the_main_thread():
    clock = RunClock()
    before = signal.signal(signal.SIGALRM, lambda *_: clock.stop())
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        with pytest.raises(InterruptedRunError):
            clock.sleep(3600)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_while_waiting_is_called_at_the_start_and_regularly(monkeypatch):
    monkeypatch.setattr(clock_module, "LONGEST_WAIT", 0.001)
    clock = RunClock()
    looks = []

    def look():
        looks.append(clock.monotonic())
        if len(looks) == 4:
            clock.stop()

    clock.while_waiting = look
    clock.sleep(0)
    assert len(looks) == 1
    with pytest.raises(InterruptedRunError):
        clock.sleep(3_600)
    assert len(looks) == 4
    with pytest.raises(InterruptedRunError):
        clock.sleep(1)
    assert len(looks) == 4
