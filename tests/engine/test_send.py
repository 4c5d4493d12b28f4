"""A table of prepared requests, sent: what arrives, what is remembered, and what is refused."""

from __future__ import annotations

import contextlib
import queue
import re
import sqlite3
import threading
import time
from collections import Counter

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from target_statsig import spark
from target_statsig.commands.status import read_status
from target_statsig.engine import files
from target_statsig.engine.files import open_table
from target_statsig.engine.ledger import TableLedger
from target_statsig.engine.table import to_batch
from target_statsig.errors import Heading, StoreError
from target_statsig.reports import progress
from target_statsig.target import TargetStatsig
from tests.command import PATIENCE
from tests.engine.tables import (
    ORDERS,
    arrived,
    counts,
    once,
    order,
    orders,
    prepared_rows,
    refused,
    write_file,
)
from tests.singer import record, schema


def test_every_event_of_a_table_arrives_once(send, table, statsig):
    outcome = send(table(orders(0, 25), orders(25, 45), []))
    assert outcome.exit_code == 0
    assert arrived(statsig) == once(45)
    assert (counts(outcome)["records"], counts(outcome)["delivered"], counts(outcome)["requests"]) == (45, 45, 5)
    assert outcome.states == []


def test_a_table_that_is_sent_after_its_preparation_on_spark_is_remembered_as_sent(run_target, table, statsig):
    config = run_target.config(**ORDERS)
    assert spark.send(None, config, staging=str(table(orders(0, 5))))["status"] == "complete"
    assert arrived(statsig) == once(5)
    assert [run["command"] for run in read_status(TargetStatsig(config=config).run.settings).as_json()["runs"]] == [
        "send"
    ]


def test_a_table_that_was_sent_is_not_sent_again(send, table, statsig):
    url = table(orders(0, 25), orders(25, 45))
    send(url)
    again = send(url)
    assert again.exit_code == 0
    assert arrived(statsig) == once(45)
    assert (counts(again)["requests"], counts(again)["skipped_duplicates"]) == (0, 45)


def test_what_failed_is_sent_by_the_same_command_again(send, table, statsig):
    url = table(orders(0, 50), orders(50, 100))
    fault = statsig.faults.add(path="/v1/log_event", skip=4, status=503)
    first = send(url, max_parallel_requests=1)
    assert first.exit_code == 1
    assert 0 < sum(arrived(statsig).values()) < 100
    statsig.faults.clear()
    assert fault.hits
    second = send(url)
    assert second.exit_code == 0
    assert arrived(statsig) == once(100)
    assert counts(second)["maybe_duplicated"] <= 10


