"""Processes that prepare records: they come, work, and go; and no run depends on them."""

from __future__ import annotations

import signal

import pytest

from target_statsig import lanes, straight
from target_statsig.events.prepare import Preparation
from target_statsig.events.stream import Bounds, ItemStream
from target_statsig.events.workforce import Workforce
from target_statsig.object_types import EVENTS
from target_statsig.settings import Compression, ObjectType, StreamSettings
from target_statsig.validation import RecordCheck
from tests.fakes import WorkforceInHere
from tests.singer import Blocks, record, schema, state, to_lines

NOW = 1_717_632_000_000
LINES = to_lines([record("orders", {"event": "order", "user_id": "u1"})]).strip()


@pytest.fixture
def workforce():
    workforce = Workforce(1)
    yield workforce
    workforce.close()


@pytest.fixture
def preparation():
    stream = ItemStream("orders", StreamSettings(ObjectType.EVENT), EVENTS, Bounds(500, 1_000_000))
    return Preparation(stream, RecordCheck("orders", {}, []), remembers=True, compression=Compression.GZIP)


def wait_until_ready(workforce):
    workforce.begin()
    for each in workforce._workers:
        assert each._connection.poll(30)
    assert workforce.is_ready


def process_of(workforce):
    (only,) = workforce._workers
    return only._process


def test_a_worker_prepares_as_this_process_does(workforce, preparation):
    wait_until_ready(workforce)
    here = preparation(LINES, NOW)
    assert [workforce.prepare(preparation, LINES, NOW) for _ in range(3)] == [here] * 3
    assert workforce.prepare(preparation, b"no JSON", NOW) is None
    assert workforce.prepare(preparation, LINES, NOW) == here


def test_a_signal_is_for_the_target_to_answer(workforce, preparation):
    wait_until_ready(workforce)
    for number in (signal.SIGINT, signal.SIGTERM):
        process_of(workforce).send_signal(number)
    assert workforce.prepare(preparation, LINES, NOW) is not None


def test_a_worker_ends_with_the_target(workforce):
    wait_until_ready(workforce)
    workforce.close()
    assert process_of(workforce).returncode == 0


def test_a_worker_that_dies_is_not_asked_again(workforce, preparation, caplog):
    wait_until_ready(workforce)
    process_of(workforce).kill()
    assert workforce.prepare(preparation, LINES, NOW) is None
    assert "ended before its time" in caplog.text
    assert not workforce.is_ready
    assert workforce.prepare(preparation, LINES, NOW) is None


def test_without_a_second_processor_there_are_no_workers(monkeypatch):
    monkeypatch.setattr("target_statsig.events.workforce.processors", lambda: 1)
    assert not Workforce().is_ready


class MortalWorkforce(Workforce):
    """One worker, which is there from the first, and is killed after so many batches."""

    batches = 0

    def __init__(self):
        super().__init__(1)
        wait_until_ready(self)

    def prepare(self, preparation, lines, now_ms):
        self.batches += 1
        if self.batches == 10:
            process_of(self).kill()
        return super().prepare(preparation, lines, now_ms)


def test_a_run_outlives_its_worker(run_target, statsig, monkeypatch):
    monkeypatch.setattr(straight, "UNDECODED_AFTER", 100)
    monkeypatch.setattr(lanes, "Workforce", MortalWorkforce)
    orders = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(5_000)]
    blocks = [to_lines([schema("orders"), *orders[:200]]), to_lines([*orders[200:], state(orders={})])]
    outcome = run_target(Blocks(blocks), object_type="event", batch_size_rows=100)
    assert outcome.exit_code == 0
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(5_000))
    assert outcome.states == [{"bookmarks": {"orders": {}}}]


def test_a_new_schema_counts_for_what_comes_behind_it(run_target, statsig, monkeypatch):
    monkeypatch.setattr(straight, "UNDECODED_AFTER", 10)
    monkeypatch.setattr(lanes, "Workforce", WorkforceInHere)
    orders = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(40)]
    stricter = schema("orders", {"event": {}, "user_id": {"maxLength": 2}})
    blocks = [to_lines([schema("orders"), *orders[:10]]), to_lines([*orders[10:20], stricter, *orders])]
    outcome = run_target(Blocks(blocks), object_type="event", max_rejected_percent=100)
    assert outcome.report["streams"]["orders"]["reasons"] == {"schema_violation": 30}
    assert len(statsig.state.events) == 20 + 10


def test_records_that_come_now_so_now_so_are_soon_all_decoded_here(run_target, statsig, monkeypatch):
    """A batch ends where the way changes; a tap that changes its way of writing would have batches of one."""
    monkeypatch.setattr(straight, "UNDECODED_AFTER", 0)
    monkeypatch.setattr(lanes, "Workforce", WorkforceInHere)
    records = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(400)]
    turned = [dict(reversed(each.items())) if number % 2 else each for number, each in enumerate(records)]
    outcome = run_target([schema("orders"), *turned], object_type="event")
    assert outcome.exit_code == 0
    assert len(statsig.state.events) == 400
    assert len(statsig.state.requests) < 30
