"""Processes that prepare records, on which no run depends."""

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
from tests.fakes import InProcessWorkers
from tests.singer import Blocks, record, schema, state, to_lines

NOW = 1_717_632_000_000


def orders(count):
    return [record("orders", {"event": "order", "user_id": f"u{number}"}) for number in range(count)]


def batch_of(message):
    return Batch([to_lines([message])])


BATCH = batch_of(*orders(1))
LIMITS = Limits(500, 1_000_000, 1_000_000)
PART_OF_A_TASK = pickle.dumps(Task(1, None, b"".join(BATCH.lines), LIMITS, NOW), pickle.HIGHEST_PROTOCOL)[:-20]


@pytest.fixture
def workers():
    workers = Workers(1)
    yield workers
    workers.close()


@pytest.fixture
def preparation():
    reader = RecordReader("orders", "orders", {}, [], validates=True)
    return Preparation(reader, StreamSettings(ObjectType.EVENT), EVENTS, True, Compression.NONE, None)


@pytest.fixture
def forbid_this_process(monkeypatch):
    """Return a function; once it is called, only workers can prepare a batch."""

    def prepare_here(*_):
        pytest.fail("prepared in this process")

    return lambda: monkeypatch.setattr(Preparation, "__call__", prepare_here)


@pytest.fixture
def prepared_by_a_worker(monkeypatch):
    """Let a worker prepare every batch of a run."""
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", InProcessWorkers)


def wait_until_ready(workers):
    workers.start()
    for each in workers._workers:
        assert select.select([each._answers], [], [], PATIENCE)[0], f"no worker after {PATIENCE} seconds"
        # EOFError: the worker ended instead, and its standard error says why.
        assert each.is_ready


def process_of(workers):
    (only,) = workers._workers
    return only._process


def test_a_worker_prepares_as_this_process_does(workers, preparation, forbid_this_process):
    wait_until_ready(workers)
    here = preparation(BATCH, LIMITS, NOW)
    forbid_this_process()
    assert [workers.prepare(preparation, BATCH, LIMITS, NOW) for _ in range(3)] == [here] * 3
    assert workers.prepare(preparation, Batch([b"no JSON"]), LIMITS, NOW).unreadable is not None
    assert workers.prepare(preparation, BATCH, LIMITS, NOW) == here


def test_a_worker_ignores_signals(workers, preparation, forbid_this_process):
    wait_until_ready(workers)
    here = preparation(BATCH, LIMITS, NOW)
    forbid_this_process()
    for number in (signal.SIGINT, signal.SIGTERM):
        process_of(workers).send_signal(number)
    assert workers.prepare(preparation, BATCH, LIMITS, NOW) == here


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")
def test_a_worker_has_no_key_in_its_environment(workers, monkeypatch):
    for name in ("TARGET_STATSIG_SERVER_SECRET_KEY", "MELTANO_LOAD_SERVER_SECRET_KEY"):
        monkeypatch.setenv(name, "secret-canary")
    wait_until_ready(workers)
    assert b"secret-canary" not in Path(f"/proc/{process_of(workers).pid}/environ").read_bytes()


def test_a_worker_works_with_a_pipe_of_the_default_size(workers, preparation, monkeypatch, forbid_this_process):
    monkeypatch.setattr("target_statsig.events.workers.PIPE_BYTES", -1)
    wait_until_ready(workers)
    here = preparation(BATCH, LIMITS, NOW)
    forbid_this_process()
    assert workers.prepare(preparation, BATCH, LIMITS, NOW) == here


def test_a_worker_ends_with_the_target(workers):
    wait_until_ready(workers)
    workers.close()
    assert process_of(workers).returncode is not None


@pytest.mark.parametrize(
    "meanwhile",
    [pytest.param("", id="idle"), pytest.param(f"worker._tasks.write({PART_OF_A_TASK});", id="receiving a task")],
)
def test_a_worker_ends_when_the_target_is_killed(meanwhile):
    script = (
        "from target_statsig.events.workers import Workers; workers = Workers(1); workers.start();"
        f"(worker,) = workers._workers; worker._answers.peek(); {meanwhile} worker._tasks.flush();"
        "print('up', flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as target:
        assert target.stdout.readline() == b"up\n"
        target.kill()
        # The worker has the same standard error, so that this waits for its end.
        assert b"Error" not in target.communicate(timeout=30)[1]


def test_tasks_of_a_killed_worker_are_done_in_this_process(workers, preparation, caplog):
    wait_until_ready(workers)
    process_of(workers).kill()
    here = preparation(BATCH, LIMITS, NOW)
    assert [workers.prepare(preparation, BATCH, LIMITS, NOW) for _ in range(3)] == [here] * 3
    assert caplog.text.count("ended early") == 1


def test_threads_that_share_a_worker_receive_their_own_answers(workers, preparation, forbid_this_process):
    wait_until_ready(workers)
    batches = [*map(batch_of, orders(200))]
    here = [preparation(batch, LIMITS, NOW) for batch in batches]
    forbid_this_process()
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda batch: workers.prepare(preparation, batch, LIMITS, NOW), batches)]
    assert found == here


