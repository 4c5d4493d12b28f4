"""Full disks, locked stores and closed outputs end a run with one clear error; the next run sends the rest."""

from __future__ import annotations

import json
import sqlite3

import pytest

from target_statsig.target import TargetStatsig
from tests.fakes import no_room_for_dead_letters
from tests.postgres import PASSWORD
from tests.singer import record, schema, state, to_lines

ALSO_IN_A_WORKER = True

pytestmark = pytest.mark.e2e

EVENT = {"object_type": "event", "batch_size_rows": 2, "max_parallel_requests": 1}


def orders(*numbers):
    return [record("orders", {"id": number, "event": "order", "user_id": f"u{number}"}) for number in numbers]


def messages(count, since=0):
    """Return batches of two records, a STATE after each."""
    lines = [schema("orders")]
    for number in range(since, count):
        lines += [*orders(2 * number, 2 * number + 1), state(orders={"n": number + 1})]
    return lines


def sent_ids(statsig):
    return sorted(event["metadata"]["id"] for event in statsig.state.events)


def ids_of_batches(batches):
    return sorted(str(number) for number in range(2 * batches))


def last_state(outcome):
    return outcome.states[-1]["bookmarks"]["orders"]["n"] if outcome.states else 0


def test_a_full_disk_for_dead_letters_holds_the_state_back(run_target, statsig):
    bad = record("orders", {"id": 9, "event": "order"})
    lines = [schema("orders"), *orders(0, 1), state(orders={"n": 1}), bad, state(orders={"n": 2})]
    with no_room_for_dead_letters():
        outcome = run_target(lines, **EVENT)
    assert outcome.exit_code == 1
    (error,) = outcome.report["errors"]
    assert "No space left on device" in error
    assert "`dead_letter_path`" in error
    assert last_state(outcome) == 1

    again = run_target([schema("orders"), bad, state(orders={"n": 2})], **EVENT)
    assert (again.exit_code, last_state(again)) == (1, 2)
    assert [line["record"]["id"] for line in run_target.dead_letters if line["type"] == "RECORD"] == [9]
    assert sent_ids(statsig) == ["0", "1"]


def test_a_full_disk_for_the_store_ends_the_run(run_target, statsig, monkeypatch):
    run_target(messages(1), **EVENT)
    rest = [schema("orders"), *orders(*range(2, 1_000)), state(orders={"n": 500})]
    with monkeypatch.context() as patched:
        # SQLite takes as many pages as the file has now, and no more.
        patched.setattr("target_statsig.store.store._PRAGMAS", ("max_page_count = 1",))
        outcome = run_target(rest, **EVENT)
    assert outcome.exit_code == 1
    (error,) = outcome.report["errors"]
    assert "has no room left on its disk" in error
    assert "store_url" in error
    assert outcome.states == []
    assert len(sent_ids(statsig)) > 2

    again = run_target(rest, **EVENT)
    assert (again.exit_code, last_state(again)) == (0, 500)
    assert set(sent_ids(statsig)) == set(ids_of_batches(500))
    assert len(sent_ids(statsig)) - 1_000 <= again.report["streams"]["orders"]["maybe_duplicated"] <= 2


def test_a_dry_run_on_a_full_disk_names_the_store_without_password(run_target, postgres_url, monkeypatch):
    monkeypatch.setattr("target_statsig.store.store._PRAGMAS", ("max_page_count = 1",))
    outcome = run_target(messages(1), **EVENT, store_url=postgres_url, dry_run=True)
    (error,) = outcome.report["errors"]
    assert "has no room left on its disk" in error
    assert "target-statsig-dry-run-" not in error
    assert "postgresql+psycopg://" in error
    assert PASSWORD not in error


@pytest.fixture
def hold_store(run_target, monkeypatch):
    """Hold the store as another process would, until `hold_store.release()`."""
    monkeypatch.setattr("target_statsig.store.store.PATIENCE", 0.05)
    connections = []

    def hold_store():
        connections.append(
            sqlite3.connect(run_target.directory / "store.db", isolation_level=None, check_same_thread=False)
        )
        connections[-1].execute("BEGIN IMMEDIATE")

    def release():
        while connections:
            connections.pop().close()

    hold_store.release = release
    yield hold_store
    release()


def test_a_store_locked_at_the_start_ends_the_run_before_sending(run_target, statsig, hold_store):
    run_target(messages(1), **EVENT)
    hold_store()
    outcome = run_target(messages(3, since=1), **EVENT)
    assert outcome.exit_code == 1
    (error,) = outcome.report["errors"]
    assert "is locked by another run" in error
    assert sent_ids(statsig) == ids_of_batches(1)
    assert outcome.states == []

    hold_store.release()
    assert run_target(messages(3, since=1), **EVENT).exit_code == 0
    assert sent_ids(statsig) == ids_of_batches(3)


def test_a_store_locked_in_mid_run_may_double_a_batch(run_target, statsig, hold_store):
    statsig.faults.add(when=lambda arrival: b'"id":"2"' in arrival.body and hold_store())
    outcome = run_target(messages(3), **EVENT)
    assert outcome.exit_code == 1
    assert "is locked by another run" in outcome.errors
    assert last_state(outcome) == 1
    assert sent_ids(statsig) == ids_of_batches(2)

    hold_store.release()
    statsig.faults.clear()
    again = run_target(messages(3, since=1), **EVENT)
    assert (again.exit_code, last_state(again)) == (0, 3)
    assert again.report["streams"]["orders"]["maybe_duplicated"] == 2
    assert sent_ids(statsig) == sorted([*ids_of_batches(3), "2", "3"])


def test_an_unwritable_report_fails_a_run_that_sent_everything(run_target, statsig, capsys, tmp_path):
    (tmp_path / "taken").mkdir()
    target = TargetStatsig(config=run_target.config(report_path=str(tmp_path / "taken"), **EVENT))
    assert target.run_to_end(to_lines(messages(2)).splitlines(keepends=True)) == 1
    (error,) = target.run.report.errors
    assert "`report_path`" in error
    assert "Is a directory" in error
    assert sent_ids(statsig) == ids_of_batches(2)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == messages(2)[-1]["value"]


@pytest.mark.parametrize(
    ("output", "part"),
    [
        pytest.param("> /dev/full", "cannot be written (No space left on device)", id="no room"),
        pytest.param(">&-", "is closed", id="closed"),
    ],
)
def test_an_output_that_cannot_take_a_state_ends_the_run(command, statsig, output, part):
    (command.directory / "input.singer").write_bytes(to_lines(messages(3)))
    done = command.shell(f"{command.line(**EVENT)} < input.singer {output}")
    assert done.exit_code == 1
    (error,) = done.errors
    assert part in error
    assert done.report["status"] == "failed"
    assert set(sent_ids(statsig)) <= set(ids_of_batches(3))

    assert command(messages(3), **EVENT).states[-1] == messages(3)[-1]["value"]
    assert sent_ids(statsig) == ids_of_batches(3)
