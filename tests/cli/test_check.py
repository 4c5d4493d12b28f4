"""`--check` reads Statsig and the store, changes neither, and shows what would stop a run."""

from __future__ import annotations

import json

import pytest

from target_statsig.commands.check import check, failed
from target_statsig.config.paths import project_identity
from target_statsig.store.store import Store
from tests.fakes import NOON, FakeClock
from tests.singer import TargetRunner, record, schema

MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}
EVENT = {"object_type": "event", "custom_ids": {"companyID": "company"}}


@pytest.fixture
def run_check(statsig, tmp_path):
    """Check a configuration, and return the number of failures and the text of each row by its name."""
    runner = TargetRunner(statsig, tmp_path, capsys=None, caplog=None)

    def run(**settings):
        config = runner.parsed_config(**settings)
        sections = check(config, FakeClock())
        texts = {row.name: f"{row.mark.value} {row.found}" for rows in sections.values() for row in rows}
        return failed(sections), texts

    return run


def test_a_valid_configuration_passes_and_nothing_is_changed(run_check, statsig, tmp_path):
    statsig.state.seed_segment("vips", ["a", "b"])
    statsig.state.unit_id_types.append("companyID")
    failures, rows = run_check(streams={"users": MIRROR, "orders": EVENT})
    assert failures == 0
    assert rows["vips"].startswith("ok id_list of userID, 2 members")
    assert rows["companyID"].startswith("ok ")
    assert rows["store_url"].endswith("store.db: does not exist yet. The first run that needs it creates it")
    assert list(tmp_path.iterdir()) == []
    assert {entry.method for entry in statsig.state.requests} == {"GET"}


def test_dead_letters_are_counted_and_an_unwritable_path_fails(run_check, run_target, tmp_path):
    run_target([schema("orders"), record("orders", {"event": "order"})], object_type="event")
    failures, rows = run_check(object_type="event")
    assert failures == 0
    assert rows["dead_letter_path"].startswith("? ")
    assert rows["dead_letter_path"].endswith("/dead: writable; 1 record waiting (missing_identifier 1)")
    (tmp_path / "file").touch()
    failures, rows = run_check(object_type="event", dead_letter_path=str(tmp_path / "file" / "letters"))
    assert failures == 1
    assert rows["dead_letter_path"].startswith("FAIL ")


def test_a_flat_configuration_is_checked(run_check, statsig):
    statsig.state.seed_segment("vips", ["a"])
    _, rows = run_check(**MIRROR)
    assert rows["vips"].endswith("Fed by every other stream (mirror).")


def test_another_mirror_of_a_segment_in_the_store_is_a_failure(run_check, statsig, tmp_path):
    statsig.state.seed_segment("vips", ["a"])
    runner = TargetRunner(statsig, tmp_path, capsys=None, caplog=None)
    settings = runner.parsed_config(**MIRROR).settings
    identity = project_identity(settings)
    store = Store(settings.store_url, clock=FakeClock(), project=identity, run_id="a run")
    store.record_facts("vips", fed_by="users", last_sync_at=NOON)
    store.close()
    _, rows = run_check(streams={"customers": MIRROR})
    assert rows["vips"].startswith("FAIL is mirrored from stream 'users'")
    assert rows["store_url"].endswith("writable")


def test_a_wrong_console_key_is_one_failure_and_one_request(run_check, statsig):
    failures, rows = run_check(**MIRROR, console_api_key="console-0123456789")
    assert failures == 1
    assert rows["console_api_key"].startswith("FAIL Statsig does not accept the key: Statsig answered 401")
    assert "0123456789" not in json.dumps(rows)
    assert rows["vips"].startswith("? not checked")
    assert len(statsig.state.requests) == 1


def test_an_unreachable_address_fails_within_seconds(run_check):
    failures, rows = run_check(**MIRROR, console_url="http://127.0.0.1:9/console/v1", retry_timeout=1800)
    assert failures == 1
    assert rows["console_api_key"].startswith("FAIL Statsig cannot be reached: Gave up on")


def test_an_unreadable_segment_does_not_hide_the_others(run_check, statsig):
    statsig.state.seed_segment("vips", ["a"])
    statsig.faults.add(path="*/segments/broken", status=400, body='{"message": "Not this one"}')
    failures, rows = run_check(streams={"a": {**MIRROR, "segment_id": "broken"}, "b": MIRROR})
    assert failures == 1
    assert rows["broken"].startswith("FAIL Statsig answered 400 (Not this one)")
    assert rows["vips"].startswith("ok")


def test_a_store_that_is_no_database_fails(run_check, tmp_path):
    (tmp_path / "store.db").write_text("no database " * 100)
    failures, rows = run_check(object_type="event")
    assert failures == 1
    assert "is not a SQLite database" in rows["store_url"]


def test_a_store_path_that_cannot_be_opened_fails(run_check, tmp_path):
    failures, rows = run_check(object_type="event", store_url=f"sqlite:///{tmp_path / ('x' * 300)}")
    assert failures == 1
    assert "cannot be opened" in rows["store_url"]


def test_without_a_console_key_no_request_is_sent(run_check, statsig):
    failures, rows = run_check(**EVENT, console_api_key=None)
    assert failures == 0
    assert rows["companyID"].startswith("? cannot be checked without a valid `console_api_key`")
    assert statsig.state.requests == []


def test_the_command_prints_a_table_and_ends_with_0(command, statsig):
    statsig.state.seed_segment("vips", ["a"])
    done = command.process("--config", command.config_file(**MIRROR), "--check")
    assert done.exit_code == 0
    assert done.stdout.startswith("Keys\n  ?     server_secret_key ")
    assert "\nSegments\n  ok    vips                  id_list of userID, 1 member" in done.stdout
    assert done.stdout.endswith("\nNone of 5 checks failed. Nothing was sent or changed.\n")
    assert max(len(line) for line in done.stdout.splitlines() if "/" not in line) <= 80  # paths are not wrapped
    assert "\x1b" not in done.stdout


def test_a_failed_check_ends_with_1_without_reading_input(command):
    running = command.start("--config", command.config_file(**MIRROR), "--check")
    done = running.finish()  # its input is still open
    assert done.exit_code == 1
    assert "  FAIL  vips                  does not exist in this Statsig project" in done.stdout
    assert "→ Check `segment_id` for a typo" in done.stdout
    assert not (command.directory / "store.db").exists()


def test_an_invalid_configuration_ends_the_check_before_it_begins(command):
    done = command.run("--config", command.config_file(**MIRROR, id_type="custom_id"), "--check")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "`custom_id_type` is missing" in done.errors[1]