def test_tasks_of_several_threads_survive_a_killed_worker(workers, preparation, caplog):
    wait_until_ready(workers)
    process_of(workers).send_signal(signal.SIGSTOP)
    batches = [*map(batch_of, orders(20))]
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(workers.prepare, preparation, batch, LIMITS, NOW) for batch in batches]
        process_of(workers).kill()
        assert [each.result() for each in asked] == [preparation(batch, LIMITS, NOW) for batch in batches]
    assert caplog.text.count("ended early") == 1


def test_tasks_of_a_hanging_worker_are_done_in_this_process(workers, preparation, monkeypatch):
    monkeypatch.setattr("target_statsig.events.workers.ANSWER_SECONDS", 0.01)
    wait_until_ready(workers)
    process_of(workers).send_signal(signal.SIGSTOP)
    assert workers.prepare(preparation, BATCH, LIMITS, NOW) == preparation(BATCH, LIMITS, NOW)
    process_of(workers).wait(30)


def test_tasks_before_a_worker_is_ready_are_done_in_this_process(preparation):
    workers = Workers(1)
    workers.start()
    process_of(workers).send_signal(signal.SIGSTOP)
    assert workers.prepare(preparation, BATCH, LIMITS, NOW) == preparation(BATCH, LIMITS, NOW)
    process_of(workers).send_signal(signal.SIGCONT)
    workers.close()


def test_tasks_on_a_single_processor_are_done_in_this_process(monkeypatch, preparation):
    monkeypatch.setattr("target_statsig.events.workers.processors", lambda: 1)
    workers = Workers()
    workers.start()
    assert workers._workers == []
    assert workers.prepare(preparation, BATCH, LIMITS, NOW) == preparation(BATCH, LIMITS, NOW)


def failing_workers(fail):
    """Return a class with one worker, ready at once, for which `fail` is called before the tenth batch."""

    class FailingWorkers(Workers):
        batches = 0

        def __init__(self):
            super().__init__(1)
            wait_until_ready(self)

        def prepare(self, preparation, batch, limits, now_ms):
            self.batches += 1
            if self.batches == 10:
                fail(process_of(self))
            return super().prepare(preparation, batch, limits, now_ms)

    return FailingWorkers


@pytest.mark.parametrize("properties", [None, {"event": {}, "user_id": {"type": "string"}}], ids=["any", "a table"])
def test_a_run_continues_when_its_worker_is_killed(run_target, statsig, monkeypatch, properties):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 100)
    monkeypatch.setattr("target_statsig.commands.run.Workers", failing_workers(subprocess.Popen.kill))
    rows = orders(5_000)
    blocks = [to_lines([schema("orders", properties), *rows[:200]]), to_lines([*rows[200:], state(orders={})])]
    outcome = run_target(Blocks(blocks), object_type="event", batch_size_rows=100)
    assert outcome.exit_code == 0
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(5_000))
    assert outcome.states == [{"bookmarks": {"orders": {}}}]


def stop(process):
    process.send_signal(signal.SIGSTOP)


def stop_and_signal_this_process(process):
    stop(process)
    os.kill(os.getpid(), signal.SIGTERM)


SMALL, MORE_THAN_A_PIPE_HOLDS = 10, 20_000


