r"""Names with line breaks and terminal escapes are escaped where people read them, and unchanged where programs do.

So a message is always one line of the log, whatever names a tap, a configuration or Statsig uses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import PATIENCE
from tests.singer import record, schema

pytestmark = pytest.mark.e2e

FORGED = "evil\x1b[2J\r\n2026-11-22 12:00:00 | ERROR    | forged"
ESCAPED = r"evil\x1b[2J\r\n2026-11-22 12:00:00 | ERROR    | forged"
ADD = {"object_type": "segment", "segment_id_field": "list", "sync_mode": "add"}


def assert_escaped(log):
    assert ESCAPED in log
    assert "\x1b" not in log
    assert "\r" not in log
    assert not [line for line in log.splitlines() if line.startswith("2026-11-22")]


def event(**fields):
    return record(FORGED, {"user_id": "u", "event": "bought", "timestamp": "2026-11-01T00:00:00Z", **fields})


def test_a_streams_name_cannot_break_the_log(command):
    done = command([schema(FORGED), event(timestamp="soon"), event()], object_type="event")
    assert_escaped(done.log)
    assert done.report["streams"][FORGED]["rejected"] == 1
    columns = [line for line in done.log.splitlines() if line.startswith("  stream") or f"  {ESCAPED}  " in line]
    assert len({len(line) for line in columns}) == 1


def test_a_fields_name_cannot_break_the_log(command):
    done = command(
        [schema("users"), record("users", {"user_id": "a"})],
        **ADD | {"segment_id_field": FORGED, "max_rejected_percent": 0},
    )
    assert_escaped(done.log)


def test_a_message_of_statsig_cannot_break_the_log(command, statsig):
    statsig.state.seed_segment("vips")
    statsig.faults.add(method="PATCH", path="*", status=400, body=json.dumps({"message": "no\x1b[2J\x07 way"}))
    done = command([schema("users"), record("users", {"user_id": "a", "list": "vips"})], **ADD)
    assert r"no\x1b[2J\x07 way" in done.log
    assert "\x1b" not in done.log


def test_a_key_of_the_configuration_cannot_break_the_log(command):
    done = command([], streams={FORGED: {"object_type": "evnt"}})
    assert_escaped(done.log)


def test_a_dry_run_escapes_names(command):
    done = command(
        [schema(FORGED), event(event=FORGED)], object_type="event", invalid_event_name="sanitize", dry_run=True
    )
    assert_escaped(done.log)


def test_names_cannot_break_the_table_of_a_check(command):
    settings = {"object_type": "segment", "sync_mode": "add", "streams": {FORGED: {"segment_id_field": FORGED}}}
    done = command.run("--check", "--config", command.config_file(**settings))
    assert_escaped(done.stdout)


def test_names_cannot_break_the_tables_of_the_emulator(tmp_path):
    name = "evil\x1b2J"
    send = tmp_path / "send.py"
    send.write_text(f"""
import json, os, urllib.request
events = [{{"eventName": {name!r}, "user": {{"userID": "u"}}, "metadata": {{{FORGED!r}: "x"}}}}]
headers = {{"statsig-api-key": os.environ["TARGET_STATSIG_SERVER_SECRET_KEY"], "content-type": "application/json"}}
url = os.environ["TARGET_STATSIG_EVENTS_URL"] + "/log_event"
urllib.request.urlopen(urllib.request.Request(url, json.dumps({{"events": events}}).encode(), headers)).close()
""")
    done = subprocess.run(
        [sys.executable, "-m", "target_statsig.emulator", "--segment", name, sys.executable, str(send)],
        capture_output=True,
        env=os.environ | {"COLUMNS": "300"},
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(r"evil\x1b2J") >= 3
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("name", ["Größe 中 🙂", r"back\slash", "plain"])
def test_a_harmless_name_is_not_escaped(command, name):
    done = command(
        [schema(name), record(name, {"event": "x", "timestamp": "2026-11-01T00:00:00Z"})], object_type="event"
    )
    assert f"  {name}: 1 rejected" in done.log
