"""When a batch is submitted, and what happens to its records."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest

from target_statsig.config.choices import ObjectType
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import InputError, NotNowError
from target_statsig.events.delivery import Bounds, RefusalStreak
from target_statsig.events.items import EVENTS
from target_statsig.events.stream import EventStream
from target_statsig.reports.report import ItemCounts, RunReport
from target_statsig.singer.records import Batch, Reading, RecordReader
from target_statsig.singer.state import StateGate
from target_statsig.store.ledger import NoLedger
from tests.fakes import FakeClock, FakeTransport, InProcessWorkers, answer, events_client

LINE = b'{"type":"RECORD","stream":"orders","record":{"event":"order","user_id":"u1"}}\n'
WITHOUT_USER = b'{"type":"RECORD","stream":"orders","record":{"event":"order","user_id":null}}\n'


class DeliveryPool:
    """Keeps its jobs until `work` does them."""

    def __init__(self):
        self.jobs = []

    def submit(self, job):
        self.jobs.append(job)

    @property
    def sizes(self):
        return [sum(len(part.batch) for part in job.args[2]) for job in self.jobs]

    def work(self):
        for job in self.jobs:
            job()


class Rejections:
    """Keeps what is rejected."""

    def __init__(self):
        self.kept = []

    def add(self, line, schema, error, *, message=""):
        self.kept.append((line, schema, error.reason, error.field, message))


def reading(**members):
    schema = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": {}}, **members}
    return Reading(RecordReader("orders", "orders", schema["schema"], (), validates=True), schema)


@pytest.fixture
def pool():
    return DeliveryPool()


@pytest.fixture
def run(pool):
    """What the streams of a run share, and what the fakes saw."""
    states, clock, transport = [], FakeClock(), FakeTransport(then=answer(202))
    client = events_client(transport, clock)
    return SimpleNamespace(
        events_client=client,
        pool=pool,
        workers=InProcessWorkers(),
        bounds=Bounds(3, 1_000),
        refusals=defaultdict(RefusalStreak),
        gate=StateGate(lambda state, _: states.append(state)),
        report=RunReport(0.0, dry_run=False),
        clock=clock,
        states=states,
        transport=transport,
        counts=ItemCounts(EVENTS.object_type),
        rejections=Rejections(),
    )


@pytest.fixture
def stream(run):
    settings = StreamSettings(ObjectType.EVENT)
    return EventStream("orders", settings, EVENTS, run, NoLedger(), run.counts, run.rejections)


READING = reading()


def accept(stream, count, number=1):
    stream.accept(number, Batch([LINE] * count), READING)


def test_a_full_batch_is_submitted_at_once(stream, pool):
    for _ in range(7):
        accept(stream, 1)
    assert pool.sizes == [3, 3]
    stream.flush()
    stream.flush()
    assert pool.sizes == [3, 3, 1]


def test_many_records_at_once_fill_several_batches(stream, pool):
    accept(stream, 2)
    accept(stream, 8)
    assert pool.sizes == [3, 3, 3]
    stream.flush()
    assert pool.sizes == [3, 3, 3, 1]


def test_a_batch_of_large_lines_is_submitted_at_once(stream, pool):
    long = LINE.replace(b"u1", b"u" * 450)
    stream.accept(1, Batch([long]), READING)
    assert pool.sizes == [1]


def test_records_under_another_schema_begin_another_batch(stream, pool):
    accept(stream, 2)
    stream.accept(3, Batch([LINE]), reading(bookmark_properties=["at"]))
    assert pool.sizes == [2]
    stream.flush()
    assert pool.sizes == [2, 1]


def test_a_second_stream_of_the_tap_removes_the_replication_key(stream, pool):
    stream.follow("orders", "at")
    messages = reading()
    stream.accept(1, Batch([LINE]), messages)
    stream.follow("returns", "at")
    stream.accept(2, Batch([LINE]), messages)
    stream.flush()
    assert [job.args[0].replication_key for job in pool.jobs] == ["at", None]


def test_a_batch_that_is_not_full_is_submitted_after_two_steps(stream, pool):
    accept(stream, 1)
    stream.flush_old()
    accept(stream, 1)
    assert pool.sizes == []
    stream.flush_old()
    assert pool.sizes == [2]


def test_a_batch_begun_since_the_last_step_is_not_old(stream, pool):
    for _ in range(5):
        stream.flush_old()
        accept(stream, 2)
        accept(stream, 2)
    assert set(pool.sizes) == {3}


def test_a_state_is_written_when_all_before_it_is_settled(stream, pool, run):
    stream.accept(1, Batch([LINE, WITHOUT_USER, LINE]), READING)
    run.gate.hold("after three")
    assert run.states == []
    pool.work()
    assert run.states == ["after three"]
    assert (run.counts.records, run.counts.delivered) == (3, 2)
    assert run.rejections.kept == [(WITHOUT_USER, READING.schema, "missing_identifier", "user_id", "")]


def test_an_unreadable_line_is_named_by_its_number_in_the_input(stream, pool, run):
    accept(stream, 1, number=5)
    stream.accept(9, Batch([LINE, b'{"type":"RECORD","stream":"orders","record":{\n']), READING)
    run.gate.hold("after three")
    with pytest.raises(InputError, match=r"^[\w ]*:? ?Line 10 of the input .*is not valid JSON"):
        pool.work()
    assert (run.counts.records, run.counts.delivered) == (2, 2)
    assert run.states == []


def test_a_failed_delivery_holds_the_state_back(stream, pool, run):
    run.transport._then = answer(503, {"success": False})
    accept(stream, 3)
    run.gate.hold("after three")
    with pytest.raises(NotNowError):
        pool.work()
    assert (run.counts.records, run.counts.delivered, run.states) == (3, 0, [])
