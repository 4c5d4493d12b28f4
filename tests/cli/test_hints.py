"""What a run suggests to do next works: dead letters are where it says, and the commands that it names exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import PATIENCE, PROGRAM, environment
from tests.fakes import no_room_for_dead_letters
from tests.singer import record, schema, state, to_lines

EVENT = {"object_type": "event"}
ADD = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}


def bad(count):
    return [record("orders", {"id": number, "event": "order"}) for number in range(count)]


@pytest.mark.parametrize(("count", "message"), [(1, "1 rejected record is in "), (2, "2 rejected records are in ")])
def test_a_run_tells_how_to_send_rejected_records_again(run_target, count, message):
    outcome = run_target([schema("orders"), *bad(count)], **EVENT)
    assert f"{message}{run_target.directory / 'dead'}. " in outcome.log
    assert "target-statsig --config … --replay" in outcome.log
    assert "meltano invoke" not in outcome.log


def test_under_meltano_the_hint_is_a_command_of_the_plugin(run_target, monkeypatch):
    monkeypatch.setenv("MELTANO_LOADER_NAME", "target-statsig--shop")
    outcome = run_target([schema("orders"), *bad(1)], **EVENT)
    assert "run: meltano invoke target-statsig--shop:replay" in outcome.log
    assert "--config …" not in outcome.log


def test_a_run_on_a_full_disk_names_no_dead_letters(run_target):
    with no_room_for_dead_letters():
        outcome = run_target([schema("orders"), *bad(20), state(orders={})], **EVENT)
    assert outcome.exit_code == 1
    assert "Dead letters cannot be written" in outcome.errors
    assert "Fix the mapping, or the records at their source." in outcome.errors
    assert f"in {run_target.directory / 'dead'}." not in outcome.log
    assert "--replay" not in outcome.log


def test_a_dry_run_does_not_tell_how_to_send_records_again(run_target):
    outcome = run_target([schema("orders"), *bad(20)], dry_run=True, **EVENT)
    assert "20 of 20 records were rejected" in outcome.errors
    assert "--replay" not in outcome.log


@pytest.mark.parametrize("max_rejected_percent", [0, 10])
def test_a_failed_run_tells_where_its_rejected_records_are(run_target, max_rejected_percent):
    outcome = run_target([schema("orders"), *bad(20)], max_rejected_percent=max_rejected_percent, **EVENT)
    assert f" in {run_target.directory / 'dead'}. Fix" in outcome.errors
    assert run_target.dead_letters


def test_dead_letters_stay_after_the_emulator_ends(tmp_path):
    lines = tmp_path / "orders.singer"
    lines.write_bytes(to_lines([schema("orders"), *bad(3), record("orders", {"event": "order", "user_id": "u"})]))
    config = tmp_path / "config.json"
    config.write_text('{"object_type": "event"}', encoding="utf-8")
    target = f"{shlex.join([*PROGRAM, '--config', str(config), '--config', 'ENV'])} < {lines}"
    done = subprocess.run(
        [sys.executable, "-m", "target_statsig.emulator", target],
        capture_output=True,
        env=environment(TMPDIR=str(tmp_path)),
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    dead_letters = Path(re.search(r"3 rejected records are in (\S+)\. ", done.stderr)[1])
    assert [path.suffix for path in dead_letters.iterdir()] == [".singer"]
    assert list(dead_letters.parent.iterdir()) == [dead_letters]
    assert f"the dead letters are in {dead_letters}. " in done.stderr
    assert "TARGET_STATSIG_DEAD_LETTER_PATH" in done.stderr


def test_a_count_of_one_takes_the_singular(run_target, statsig):
    statsig.state.seed_segment("vips", ["a"])
    mirror = {**ADD, "sync_mode": "mirror"}
    outcome = run_target([schema("users"), record("users", {"user_id": "b"})], **mirror)
    assert "Segment 'vips': read 1 member from Statsig." in outcome.log
    assert "Segment 'vips': 1 of 1 member is not in stream 'users'" in outcome.log
    own_lines = "\n".join(line for line in outcome.log.splitlines() if "target_statsig." in line)
    assert not re.search(r"\b1 (members|records|requests|bytes|events|ids|changes|files)\b", own_lines)
