from __future__ import annotations

import logging
import threading

import pytest

from target_statsig.client.rate_limit import RateLimiter
from target_statsig.config.settings import parse_rate_windows
from target_statsig.reports import progress as progress_module
from target_statsig.reports.progress import Progress, ProgressLog
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
