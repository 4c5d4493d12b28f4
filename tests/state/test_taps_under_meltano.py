"""A tap that dies under `meltano run`, which lets the target finish as usual, and runs no further step."""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.meltano import run_meltano, write_project

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROWS = 25_000
TABLE = frozenset(f"member-{number}" for number in range(ROWS))
STRANGERS = frozenset(f"stranger-{number}" for number in range(500))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A Meltano project with this repository's target and the tap, which needs no installation."""
    folder = tmp_path_factory.mktemp("project")
    tap = folder / "full-table-tap"
    tap.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tests.taps.full_table_tap "$@"\n')
    tap.chmod(0o755)
    extractor = {
        "name": "full-table-tap",
        "namespace": "full_table_tap",
        "executable": str(tap),
        "capabilities": ["catalog", "discover", "state"],
        "settings": [{"name": name, "kind": "integer"} for name in ("rows", "last_row")]
        + [{"name": "user_id"}, {"name": "then", "kind": "boolean"}],
        "config": {"rows": ROWS, "user_id": "member-{}"},
    }
    streams = {
        "members": {"object_type": "segment", "segment_id": "members", "sync_mode": "mirror"},
        "then": {"object_type": "event", "event_name": "Then"},
    }
    write_project(folder, extractor, streams=streams)
    return folder


@pytest.fixture
def meltano_run(project, statsig):
    def run(*steps, row_count_field=None, **settings):
        variables = {f"FULL_TABLE_TAP_{name.upper()}": str(value) for name, value in settings.items()}
        if row_count_field:
            variables["TARGET_STATSIG_ROW_COUNT_FIELD"] = row_count_field
        done, streams = run_meltano(project, statsig, "full-table-tap", "target-statsig", *steps, **variables)
        return done, streams["members"]["segments"]["members"]

    return run


def test_strangers_are_removed_only_after_a_whole_run(meltano_run, statsig, removed):
    statsig.state.seed_segment("members", TABLE | STRANGERS)

    done, segment = meltano_run(row_count_field="row_count", last_row=24_000, then=True)
    assert done.returncode != 0, done.stdout
    assert removed == set()
    assert statsig.state.ids("members") == TABLE | STRANGERS
    assert segment["held"] == len(STRANGERS) + 1_000

    done, segment = meltano_run(row_count_field="row_count", then=True)
    assert done.returncode == 0, done.stdout
    assert removed == STRANGERS
    assert statsig.state.ids("members") == TABLE
    assert segment["proof"] == "row_count"


def test_the_apply_held_step_runs_only_if_the_tap_finished(meltano_run, statsig, removed):
    statsig.state.seed_segment("members", TABLE | STRANGERS)

    done, segment = meltano_run("statsig:apply-held", last_row=24_000)
    assert done.returncode != 0, done.stdout
    assert removed == set()
    assert segment["held"] == len(STRANGERS) + 1_000
    assert "--apply-held" in done.stdout

    done, segment = meltano_run("statsig:apply-held")
    assert done.returncode == 0, done.stdout
    assert removed == STRANGERS
    assert statsig.state.ids("members") == TABLE
    assert segment["proof"] == "applied"
    assert "removed 500 members that the last run held" in done.stdout
