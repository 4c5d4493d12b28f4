from __future__ import annotations

import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.client.rate_limit import MemoryLog, RateLimiter
from target_statsig.config.settings import RateWindow, Settings, parse_rate_windows
from target_statsig.errors import InterruptedRunError
from tests.fakes import NOON, FakeClock

ERROR = 0.05
"""Seconds by which the times that a server measures may vary."""

TWO_WINDOWS = parse_rate_windows("10/10s, 850/15m")

positive = st.integers(1, 999_999_999)
MINUTE, HOUR = 60, 3600
windows = st.lists(st.builds(RateWindow, st.integers(1, 12), st.integers(1, 40)), min_size=1, max_size=3)
pauses = st.floats(0, 30) | st.just(0.0)
errors = st.floats(-ERROR, ERROR) | st.sampled_from([-ERROR, ERROR])


def acquire_times(limiter: RateLimiter, clock: FakeClock, n_requests: int) -> list[float]:
    """Acquire `n_requests` times and return when each request could be sent, in seconds since the start."""
    begun = clock.now
    times = []
    for _ in range(n_requests):
        limiter.acquire()
        times.append(clock.now - begun)
    return times


def times_of(log: MemoryLog) -> list[float]:
    """Return the times that a log keeps."""
    times: list[float] = []
    log.reserve(lambda kept: times.extend(kept) or 1.0, NOON)
    return times


@given(rates=windows, requests=st.lists(st.tuples(pauses, errors), max_size=60))
def test_no_window_ever_holds_more_than_its_limit(rates, requests):
    clock = FakeClock()
    limiter = RateLimiter(rates, clock)
    times = []
    for pause, error in requests:
        clock.advance(pause)
        limiter.acquire()
        times.append(clock.now + error)

    times.sort()
    for rate in rates:
        for first, next_after_full in zip(times, times[rate.limit :], strict=False):
            assert next_after_full - first > rate.seconds


@given(rates=windows, before=st.lists(pauses, max_size=20), n_requests=st.integers(0, 40))
def test_requests_take_as_long_as_planned(rates, before, n_requests):
    clock = FakeClock()
    limiter = RateLimiter(rates, clock)
    for pause in before:
        clock.advance(pause)
        limiter.acquire()

    planned = limiter.seconds_for(n_requests)
    taken = acquire_times(limiter, clock, n_requests)

    assert planned == pytest.approx(taken[-1] if taken else 0.0, abs=0.002 * (n_requests + 1))


def test_requests_within_the_limit_do_not_wait():
    clock = FakeClock()
    acquire_times(RateLimiter(TWO_WINDOWS, clock), clock, 10)

    assert clock.sleeps == []


def test_a_full_window_delays_the_next_request():
    clock = FakeClock()

    assert acquire_times(RateLimiter(TWO_WINDOWS, clock), clock, 11)[-1] == pytest.approx(10.2, abs=0.01)


def test_the_longer_window_delays_requests():
    clock = FakeClock()

    assert acquire_times(RateLimiter(TWO_WINDOWS, clock), clock, 851)[-1] == pytest.approx(918, abs=0.1)


def test_windows_with_higher_long_term_rates_are_enforced():
    clock = FakeClock()
    times = acquire_times(RateLimiter(parse_rate_windows("10/10s, 16/15s"), clock), clock, 17)

    assert times[10] == pytest.approx(10.2, abs=0.01)
    assert times[16] == pytest.approx(15.3, abs=0.01)


@pytest.mark.parametrize(
    ("n_requests", "seconds"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(10, 0, id="one window"),
        pytest.param(11, 10.2, id="one more than a window"),
        pytest.param(100, 91.8, id="ten windows"),
        pytest.param(1000, 1060.8, id="ten million ids"),
    ],
)
def test_the_seconds_of_requests_are_planned(n_requests, seconds):
    limiter = RateLimiter(TWO_WINDOWS, FakeClock())

    assert limiter.seconds_for(n_requests) == pytest.approx(seconds, abs=0.2)


def test_planning_does_not_use_the_quota():
    clock = FakeClock()
    limiter = RateLimiter(TWO_WINDOWS, clock)
    limiter.seconds_for(1000)
    acquire_times(limiter, clock, 10)

    assert clock.sleeps == []


def test_ten_thousand_requests_are_planned_in_two_seconds():
    begun = time.perf_counter()
    RateLimiter(TWO_WINDOWS, FakeClock()).seconds_for(10_000)

    assert time.perf_counter() - begun < 2