@pytest.mark.parametrize("size", [SMALL, MORE_THAN_A_PIPE_HOLDS], ids=["with its task", "while it receives its task"])
@pytest.mark.parametrize("signalled", [True, False], ids=["until a signal", "until the time limit"])
def test_a_run_continues_when_its_worker_stops_answering(run_target, statsig, monkeypatch, size, signalled):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 100)
    monkeypatch.setattr(
        "target_statsig.commands.run.Workers", failing_workers(stop_and_signal_this_process if signalled else stop)
    )
    if not signalled:
        monkeypatch.setattr("target_statsig.events.workers.ANSWER_SECONDS", 0.05)
    rows = [record("orders", {"event": "order", "user_id": f"u{n}", "note": "x" * size}) for n in range(2_000)]
    blocks = [to_lines([schema("orders"), *rows[:200]]), to_lines([*rows[200:], state(orders={})])]
    outcome = run_target(
        Blocks(blocks), object_type="event", batch_size_rows=50, batch_size_bytes=5_000_000, metadata_fields=[]
    )
    read = outcome.report["streams"]["orders"]["records"]
    assert read > 500
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(read))
    assert outcome.exit_code == (143 if signalled else 0)
    assert ("does not answer" in outcome.log) == (not signalled)


def test_a_new_schema_applies_to_the_records_behind_it(run_target, statsig, monkeypatch):
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 10)
    monkeypatch.setattr("target_statsig.commands.run.Workers", InProcessWorkers)
    rows = orders(40)
    stricter = schema("orders", {"event": {}, "user_id": {"maxLength": 2}})
    blocks = [to_lines([schema("orders"), *rows[:10]]), to_lines([*rows[10:20], stricter, *rows])]
    outcome = run_target(Blocks(blocks), object_type="event", max_rejected_percent=100)
    assert outcome.report["streams"]["orders"]["reasons"] == {"schema_violation": 30}
    assert len(statsig.state.events) == 20 + 10


@pytest.mark.usefixtures("prepared_by_a_worker")
def test_records_with_members_in_another_order_share_requests(run_target, statsig):
    reordered = [dict(reversed(each.items())) if number % 2 else each for number, each in enumerate(orders(400))]
    outcome = run_target([schema("orders"), *reordered], object_type="event")
    assert outcome.exit_code == 0
    assert len(statsig.state.events) == 400
    assert len(statsig.state.requests) < 30


@pytest.mark.usefixtures("prepared_by_a_worker")
def test_records_before_an_unreadable_line_are_sent(run_target, statsig):
    broken = to_lines(orders(5)).replace(b'"u3"', b'"u3')
    outcome = run_target(
        Blocks([to_lines([schema("orders")]), broken + to_lines([state(orders={})])]), object_type="event"
    )
    assert outcome.exit_code == 1
    assert "Line 5 of the input" in outcome.report["errors"][0]
    # The record behind the broken line is counted, but not sent.
    assert outcome.report["streams"]["orders"]["records"] == 4
    assert [event["user"]["userID"] for event in statsig.state.events] == ["u0", "u1", "u2"]
    assert outcome.states == []


@pytest.mark.usefixtures("prepared_by_a_worker")
def test_a_line_that_the_tap_did_not_finish_is_no_record(run_target, statsig):
    outcome = run_target(Blocks([to_lines([schema("orders")]), to_lines(orders(5))[:-20]]), object_type="event")
    assert "Check the tap's log for an error" in outcome.report["errors"][0]
    assert outcome.report["streams"]["orders"]["records"] == 4
    assert len(statsig.state.events) == 4


@pytest.mark.usefixtures("prepared_by_a_worker")
def test_a_later_run_sends_only_records_not_delivered_before(run_target, statsig):
    rows = orders(30)
    table = schema("orders", {"event": {}, "user_id": {"type": "string"}})
    run_target([table, *rows[:15], state(orders={})], object_type="event", batch_size_rows=10)
    outcome = run_target([table, *rows, state(orders={})], object_type="event", batch_size_rows=10)
    assert outcome.report["streams"]["orders"]["skipped_duplicates"] == 15
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(30))


def test_dead_letters_are_sent_although_the_last_line_has_no_end(run_target, statsig, monkeypatch):
    for run in ("first", "second"):
        statsig.faults.add(event=f"{run} *", status=400)
        rows = [record("orders", {"event": f"{run} {number}", "user_id": "u1"}) for number in range(2)]
        run_target([schema("orders"), *rows], object_type="event", max_rejected_percent=100)
    statsig.faults.clear()
    first, _ = sorted(run_target.directory.glob("dead/*.singer"))
    first.write_bytes(first.read_bytes().rstrip(b"\n"))
    monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
    monkeypatch.setattr("target_statsig.commands.run.Workers", InProcessWorkers)
    assert TargetStatsig(config=run_target.config(object_type="event")).replay() == 0
    assert len(statsig.state.events) == 4
