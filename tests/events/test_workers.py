"""Processes that prepare records: they come, work, and go; and no run depends on them."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from target_statsig.config.choices import Compression, ObjectType
from target_statsig.config.settings import StreamSettings
from target_statsig.events import stream as event_stream
from target_statsig.events.items import EVENTS
from target_statsig.events.prepare import Limits, Preparation
from target_statsig.events.workers import Task, Workers
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.target import TargetStatsig
from tests.command import PATIENCE
from tests.fakes import WorkersInHere
from tests.singer import Blocks, record, schema, state, to_lines

NOW = 1_717_632_000_000
ORDERS = Batch([to_lines([record("orders", {"event": "order", "user_id": "u1"})])])
LIMITS = Limits(500, 1_000_000, 1_000_000)
PART_OF_A_TASK = pickle.dumps(Task(1, None, b"".join(ORDERS.lines), LIMITS, NOW), pickle.HIGHEST_PROTOCOL)[:-20]


@pytest.fixture
def workers():
    workers = Workers(1)
    yield workers
    workers.close()


@pytest.fixture
def preparation():
    reader = RecordReader("orders", "orders", {}, [], validates=True)
    return Preparation(reader, StreamSettings(ObjectType.EVENT), EVENTS, True, Compression.NONE, None)


def wait_until_ready(workers):
    workers.start()
    for each in workers._workers:
        assert select.select([each._answers], [], [], PATIENCE)[0], f"no worker after {PATIENCE} seconds"
        # EOFError: it ended instead, and wrote to the standard error why.
        assert each.is_ready


def process_of(workers):
    (only,) = workers._workers
    return only._process


def test_a_worker_prepares_as_this_process_does(workers, preparation):
    wait_until_ready(workers)
    here = preparation(ORDERS, LIMITS, NOW)
    assert [workers.prepare(preparation, ORDERS, LIMITS, NOW) for _ in range(3)] == [here] * 3
    assert workers.prepare(preparation, Batch([b"no JSON"]), LIMITS, NOW).unreadable is not None
    assert workers.prepare(preparation, ORDERS, LIMITS, NOW) == here


def test_a_signal_is_for_the_target_to_answer(workers, preparation):
    wait_until_ready(workers)
    for number in (signal.SIGINT, signal.SIGTERM):
        process_of(workers).send_signal(number)
    assert workers.prepare(preparation, ORDERS, LIMITS, NOW) is not None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")
def test_no_worker_is_given_a_key(workers, monkeypatch):
    for name in ("TARGET_STATSIG_SERVER_SECRET_KEY", "MELTANO_LOAD_SERVER_SECRET_KEY"):
        monkeypatch.setenv(name, "secret-canary")
    wait_until_ready(workers)
    assert b"secret-canary" not in Path(f"/proc/{process_of(workers).pid}/environ").read_bytes()


def test_a_worker_has_a_small_pipe_where_it_may_have_no_larger_one(workers, preparation, monkeypatch):
    monkeypatch.setattr("target_statsig.events.workers.PIPE_BYTES", 1 << 40)
    wait_until_ready(workers)
    assert workers.prepare(preparation, ORDERS, LIMITS, NOW) == preparation(ORDERS, LIMITS, NOW)


def test_a_worker_ends_with_the_target(workers):
    wait_until_ready(workers)
    workers.close()
    assert process_of(workers).returncode is not None


@pytest.mark.parametrize(
    "meanwhile", [pytest.param("", id="idle"), pytest.param(f"worker._tasks.write({PART_OF_A_TASK});", id="asking")]
)
def test_a_worker_ends_with_a_target_that_is_killed(meanwhile):
    script = (
        "from target_statsig.events.workers import Workers; workers = Workers(1); workers.start();"
        f"(worker,) = workers._workers; worker._answers.peek(); {meanwhile} worker._tasks.flush();"
        "print('up', flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as target:
        assert target.stdout.readline() == b"up\n"
        target.kill()
        # Which ends when the worker does: it has the same.
        assert b"Error" not in target.communicate(timeout=30)[1]


def test_what_a_worker_that_dies_was_asked_for_is_done_here(workers, preparation, caplog):
    wait_until_ready(workers)
    process_of(workers).kill()
    here = preparation(ORDERS, LIMITS, NOW)
    assert [workers.prepare(preparation, ORDERS, LIMITS, NOW) for _ in range(3)] == [here] * 3
    assert caplog.text.count("ended early") == 1


def orders_of(user):
    return Batch([to_lines([record("orders", {"event": "order", "user_id": user})])])


def test_threads_that_share_a_worker_each_receive_their_own_answer(workers, preparation):
    wait_until_ready(workers)
    batches = [orders_of(f"u{number}") for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda batch: workers.prepare(preparation, batch, LIMITS, NOW), batches)]
    assert found == [preparation(batch, LIMITS, NOW) for batch in batches]


def test_what_several_threads_asked_of_a_worker_that_dies_is_done_here(workers, preparation, caplog):
    wait_until_ready(workers)
    process_of(workers).send_signal(signal.SIGSTOP)
    batches = [orders_of(f"u{number}") for number in range(20)]
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(workers.prepare, preparation, batch, LIMITS, NOW) for batch in batches]
        process_of(workers).kill()
        assert [each.result() for each in asked] == [preparation(batch, LIMITS, NOW) for batch in batches]
    assert caplog.text.count("ended early") == 1


def test_what_a_worker_that_hangs_was_asked_for_is_done_here(workers, preparation, monkeypatch):
    monkeypatch.setattr("target_statsig.events.workers.ANSWER_SECONDS", 0.01)
    wait_until_ready(workers)
    process_of(workers).send_signal(signal.SIGSTOP)
    assert workers.prepare(preparation, ORDERS, LIMITS, NOW) == preparation(ORDERS, LIMITS, NOW)
    process_of(workers).wait(30)


def test_what_a_worker_is_asked_for_before_it_is_up_is_done_here(preparation):
    workers = Workers(1)
    workers.start()
    process_of(workers).send_signal(signal.SIGSTOP)
    assert workers.prepare(preparation, ORDERS, LIMITS, NOW) == preparation(ORDERS, LIMITS, NOW)
    process_of(workers).send_signal(signal.SIGCONT)
    workers.close()


def test_without_a_second_processor_all_is_done_here(monkeypatch, preparation):
    monkeypatch.setattr("target_statsig.events.workers.processors", lambda: 1)
    workers = Workers()
    workers.start()
    assert workers.prepare(preparation, ORDERS, LIMITS, NOW) == preparation(ORDERS, LIMITS, NOW)


def mortal(fate):
    """Return a workers of one worker, which is there from the first; its fate comes before the tenth batch."""

    class MortalWorkers(Workers):
        batches = 0

        def __init__(self):
            super().__init__(1)
            wait_until_ready(self)

        def prepare(self, preparation, batch, limits, now_ms):
            self.batches += 1
            if self.batches == 10:
                fate(process_of(self))
            return super().prepare(preparation, batch, limits, now_ms)

    return MortalWorkers


@pytest.mark.parametrize("properties", [None, {"event": {}, "user_id": {"type": "string"}}], ids=["any", "a table"])
def test_a_run_outlives_its_worker(run_target, statsig, monkeypatch, properties):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 100)
    monkeypatch.setattr("target_statsig.commands.run.Workers", mortal(subprocess.Popen.kill))
    orders = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(5_000)]
    blocks = [to_lines([schema("orders", properties), *orders[:200]]), to_lines([*orders[200:], state(orders={})])]
    outcome = run_target(Blocks(blocks), object_type="event", batch_size_rows=100)
    assert outcome.exit_code == 0
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(5_000))
    assert outcome.states == [{"bookmarks": {"orders": {}}}]


def stop(process):
    process.send_signal(signal.SIGSTOP)


def stop_and_be_stopped(process):
    stop(process)
    os.kill(os.getpid(), signal.SIGTERM)


SMALL, MORE_THAN_A_PIPE_HOLDS = 10, 20_000


@pytest.mark.parametrize("size", [SMALL, MORE_THAN_A_PIPE_HOLDS], ids=["after it was asked", "while it is asked"])
@pytest.mark.parametrize("signalled", [True, False], ids=["until a signal comes", "until its time is over"])
def test_a_run_outlives_a_worker_that_answers_no_more(run_target, statsig, monkeypatch, size, signalled):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 100)
    monkeypatch.setattr("target_statsig.commands.run.Workers", mortal(stop_and_be_stopped if signalled else stop))
    if not signalled:
        monkeypatch.setattr("target_statsig.events.workers.ANSWER_SECONDS", 0.05)
    orders = [record("orders", {"event": "order", "user_id": f"u{n}", "note": "x" * size}) for n in range(2_000)]
    blocks = [to_lines([schema("orders"), *orders[:200]]), to_lines([*orders[200:], state(orders={})])]
    outcome = run_target(
        Blocks(blocks), object_type="event", batch_size_rows=50, batch_size_bytes=5_000_000, metadata_fields=[]
    )
    read = outcome.report["streams"]["orders"]["records"]
    assert read > 500
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(read))
    assert outcome.exit_code == (143 if signalled else 0)
    assert ("does not answer" in outcome.log) == (not signalled)


def test_a_new_schema_counts_for_what_comes_behind_it(run_target, statsig, monkeypatch):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 10)
    monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    orders = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(40)]
    stricter = schema("orders", {"event": {}, "user_id": {"maxLength": 2}})
    blocks = [to_lines([schema("orders"), *orders[:10]]), to_lines([*orders[10:20], stricter, *orders])]
    outcome = run_target(Blocks(blocks), object_type="event", max_rejected_percent=100)
    assert outcome.report["streams"]["orders"]["reasons"] == {"schema_violation": 30}
    assert len(statsig.state.events) == 20 + 10


def test_records_written_now_so_now_so_share_requests(run_target, statsig, monkeypatch):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    records = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(400)]
    turned = [dict(reversed(each.items())) if number % 2 else each for number, each in enumerate(records)]
    outcome = run_target([schema("orders"), *turned], object_type="event")
    assert outcome.exit_code == 0
    assert len(statsig.state.events) == 400
    assert len(statsig.state.requests) < 30


def test_what_comes_before_a_line_that_cannot_be_read_is_sent(run_target, statsig, monkeypatch):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    orders = to_lines([record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(5)])
    broken = orders.replace(b'"u3"', b'"u3')
    outcome = run_target(
        Blocks([to_lines([schema("orders")]), broken + to_lines([state(orders={})])]), object_type="event"
    )
    assert outcome.exit_code == 1
    assert "Line 5 of the input" in outcome.report["errors"][0]
    assert outcome.report["streams"]["orders"]["records"] == 4  # the one behind it was read, and not sent
    assert [event["user"]["userID"] for event in statsig.state.events] == ["u0", "u1", "u2"]
    assert outcome.states == []


def test_a_line_that_the_tap_was_cut_off_in_is_no_record(run_target, statsig, monkeypatch):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    orders = to_lines([record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(5)])
    outcome = run_target(Blocks([to_lines([schema("orders")]), orders[:-20]]), object_type="event")
    assert "Check the tap's log for an error" in outcome.report["errors"][0]
    assert outcome.report["streams"]["orders"]["records"] == 4
    assert len(statsig.state.events) == 4


def test_a_later_run_prepares_only_what_no_earlier_one_delivered(run_target, statsig, monkeypatch):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    orders = [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(30)]
    table = schema("orders", {"event": {}, "user_id": {"type": "string"}})
    run_target([table, *orders[:15], state(orders={})], object_type="event", batch_size_rows=10)
    outcome = run_target([table, *orders, state(orders={})], object_type="event", batch_size_rows=10)
    assert outcome.report["streams"]["orders"]["skipped_duplicates"] == 15
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(30))


def test_dead_letters_of_a_file_whose_last_line_has_no_end_are_sent(run_target, statsig, monkeypatch):
    for run in ("first", "second"):
        statsig.faults.add(event=f"{run} *", status=400)
        orders = [record("orders", {"event": f"{run} {number}", "user_id": "u1"}) for number in range(2)]
        run_target([schema("orders"), *orders], object_type="event", max_rejected_percent=100)
    statsig.faults.clear()
    first, _ = sorted(run_target.directory.glob("dead/*.singer"))
    first.write_bytes(first.read_bytes().rstrip(b"\n"))
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    assert TargetStatsig(config=run_target.config(object_type="event")).replay() == 0
    assert len(statsig.state.events) == 4