@pytest.fixture
def store(run_target):
    """Ask the store, from any thread, once there is one."""

    def ask(statement):
        with contextlib.closing(sqlite3.connect(run_target.directory / "store.db", isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()

    return ask


SURVEYS = 2
"""Times that a file is opened before its rows are read."""

UNANSWERED = "SELECT * FROM target_statsig_batches WHERE NOT acknowledged"


def test_an_acknowledgement_outlives_a_next_request_that_the_store_refuses(send, table, store, statsig):
    send(table(orders(0, 1), name="first"))
    store(
        "CREATE TRIGGER refuse BEFORE INSERT ON target_statsig_batches WHEN (SELECT count(*) FROM "
        "target_statsig_batches) = 4 BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    url = table(orders(1, 21))
    assert send(url, max_parallel_requests=1).exit_code == 1
    assert arrived(statsig) == once(11)
    assert store(UNANSWERED) == []
    store("DROP TRIGGER refuse")
    again = send(url)
    assert arrived(statsig) == once(21)
    assert counts(again)["maybe_duplicated"] == 0


def test_the_first_error_is_told_though_the_store_fails_after_it(send, table, statsig, monkeypatch):
    def record(_):
        if statsig.state.requests:
            msg = "full"
            raise StoreError(msg)

    monkeypatch.setattr(TableLedger, "record", record)
    statsig.faults.add(path="/v1/*", status=401)
    outcome = send(table(orders(0, 20)), max_parallel_requests=1)
    assert outcome.exit_code == 1
    assert {*outcome.report["error_codes"]} == {Heading.KEY.code, Heading.STORE.code}


@pytest.fixture
def far_table(table, monkeypatch):
    """Put a table of two files where reading takes as long as it likes, and return its URL.

    `before_reading` is called when the second file is opened to be sent.
    """

    def make(name, before_reading):
        fsspec.filesystem("memory").put(table(orders(0, 10), orders(10, 20)), f"/{name}", recursive=True)
        openings = Counter()
        open_file = MemoryFileSystem._open

        def open_it(self, path, *arguments, **options):
            openings[path] += 1
            if "part-00001" in path and openings[path] == SURVEYS + 1:
                before_reading()
            return open_file(self, path, *arguments, **options)

        monkeypatch.setattr(MemoryFileSystem, "_open", open_it)
        return f"memory://{name}"

    return make


def test_an_acknowledgement_is_recorded_before_a_slow_read(send, far_table, store, statsig):
    recorded = []

    def wait_for_the_record():
        deadline = time.monotonic() + 20
        while not statsig.state.events or store(UNANSWERED):
            assert time.monotonic() < deadline
        recorded.append(len(statsig.state.events))

    assert send(far_table("slow", wait_for_the_record), max_parallel_requests=1).exit_code == 0
    assert recorded == [10]


def test_a_file_that_cannot_be_read_any_more_ends_the_sending_with_what_to_do(send, far_table, statsig):
    def break_off():
        raise ConnectionResetError

    outcome = send(far_table("gone", break_off))
    assert outcome.exit_code == 1
    assert "cannot be read to its end: ConnectionResetError in part-00001.parquet" in outcome.errors
    assert send("memory://gone").exit_code == 0
    assert arrived(statsig) == once(20)


def test_a_table_is_remembered_request_by_request_where_records_are_not(send, table, statsig):
    config = {**ORDERS, "dedupe": False}
    url = table(orders(0, 50), config=config)
    statsig.faults.add(path="/v1/log_event", skip=2, status=503)
    assert send(url, dedupe=False, max_parallel_requests=1).exit_code == 1
    statsig.faults.clear()
    assert send(url, dedupe=False).exit_code == 0
    assert arrived(statsig) == once(50)
    # What the pipe brings is another matter: nobody remembers records.
    other = table(orders(0, 10), config=config, name="other", attempt=7)
    assert send(other, dedupe=False).exit_code == 0
    assert arrived(statsig) == once(50) + once(10)


def test_what_another_table_or_a_pipe_has_delivered_is_skipped(send, table, run_target, statsig):
    run_target([schema("orders"), *(record("orders", order(number)) for number in range(5))], **ORDERS)
    send(table(orders(3, 18), name="one"))
    outcome = send(table(orders(0, 30), name="two"))
    assert arrived(statsig) == once(30)
    assert (counts(outcome)["skipped_duplicates"], counts(outcome)["delivered"]) == (18, 12)


def test_twins_stay_twins_in_one_run_and_after_a_failure(send, table, statsig):
    twins = orders(0, 10) + orders(0, 10)
    url = table(twins, orders(0, 10))
    statsig.faults.add(path="/v1/log_event", skip=1, status=503)
    assert send(url, max_parallel_requests=1).exit_code == 1
    statsig.faults.clear()
    assert send(url).exit_code == 0
    assert arrived(statsig) == Counter(dict.fromkeys(range(10), 3))
    assert send(url).exit_code == 0
    assert arrived(statsig) == Counter(dict.fromkeys(range(10), 3))


def test_several_senders_share_a_table_by_its_files_and_twins_stay_twins(send, table, statsig):
    url = table(orders(0, 25), orders(20, 45))
    first = send(f"{url}/part-00000*")
    assert arrived(statsig) == once(25)
    second = send(f"{url}/part-00001*")
    assert first.exit_code == second.exit_code == 0
    assert arrived(statsig) == once(25) + once(20, 45)
    assert counts(send(url))["requests"] == 0


def test_rows_that_are_not_read_to_their_end_are_closed_without_waiting_for_a_file(table, monkeypatch):
    """The garbage collector closes them after a run that was stopped, in whatever thread it runs."""
    prepared = open_table(str(table(orders(0, 10), orders(10, 20))))
    is_closed, closed_in_time = threading.Event(), queue.SimpleQueue()

    @contextlib.contextmanager
    def opened(path, open_file=files._opened):
        if path.name != "part-00000.parquet":
            closed_in_time.put(is_closed.wait(PATIENCE))
        with open_file(path) as file:
            yield file

    monkeypatch.setattr(files, "_opened", opened)
    rows = prepared.rows(lambda: None)
    next(rows)
    rows.close()
    is_closed.set()
    assert closed_in_time.get(timeout=PATIENCE)


def test_a_lost_answer_is_the_only_thing_that_doubles_and_is_counted(send, table, statsig):
    url = table(orders(0, 50))
    statsig.faults.add(path="/v1/log_event", skip=2, times=1, drop=True, taken=True)
    first = send(url, max_parallel_requests=1)
    statsig.faults.clear()
    second = send(url)
    doubled = sum((arrived(statsig) - once(50)).values())
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert doubled == 10
    assert counts(first)["maybe_duplicated"] + counts(second)["maybe_duplicated"] == 10


@pytest.mark.usefixtures("waits_take_no_time")
def test_429_is_waited_for_as_long_as_it_asks(send, table, statsig):
    statsig.faults.add(path="/v1/log_event", times=1, status=429, retry_after=20)
    outcome = send(table(orders(0, 30)), retry_timeout=30)
    assert outcome.exit_code == 0
    assert outcome.report["seconds"] >= 20
    assert arrived(statsig) == once(30)
    assert counts(outcome)["retries"] == 1


POISON = (7, 23, 41)


@pytest.mark.parametrize("dedupe", [True, False])
def test_poison_rows_become_dead_letters_and_the_rest_arrives_once(send, table, run_target, statsig, dedupe):
    config = {**ORDERS, "dedupe": dedupe}
    rows = [order(number, event="poison" if number in POISON else "order") for number in range(100)]
    url = table(rows[:50], rows[50:], config=config)
    statsig.faults.add(path="/v1/log_event", event="poison", status=400)
    outcome = send(url, dedupe=dedupe)
    assert outcome.exit_code == 0
    assert arrived(statsig) == once(100) - Counter(POISON)
    assert (counts(outcome)["delivered"], counts(outcome)["reasons"]) == (97, {"refused_by_statsig": 3})
    letters = [line["record"]["id"] for line in run_target.dead_letters if line["type"] == "RECORD"]
    assert sorted(letters) == [*POISON]
    # The same command again sends nothing, and leaves no dead letter twice.
    again = send(url, dedupe=dedupe)
    assert (counts(again)["requests"], counts(again)["rejected"]) == (0, 0)
    statsig.faults.clear()
    assert run_target.replay(**{**ORDERS, "dedupe": dedupe}).exit_code == 0
    assert arrived(statsig) == once(100)
    assert run_target.dead_letters == []
    assert send(url, dedupe=dedupe).exit_code == 0
    assert arrived(statsig) == once(100)


@pytest.mark.parametrize("dedupe", [True, False])
def test_a_request_that_was_split_goes_on_where_it_stopped(send, table, statsig, dedupe):
    config = {**ORDERS, "dedupe": dedupe}
    rows = [order(number, event="poison" if number == 9 else "order") for number in range(10)]
    url = table(rows, config=config)
    statsig.faults.add(path="/v1/log_event", event="poison", status=400)
    statsig.faults.add(path="/v1/log_event", skip=2, times=1, status=503)
    first = send(url, dedupe=dedupe, max_parallel_requests=1)
    assert first.exit_code == 1
    some = sum(arrived(statsig).values())
    assert 0 < some < 9
    second = send(url, dedupe=dedupe)
    assert second.exit_code == 0
    assert arrived(statsig) == once(9)
    assert counts(second)["skipped_duplicates"] == some


def test_rejections_of_the_preparation_become_dead_letters_that_replay(send, table, run_target, statsig):
    rows = [order(number) for number in range(40)]
    del rows[4]["event"], rows[25]["event"]
    url = table(rows)
    outcome = send(url)
    assert outcome.exit_code == 0
    assert counts(outcome)["reasons"] == {"missing_event_name": 2}
    assert sum(arrived(statsig).values()) == 38
    assert counts(send(url))["rejected"] == 0
    assert run_target.replay(**ORDERS, event_name="order").exit_code == 0
    assert arrived(statsig) == once(40)
    assert run_target.dead_letters == []


def test_a_part_of_nothing_but_rejections_is_settled_too(send, table, run_target, statsig):
    rows = [order(number) for number in range(100)]
    for row in rows[:5]:
        del row["event"]
    url = table(rows[:5], rows[5:])
    assert counts(send(url))["rejected"] == 5
    assert counts(send(url))["rejected"] == 0
    assert arrived(statsig) == once(5, 100)


def test_too_many_rejections_are_found_before_the_first_request(send, table, run_target, statsig):
    rows = [order(number) for number in range(60)]
    for row in rows[:20]:
        del row["event"]
    outcome = send(table(rows))
    assert outcome.exit_code == 1
    assert "Too many records were rejected: The preparation rejected 20 of 60 records" in outcome.errors
    assert "(missing_event_name 20), more than `max_rejected_percent` allows (10)" in outcome.errors
    assert not statsig.state.requests
    assert send(table(rows, name="again"), max_rejected_percent=40).exit_code == 0


def test_where_no_record_may_be_rejected_one_is_too_many(send, table, statsig):
    rows = orders(0, 60)
    del rows[7]["event"]
    refused(send(table(rows), max_rejected_percent=0), statsig, "more than `max_rejected_percent` allows (0)")


def test_a_table_of_few_records_that_were_all_rejected_is_refused_by_a_run_and_by_a_check(send, table, run_target):
    rows = orders(0, 3)
    for row in rows:
        del row["event"]
    url = table(rows)
    for outcome in (send(url), send(url, dry_run=True)):
        assert outcome.exit_code == 1
        assert "The preparation rejected 3 of 3 records" in outcome.errors
    assert send(url, max_rejected_percent=100).exit_code == 0


def test_what_statsig_refuses_is_said_to_be_fixed_where_it_comes_from(send, table, statsig):
    statsig.faults.add(path="/v1/log_event", status=400)
    outcome = send(table(orders(0, 3)))
    assert "Fix the mapping, or the records at their source." in outcome.errors
    assert "the tap" not in outcome.errors


@pytest.mark.parametrize("config", [ORDERS, {}], ids=["of events", "of nothing"])
def test_a_complete_table_without_rows_is_sent_as_nothing(run_target, tmp_path, config, statsig):
    write_file(tmp_path / "table", "part-00000", [])
    (tmp_path / "table" / "_SUCCESS").touch()
    outcome = run_target.send(tmp_path / "table", **config)
    assert outcome.exit_code == 0
    assert "has no rows, so there is nothing to send" in outcome.log
    assert not statsig.state.requests


def test_deleted_rows_are_counted(send, table, statsig):
    rows = [order(0), order(1, _sdc_deleted_at="2026-01-01T00:00:00Z"), order(2)]
    outcome = send(table(rows))
    assert (counts(outcome)["records"], counts(outcome)["deleted_row"]) == (3, 1)


def test_warnings_of_the_preparation_reach_the_report(send, table):
    rows = [{"id": 1, "event": "order", "user_id": "u"}]
    outcome = send(table(rows))
    assert counts(outcome)["time_defaulted"] == 1
    assert "without a time" in outcome.log


def test_what_is_too_large_for_statsig_goes_in_parts(send, table, statsig):
    statsig.faults.add(path="/v1/log_event", over_bytes=1_000, status=413)
    outcome = send(table(orders(0, 40)))
    assert outcome.exit_code == 0
    assert arrived(statsig) == once(40)


def test_a_dry_run_says_what_would_be_sent_and_leaves_no_trace(send, table, run_target, statsig):
    url = table(orders(0, 15), [order(15, event="refund")])
    outcome = send(url, dry_run=True)
    assert outcome.exit_code == 0
    found = counts(outcome)
    assert (found["records"], found["delivered"], found["requests"], found["billable"]) == (16, 16, 3, 16)
    assert "order 15, refund 1" in outcome.log
    assert not statsig.state.requests
    assert not (run_target.directory / "store.db").exists()
    assert send(url).exit_code == 0
    again = send(url, dry_run=True)
    assert (counts(again)["skipped_duplicates"], counts(again)["requests"]) == (16, 0)


def test_a_dry_run_says_of_a_tier_that_is_not_billed(send, table):
    config = {**ORDERS, "environment_tier": "staging"}
    outcome = send(table(orders(0, 15), config=config), environment_tier="staging", dry_run=True)
    assert (counts(outcome)["delivered"], counts(outcome)["billable"]) == (15, 0)
    assert "environment tier: staging" in outcome.log


def test_progress_says_what_is_left_and_for_how_long(send, table, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 1e-9)
    outcome = send(table(orders(0, 200)))
    assert re.search(r"orders: \d+ records \([\d,]+/s\), .*, \d+ records left, under 1 min", outcome.log)


def test_a_table_elsewhere_is_read_through_fsspec(send, statsig):
    files = fsspec.filesystem("memory")
    for number in range(2):
        rows = prepared_rows(ORDERS, orders(10 * number, 10 * number + 10), partition=number)
        with files.open(f"/tables/orders/day=1/part-{number}.parquet", "wb") as file:
            pq.write_table(pa.Table.from_batches([to_batch(rows)]), file)
    assert send("memory://tables/orders").exit_code == 0
    assert arrived(statsig) == once(20)
    assert counts(send("memory://tables/orders/day=1/part-1*"))["skipped_duplicates"] == 10


def test_rows_keep_their_order_in_a_single_request_at_a_time(send, table, statsig):
    assert send(table(orders(0, 40)), max_parallel_requests=1).exit_code == 0
    assert [int(event["metadata"]["id"]) for event in statsig.state.events] == [*range(40)]