def test_two_limiters_with_one_log_share_its_quota():
    clock = FakeClock()
    log = MemoryLog(850)
    acquire_times(RateLimiter(TWO_WINDOWS, clock, log), clock, 6)
    times = acquire_times(RateLimiter(TWO_WINDOWS, clock, log), clock, 5)

    assert times[3] == 0
    assert times[4] == pytest.approx(10.2, abs=0.01)


@pytest.mark.parametrize(
    "seconds_back",
    [pytest.param(1, id="a second"), pytest.param(9, id="most of a window"), pytest.param(3600, id="an hour")],
)
def test_a_clock_set_back_costs_at_most_two_windows(seconds_back):
    clock = FakeClock()
    limiter = RateLimiter(parse_rate_windows("10/10s"), clock)
    acquire_times(limiter, clock, 10)
    clock.advance(-seconds_back)

    assert acquire_times(limiter, clock, 1)[0] < 20.5
    assert acquire_times(limiter, clock, 10)[9] >= 10


def test_a_signal_ends_the_wait_without_using_the_quota():
    clock = FakeClock()
    limiter = RateLimiter(parse_rate_windows("1/10s"), clock)
    limiter.acquire()
    before = limiter.seconds_for(1)
    clock.interrupt()

    with pytest.raises(InterruptedRunError):
        limiter.acquire()

    assert limiter.seconds_for(1) == before


def test_threads_share_the_windows():
    clock = FakeClock()
    log = MemoryLog(100)
    limiter = RateLimiter(parse_rate_windows("10/10s"), clock, log)

    def work() -> None:
        for _ in range(8):
            limiter.acquire()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    times = times_of(log)
    assert len(times) == 32
    assert all(later - first > 10 for first, later in zip(times, times[10:], strict=False))


def test_a_log_keeps_only_the_times_it_needs():
    log = MemoryLog(3)
    for now in range(10):
        log.reserve(lambda times: 0.0, float(now))

    assert times_of(log) == [7.0, 8.0, 9.0]


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        pytest.param("10/10s", [(10, 10)], id="seconds"),
        pytest.param("850/15m", [(850, 15 * MINUTE)], id="minutes"),
        pytest.param("9000/1h", [(9000, HOUR)], id="hours"),
        pytest.param("10/10s, 850/15m", [(10, 10), (850, 15 * MINUTE)], id="several"),
        pytest.param(" 10 / 10 s ,850/15m ", [(10, 10), (850, 15 * MINUTE)], id="blanks"),
        pytest.param("850/15m,10/10s", [(850, 15 * MINUTE), (10, 10)], id="order is kept"),
    ],
)
def test_rate_windows_are_parsed(text, windows):
    assert parse_rate_windows(text) == tuple(RateWindow(*window) for window in windows)


def test_the_default_rate_windows_are_parsed():
    assert parse_rate_windows(Settings().console_rate_limits) == (RateWindow(10, 10), RateWindow(850, 900))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("", "'' is not a number of requests", id="empty"),
        pytest.param("10/10s,", "'' is not a number of requests", id="comma at the end"),
        pytest.param("10", "'10' is not", id="no period"),
        pytest.param("10/10", "'10/10' is not", id="no unit"),
        pytest.param("10/s", "'10/s' is not", id="no number of units"),
        pytest.param("10/10d", "'10/10d' is not", id="unknown unit"),
        pytest.param("10/10s; 850/15m", "'10/10s; 850/15m' is not", id="semicolon"),
        pytest.param("1.5/10s", "'1.5/10s' is not", id="fraction"),
        pytest.param("-1/10s", "'-1/10s' is not", id="negative"),
        pytest.param("٣/10s", "'٣/10s' is not", id="digits of another script"),
        pytest.param("10/10s, 0/15m", "'0/15m' is not", id="zero requests"),
        pytest.param("10/0s", "'10/0s' is not", id="zero seconds"),
    ],
)
def test_an_error_quotes_the_invalid_part(text, wrong):
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}"):
        parse_rate_windows(text)


@given(pairs=st.lists(st.tuples(positive, positive), min_size=1))
def test_any_valid_rate_windows_are_parsed(pairs):
    text = ", ".join(f"{limit}/{seconds}s" for limit, seconds in pairs)

    assert parse_rate_windows(text) == tuple(RateWindow(*pair) for pair in pairs)
