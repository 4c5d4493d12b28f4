from __future__ import annotations

import io
import logging
import threading

import pytest

from target_statsig.client.rate_limit import RateLimiter
from target_statsig.config.settings import parse_rate_windows
from target_statsig.reports import progress as progress_module
from target_statsig.reports.progress import CLEAR, ItemProgress, ProgressLog, SegmentProgress, terminal
from tests.fakes import FakeClock

ORDERS = ItemProgress("orders", 12_500, acknowledged=12_000, in_flight=500)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def streams():
    return []


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name == progress_module.__name__]


@pytest.fixture
def watching(clock, streams):
    return ProgressLog(clock, lambda: streams, lambda requests: 70.0 * requests)


def test_nothing_is_told_before_it_is_time(clock, streams, watching, lines):
    streams.append(ORDERS)
    clock.advance(29.9)
    watching.update()
    assert lines() == []


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        pytest.param(
            ORDERS, "orders: 12,500 records (417/s), 12,000 acknowledged, 500 in flight, 0 retries", id="events"
        ),
        pytest.param(
            ItemProgress("orders", 30, acknowledged=10, in_flight=0, skipped=15, rejected=5, retries=2),
            "orders: 30 records (1/s), 10 acknowledged, 0 in flight, 2 retries, 15 skipped, 5 rejected",
            id="skipped and rejected",
        ),
        pytest.param(SegmentProgress("users", 300, 290), "users: 300 records (10/s), 290 staged", id="gathered"),
        pytest.param(
            SegmentProgress("users", 300, 290, planned=50_000, unsent=30_000, requests_left=3),
            "users: 300 records (10/s), 20,000 of 50,000 changes sent, 3 requests left, about 4 min",
            id="being sent",
        ),
        pytest.param(
            SegmentProgress("users", 300, 290, read=80_000),
            "users: 300 records (10/s), 290 staged, 80,000 ids of a list read, in spaced requests",
            id="its list being read",
        ),
        pytest.param(
            SegmentProgress("users", 300, 290, planned=0),
            "users: 300 records (10/s), 0 of 0 changes sent, 0 requests left",
            id="nothing to send",
        ),
    ],
)
def test_each_stream_has_a_line_every_half_minute(clock, streams, watching, lines, progress, line):
    streams.append(progress)
    clock.advance(30)
    watching.update()
    watching.update()
    assert lines() == [line]


def test_the_rate_is_that_of_the_last_half_minute(clock, streams, watching, lines):
    for records in (3_000, 3_300):
        streams[:] = [ItemProgress("orders", records, acknowledged=records, in_flight=0)]
        clock.advance(30)
        watching.update()
    assert [line.partition(",")[2].partition(",")[0] for line in lines()] == [
        "000 records (100/s)",
        "300 records (10/s)",
    ]


def test_a_stream_of_which_nothing_is_new_is_not_told_again(clock, streams, watching, lines):
    streams[:] = [ItemProgress("done", 10, acknowledged=10, in_flight=0), ORDERS]
    for _ in range(3):
        clock.advance(30)
        watching.update()
    assert [line.partition(":")[0] for line in lines()] == ["done", "orders", "orders", "orders"]
    assert lines()[-1] == "orders: 12,500 records, 12,000 acknowledged, 500 in flight, 0 retries"


def test_the_minutes_are_those_of_all_streams_together(clock, streams, watching, lines):
    streams[:] = [SegmentProgress(name, 1, 1, planned=9, unsent=9, requests_left=2) for name in ("a", "b")]
    clock.advance(30)
    watching.update()
    assert [line.rpartition(", ")[2] for line in lines()] == ["about 5 min"] * 2


def test_who_looks_while_another_thread_tells_goes_on(clock, lines):
    asked = threading.Event()
    answer = threading.Event()

    def progress():
        asked.set()
        answer.wait(60)
        return [ORDERS]

    watching = ProgressLog(clock, progress, lambda _: 0.0)
    clock.advance(30)
    teller = threading.Thread(target=watching.update)
    teller.start()
    asked.wait(60)
    watching.update()
    answer.set()
    teller.join(60)
    assert len(lines()) == 1


@pytest.mark.parametrize(
    ("requests", "minutes"),
    [
        pytest.param(0, None, id="none"),
        pytest.param(3, None, id="at once"),
        pytest.param(4, "3 min", id="a window"),
        pytest.param(7, "5 min", id="two"),
    ],
)
def test_a_plan_of_more_than_a_minute_is_announced(clock, lines, requests, minutes):
    limiter = RateLimiter(parse_rate_windows("3/2m"), clock)
    ProgressLog(clock, list, limiter.seconds_for).announce(requests)
    told = [f"The segments need {requests} requests, which take about {minutes} under `console_rate_limits`."]
    assert lines() == (told if minutes else [])


# On a terminal


class Screen(io.StringIO):
    """What a terminal shows after all that was written to it."""

    @property
    def shown(self):
        return self.getvalue().rpartition(CLEAR)[2]


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def on_screen(clock, streams, screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    watching = ProgressLog(clock, lambda: streams, lambda requests: 70.0 * requests, screen)
    yield watching
    watching.close()


def test_a_terminal_shows_one_line_in_place_every_second(clock, streams, on_screen, screen, lines):
    for records in (100, 200):
        streams[:] = [ItemProgress("orders", records, acknowledged=0, in_flight=0)]
        clock.advance(1)
        on_screen.update()
        assert screen.shown == f"orders: {records} records (100/s), 0 acknowledged, 0 in flight, 0 retries"
    assert "\n" not in screen.getvalue()
    assert lines() == []


def test_a_line_that_is_too_long_for_the_terminal_is_cut(clock, streams, on_screen, screen):
    streams[:] = [ORDERS, SegmentProgress("users", 1, 1)]
    clock.advance(1)
    on_screen.update()
    assert len(screen.shown) == 79
    assert screen.shown.endswith("…")


def test_a_log_line_finds_its_place_cleared(clock, streams, screen):
    handler = logging.StreamHandler(screen)
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        watching = ProgressLog(clock, lambda: [ORDERS], lambda _: 0.0, screen)
        clock.advance(1)
        watching.update()
        logging.getLogger("some.room").warning("A warning")
        logging.getLogger("some.room").warning("Another")
        assert screen.shown == "A warning\nAnother\n"
        watching.close()
        assert handler.filters == []
    finally:
        logger.removeHandler(handler)


def test_after_the_end_nothing_is_shown_any_more(clock, streams, on_screen, screen):
    streams.append(ORDERS)
    clock.advance(1)
    on_screen.update()
    on_screen.close()
    clock.advance(100)
    on_screen.update()
    assert screen.shown == ""


def test_standard_error_is_a_terminal_or_none(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert terminal() is None
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert terminal() is None
    monkeypatch.setattr(Screen, "isatty", lambda _: True)
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    assert terminal() is screen
