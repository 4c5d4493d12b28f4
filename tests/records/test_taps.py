"""Which members a mirror may remove when taps made with singer-sdk finish or die."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from functools import cache

import pytest

from tests.command import CANARY, PATIENCE
from tests.tools.plugin_definition import ROOT

pytestmark = pytest.mark.e2e

MIRROR = {"object_type": "segment", "sync_mode": "mirror"}
MEMBERS = {**MIRROR, "segment_id": "members"}
THEN = {"object_type": "event", "event_name": "Then"}

ROWS = 2_500
STATE_EVERY = 1_000
USER_ID = f"{CANARY}-{{}}"
TABLE = frozenset(USER_ID.format(number) for number in range(ROWS))
STRANGERS = frozenset(f"stranger-{number}" for number in range(50))


@cache
def output_of(tap, config):
    """Return what a tap writes before it ends or dies: the same every time."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(config)
        file.flush()
        line = [sys.executable, "-m", f"tests.taps.{tap}", "--config", file.name]
        return subprocess.run(line, cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False).stdout


@pytest.fixture
def pipe(command):
    """Run the target on what a tap wrote, which does not say how the tap ended."""

    def run(tap, streams, **config):
        return command([output_of(tap, json.dumps(config))], streams=streams)

    return run


@pytest.fixture
def full_table(pipe, statsig):
    """Run the tap on a table whose rows are all members already, as are strangers that are in no table."""

    def run(*, members=MEMBERS, rows=ROWS, **config):
        if "members" not in statsig.state.segments:
            statsig.state.seed_segment("members", {USER_ID.format(number) for number in range(rows)} | STRANGERS)
        config = {"rows": rows, "user_id": USER_ID, "state_every": STATE_EVERY, **config}
        return pipe("full_table_tap", {"members": members, "then": THEN}, **config)

    return run


def segment_of(done, stream="members", segment="members"):
    return done.report["streams"][stream]["segments"][segment]


def test_strangers_are_held_without_proof(full_table, statsig, removed):
    done = full_table()
    assert done.exit_code == 0
    assert removed == set()
    assert statsig.state.ids("members") == TABLE | STRANGERS
    found = segment_of(done)
    assert (found["unchanged"], found["held"], found["removed"]) == (ROWS, len(STRANGERS), 0)
    assert "`row_count_field`" in done.log


@pytest.mark.parametrize(
    ("settings", "config", "proof"),
    [
        pytest.param({"row_count_field": "row_count"}, {}, "row_count", id="a row count"),
        pytest.param({"on_incomplete_stream": "remove"}, {}, "none", id="no proof is wanted"),
    ],
)
def test_only_strangers_are_removed_with_proof(full_table, statsig, removed, settings, config, proof):
    done = full_table(members=MEMBERS | settings, **config)
    assert done.exit_code == 0
    assert removed == STRANGERS
    assert statsig.state.ids("members") == TABLE
    assert segment_of(done)["proof"] == proof


@pytest.mark.parametrize(
    ("last_row", "death", "settings", "config"),
    [
        pytest.param(2_400, "raise", {}, {}, id="broken late"),
        pytest.param(2_400, "kill", {"row_count_field": "row_count"}, {}, id="with a row count"),
        pytest.param(2_400, "raise", {}, {"then": True}, id="before another stream"),
        pytest.param(2 * STATE_EVERY, "kill", {}, {}, id="where a STATE is due"),
        pytest.param(STATE_EVERY, "kill", {}, {}, id="right after a STATE"),
        pytest.param(0, "raise", {}, {}, id="before the first row"),
    ],
)
def test_a_tap_that_dies_removes_nobody(full_table, statsig, removed, last_row, death, settings, config):
    done = full_table(members=MEMBERS | settings, last_row=last_row, death=death, **config)
    assert done.exit_code == 0
    assert removed == set()
    assert statsig.state.ids("members") == TABLE | STRANGERS
    assert segment_of(done)["held"] == len(STRANGERS) + ROWS - last_row


def test_a_tap_that_always_dies_at_the_same_row_removes_nobody(full_table, statsig, removed):
    for _ in range(3):
        done = full_table(rows=600, last_row=550, death="raise", then=True)
        assert done.exit_code == 0
        assert removed == set()
        assert segment_of(done)["held"] == len(STRANGERS) + 50


def test_a_tap_that_dies_in_a_shells_pipe_removes_nobody(command, statsig, removed):
    statsig.state.seed_segment("members", TABLE | STRANGERS)
    config = {"rows": ROWS, "user_id": USER_ID, "state_every": STATE_EVERY, "last_row": 2_400, "death": "kill"}
    (command.directory / "tap.json").write_text(json.dumps(config))
    tap = shlex.join([sys.executable, "-m", "tests.taps.full_table_tap", "--config", "tap.json"])
    target = command.line(streams={"members": MEMBERS})
    done = command.shell(f"{tap} 2>tap.log | {target}", PYTHONPATH=str(ROOT))
    assert done.exit_code == 0
    assert removed == set()
    assert segment_of(done)["held"] == len(STRANGERS) + ROWS - 2_400


@pytest.mark.parametrize(
    ("dies_in", "last_user", "death"),
    [
        pytest.param(0, 0, "kill", id="before the first child"),
        pytest.param(0, 5, "kill", id="in the first parent"),
        pytest.param(2, 0, "kill", id="at a parent's first child"),
        pytest.param(2, 5, "kill", id="inside"),
        pytest.param(2, 5, "raise", id="broken inside"),
        pytest.param(3, 9, "kill", id="before the very last row"),
        pytest.param(None, 0, "kill", id="nowhere"),
    ],
)
def test_a_tap_that_dies_inside_a_child_removes_nobody(pipe, statsig, removed, dies_in, last_user, death):
    company_id = f"{CANARY}-company-{{}}"
    companies = {company_id.format(company) for company in range(4)}
    users = {f"{company}-{user}" for company in companies for user in range(10)}
    statsig.state.seed_segment("companies", companies | STRANGERS, id_type="companyID")
    statsig.state.seed_segment("users", users | STRANGERS)
    of_companies = {"id_type": "custom_id", "custom_id_type": "companyID", "field_mapping": {"companyID": "company_id"}}
    streams = {
        "companies": {**MIRROR, "segment_id": "companies", **of_companies},
        "users": {**MIRROR, "segment_id": "users"},
    }
    config = {"companies": 4, "users": 10, "company_id": company_id, "dies_in": dies_in, "last_user": last_user}
    done = pipe("parent_child_tap", streams, death=death, **config)
    assert done.exit_code == 0
    assert removed == set()
    assert statsig.state.ids("companies") == companies | STRANGERS
    assert statsig.state.ids("users") == users | STRANGERS
    assert segment_of(done, "companies", "companies")["removed"] == 0
