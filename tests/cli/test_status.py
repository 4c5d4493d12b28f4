"""`--status` reads the store and the dead letters, changes neither, and sends no request."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from target_statsig.commands.apply_held import apply_held
from target_statsig.commands.status import read_status
from target_statsig.config.paths import project_identity
from target_statsig.errors import StoreError
from target_statsig.store.readonly import read_store_status
from target_statsig.store.store import KEPT_RUNS, KEPT_SECONDS, Store
from target_statsig.store.tables import Command, PastRun, SentItems
from target_statsig.target import TargetStatsig
from tests.fakes import FakeClock
from tests.postgres import PASSWORD
from tests.singer import record, schema

EVENT = {"object_type": "event"}
MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}


def orders(*users, name="order"):
    return [schema("orders"), *(record("orders", {"user_id": user, "event": name}) for user in users)]


def members(*users):
    return [schema("users"), *(record("users", {"user_id": user}) for user in users)]


@pytest.fixture
def status(run_target):
    """Return the status as JSON, after rendering it as text."""

    def read(**settings):
        found = read_status(run_target.parsed_config(**settings).settings)
        assert found.as_text()
        return found.as_json()

    return read


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """Return the `store_url` setting of each kind of database."""
    if request.param == "sqlite":
        return {"store_url": f"sqlite:///{tmp_path / 'store.db'}"}
    return {"store_url": request.getfixturevalue("postgres_url")}


def test_the_last_runs_are_listed_newest_first(run_target, status, store):
    run_target(orders("u1", "u2"), **EVENT, **store)
    run_target(orders("u1", ""), **EVENT, **store)
    last, first = status(**EVENT, **store)["runs"]
    assert (last["status"], last["exit_code"], last["command"]) == ("complete", 0, "run")
    counts = last["streams"]["orders"]
    assert (counts["records"], counts["skipped_duplicates"], counts["rejected"]) == (2, 1, 1)
    assert first["streams"]["orders"]["delivered"] == 2
    assert first["ended_at"] <= last["ended_at"]


def test_a_failed_run_is_listed_with_its_error(run_target, statsig, status, store):
    statsig.faults.add(path="/v1/*", status=503)
    assert run_target(orders("u1"), **EVENT, **store).exit_code == 1
    (run,) = status(**EVENT, **store)["runs"]
    assert (run["status"], run["exit_code"]) == ("failed", 1)
    assert "503" in run["errors"][0]


def test_held_members_are_listed_with_time_and_reason(run_target, statsig, status, store):
    statsig.state.seed_segment("vips", ["a", "gone", "lost"])
    run_target(members("a"), **MIRROR, **store)
    held = status(**MIRROR, **store)["held"]
    assert held.keys() == {"vips"}
    assert (held["vips"]["members"], held["vips"]["stream"], held["vips"]["because"]) == (2, "users", "unproven")
    assert held["vips"]["since"].endswith("+00:00")


def test_unsent_changes_are_listed(run_target, statsig, status, store):
    statsig.state.seed_segment("vips", [])
    statsig.faults.add(path="*/id_list", method="PATCH", status=503)
    run_target(members("a", "b"), **{**MIRROR, "sync_mode": "add"}, **store)
    assert status(**MIRROR, **store)["kept"] == {"vips": 2}


def test_dead_letters_of_several_runs_are_counted_once_by_reason(run_target, status):
    for _ in range(2):
        run_target([*orders("u1", ""), record("orders", {"user_id": "u2"})], **EVENT)
    letters = status(**EVENT)["dead_letters"]
    assert letters["reasons"] == {"missing_identifier": 1, "missing_event_name": 1}
    assert (letters["records"], letters["files"]) == (2, 2)


def test_the_run_that_holds_a_lock_is_listed_as_at_work(run_target, status, store):
    settings = run_target.parsed_config(**EVENT, **store).settings
    url, project = settings.store_url, project_identity(settings)
    with closing(Store(url, clock=FakeClock(), project=project, run_id="another run")) as opened:
        opened.ledger("orders").begin()
        (holder,) = status(**EVENT, **store)["at_work"]
        assert (holder["name"], holder["run_id"]) == ("event orders", "another run")
    assert status(**EVENT, **store)["at_work"] == []


def test_the_store_is_described_without_its_password(run_target, status, store):
    run_target(orders("u1"), **EVENT, **store)
    described = status(**EVENT, **store)["store"]
    assert described["bytes"] > 10_000
    assert PASSWORD not in described["place"]


def test_status_before_the_first_run_creates_no_files(status, tmp_path):
    found = status(**EVENT)
    assert (found["runs"], found["store"]["version"]) == ([], None)
    assert list(tmp_path.iterdir()) == []


def test_runs_of_another_project_are_not_listed(run_target, status):
    run_target(orders("u1"), **EVENT)
    assert len(status(**EVENT)["runs"]) == 1
    assert status(**EVENT, console_api_key="console-another")["runs"] == []


def test_status_sends_no_requests(run_target, statsig, status):
    run_target(orders("u1"), **EVENT)
    before = len(statsig.state.requests)
    status(**EVENT)
    assert len(statsig.state.requests) == before


def test_a_dry_run_is_not_recorded(run_target, status):
    run_target(orders("u1"), **EVENT)
    run_target(orders("u2"), **EVENT, dry_run=True)
    assert len(status(**EVENT)["runs"]) == 1


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite:///{}?timeout=5"])
def test_a_run_without_dedupe_is_recorded_only_in_an_existing_store(run_target, status, tmp_path, url):
    event = {**EVENT, "store_url": url.format(tmp_path / "store.db")}
    assert run_target(orders("u1"), **event, dedupe=False).exit_code == 0
    assert not (tmp_path / "store.db").exists()
    run_target(orders("u1"), **event)
    run_target(orders("u1"), **event, dedupe=False)
    assert len(status(**event)["runs"]) == 2


def test_replay_and_apply_held_are_recorded_by_name(run_target, statsig, status):
    statsig.state.seed_segment("vips", ["a", "gone"])
    both = {"streams": {"orders": EVENT, "users": MIRROR}}
    run_target([*orders("u1", ""), *members("a")], **both)
    run_target.replay(**both)
    apply_held(TargetStatsig(config=run_target.config(**both)).run)
    assert [run["command"] for run in status(**both)["runs"]] == ["apply-held", "replay", "run"]


@pytest.mark.parametrize(("version", "message"), [(99, "newer target-statsig"), (6, "older target-statsig")])
def test_a_store_of_another_version_is_refused(run_target, status, tmp_path, version, message):
    run_target(orders("u1"), **EVENT)
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
        connection.execute("UPDATE target_statsig_version SET version = ?", [version])
    with pytest.raises(StoreError, match=message):
        status(**EVENT)


def test_a_run_that_cannot_be_recorded_does_not_fail(run_target, tmp_path):
    run_target(orders("u1"), **EVENT)
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
        connection.execute("DROP TABLE target_statsig_runs")
    outcome = run_target(orders("u2"), **EVENT)
    assert outcome.exit_code == 0
    assert "`--status` will not show this run" in outcome.log


@pytest.mark.parametrize("outlet", ["report_path", "metrics_path"])
def test_a_run_whose_report_cannot_be_written_is_recorded_as_failed(command, tmp_path, outlet):
    config = command.config_file(**EVENT, **{outlet: str(tmp_path)})
    assert command.run("--config", config, messages=orders("u1")).exit_code == 1
    (run,) = json.loads(command.run("--config", config, "--status", "--json").stdout)["runs"]
    assert (run["exit_code"], run["status"]) == (1, "failed")
    assert f"`{outlet}`" in run["errors"][0]


# Recorded runs


def past_run(ended_at, sent=None, **report):
    return PastRun(ended_at, Command.RUN, {"exit_code": 0, **report}, sent)


def test_a_hundred_runs_are_kept_with_event_names_of_the_last_only(opening, store_url):
    store = opening()
    opening(project="another").record_run(past_run(0.0))
    for number in range(KEPT_RUNS + 5):
        store.record_run(past_run(float(number), SentItems({"order": number + 1}, (1, 2)), run_id=f"run {number}"))
    store.record_run(past_run(float(KEPT_RUNS + 5)))
    runs = read_store_status(store_url, project="a project").runs
    assert len(runs) == KEPT_RUNS
    assert [run.sent for run in runs if run.sent] == [SentItems({"order": KEPT_RUNS + 5}, (1, 2))]
    assert len(read_store_status(store_url, project="another").runs) == 1


def test_old_runs_are_deleted(opening, store_url):
    store = opening()
    store.record_run(past_run(0.0))
    store.record_run(past_run(KEPT_SECONDS + 1.0))
    assert [run.ended_at for run in read_store_status(store_url, project="a project").runs] == [KEPT_SECONDS + 1.0]


def test_names_that_no_text_column_can_hold_are_stored(opening, store_url):
    odd = "nul \x00, half a character \ud800"
    opening().record_run(past_run(1.0, SentItems({odd: 1}, None), streams={odd: {"records": 1}}))
    (run,) = read_store_status(store_url, project="a project").runs
    assert run.sent == SentItems({odd: 1}, None)
    assert run.report["streams"] == {odd: {"records": 1}}


# The command


def test_the_command_prints_text(run_target, command, statsig):
    statsig.state.seed_segment("vips", ["a", "gone"])
    both = {"streams": {"orders": EVENT, "users": MIRROR}}
    run_target([*orders("u1", ""), *members("a")], **both)
    done = command.process("--config", command.config_file(**both), "--status")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Runs, the last one first (1 of 1 remembered)"
    columns = "ended command status streams exit code took delivered rejected added removed"
    assert " ".join(lines[1].split()) == columns
    assert "run      complete  orders, users" in lines[2]
    assert "No run is at work." in lines
    assert any(line.split()[:3] == ["vips", "users", "unproven"] for line in lines)
    assert any(line.split() == ["missing_identifier", "1"] for line in lines)
    assert "  After you fix the cause, send them again: target-statsig --config … --replay" in lines
    assert lines[-1].startswith("Store: sqlite:///")


def test_the_command_prints_json(run_target, command):
    run_target(orders("u1"), **EVENT)
    done = command.run("--config", command.config_file(**EVENT), "--status", "--json")
    assert json.loads(done.stdout)["runs"][0]["streams"]["orders"]["delivered"] == 1


def test_an_interrupted_run_is_recorded_with_its_exit_code(command):
    config = command.config_file(**EVENT)
    running = command.start("--config", config)
    running.write(orders("u1"))
    running.log.wait_for("Initializing target sink for stream 'orders'")
    running.signal(15)
    assert running.finish().exit_code == 143
    done = command.run("--config", config, "--status", "--json")
    assert [(run["status"], run["exit_code"]) for run in json.loads(done.stdout)["runs"]] == [("interrupted", 143)]


def test_an_unreadable_store_is_an_error(command):
    config = command.config_file(**EVENT)
    (command.directory / "store.db").write_text("no database " * 100)
    done = command.run("--config", config, "--status")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is not a SQLite database" in done.errors[0]
