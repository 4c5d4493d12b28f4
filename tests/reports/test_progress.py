from __future__ import annotations

import io
import logging
import threading

import pytest

from target_statsig.client.rate_limit import RateLimiter
from target_statsig.config.settings import parse_rate_windows
from target_statsig.reports import progress as progress_module
from target_statsig.reports.progress import CLEAR, Progress, ProgressLog, terminal
from tests.fakes import FakeClock

ORDERS = Progress("orders", 12_500, ["12,000 acknowledged", "500 in flight"], busy=True)


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
        pytest.param(ORDERS, "orders: 12,500 records (417/s), 12,000 acknowledged, 500 in flight", id="events"),
        pytest.param(
            Progress("orders", 300, ["10 acknowledged"], records_left=600),
            "orders: 300 records (10/s), 10 acknowledged, 600 records left, about 60 s",
            id="expected records",
        ),
        pytest.param(
            Progress("users", 300, ["2 of 5 changes sent"], requests_left=3),
            "users: 300 records (10/s), 2 of 5 changes sent, about 4 min",
            id="changes of a segment",
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
        streams[:] = [Progress("orders", records, [])]
        clock.advance(30)
        watching.update()
    assert [line.partition(",")[2].partition(",")[0] for line in lines()] == [
        "000 records (100/s)",
        "300 records (10/s)",
    ]


def test_a_stream_of_which_nothing_is_new_is_not_told_again(clock, streams, watching, lines):
    streams[:] = [Progress("done", 10, []), ORDERS]
    for _ in range(3):
        clock.advance(30)
        watching.update()
    assert [line.partition(":")[0] for line in lines()] == ["done", "orders", "orders", "orders"]
    assert lines()[-1] == "orders: 12,500 records, 12,000 acknowledged, 500 in flight"


def test_the_minutes_are_those_of_all_streams_together(clock, streams, watching, lines):
    streams[:] = [Progress(name, 1, [], requests_left=2) for name in ("a", "b")]
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
        streams[:] = [Progress("orders", records, [])]
        clock.advance(1)
        on_screen.update()
        assert screen.shown == f"orders: {records} records (100/s)"
    assert "\n" not in screen.getvalue()
    assert lines() == []


def test_a_line_that_is_too_long_for_the_terminal_is_cut(clock, streams, on_screen, screen):
    streams[:] = [ORDERS, Progress("users", 1, [])]
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
