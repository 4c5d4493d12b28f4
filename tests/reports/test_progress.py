from __future__ import annotations

import logging
import threading

import pytest

from target_statsig.reports import progress as progress_module
from target_statsig.reports.progress import Progress, ProgressLog

ORDERS = Progress("orders", 12_500, ["12,000 acknowledged", "500 in flight"], busy=True)


@pytest.fixture
def streams():
    return []


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.name == progress_module.__name__]


@pytest.fixture
def progress_log(clock, streams):
    return ProgressLog(clock, lambda: streams, lambda requests: 70.0 * requests)


def test_nothing_is_logged_in_the_first_half_minute(clock, streams, progress_log, lines):
    streams.append(ORDERS)
    clock.advance(29.9)
    progress_log.update()
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
def test_each_stream_is_logged_every_half_minute(clock, streams, progress_log, lines, progress, line):
    streams.append(progress)
    clock.advance(30)
    progress_log.update()
    progress_log.update()
    assert lines() == [line]


def test_the_rate_is_of_the_last_half_minute(clock, streams, progress_log, lines):
    for records in (3_000, 3_300):
        streams[:] = [Progress("orders", records, [])]
        clock.advance(30)
        progress_log.update()
    assert [line.partition(",")[2].partition(",")[0] for line in lines()] == [
        "000 records (100/s)",
        "300 records (10/s)",
    ]


def test_a_finished_stream_is_logged_once(clock, streams, progress_log, lines):
    streams[:] = [Progress("done", 10, []), ORDERS]
    for _ in range(3):
        clock.advance(30)
        progress_log.update()
    assert [line.partition(":")[0] for line in lines()] == ["done", "orders", "orders", "orders"]
    assert lines()[-1] == "orders: 12,500 records, 12,000 acknowledged, 500 in flight"


def test_the_time_left_is_of_all_streams_together(clock, streams, progress_log, lines):
    streams[:] = [Progress(name, 1, [], requests_left=2) for name in ("a", "b")]
    clock.advance(30)
    progress_log.update()
    assert [line.rpartition(", ")[2] for line in lines()] == ["about 5 min"] * 2


def test_an_update_does_not_wait_for_that_of_another_thread(clock, lines):
    asked = threading.Event()
    answer = threading.Event()

    def progress():
        asked.set()
        answer.wait(60)
        return [ORDERS]

    progress_log = ProgressLog(clock, progress, lambda _: 0.0)
    clock.advance(30)
    thread = threading.Thread(target=progress_log.update)
    thread.start()
    asked.wait(60)
    progress_log.update()
    answer.set()
    thread.join(60)
    assert len(lines()) == 1
