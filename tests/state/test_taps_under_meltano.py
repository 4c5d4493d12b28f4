"""A tap that dies under `meltano run`, which lets the target finish as if nothing were wrong, and runs no step more."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.command import environment

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(sys.executable).parent

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
    plugins = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))["plugins"]
    loader = next(plugin for plugin in plugins["loaders"] if plugin["name"] == "target-statsig")
    utility = next(plugin for plugin in plugins["utilities"] if plugin["name"] == "statsig")
    loader["config"] = utility["config"] = {
        "streams": {
            "members": {"object_type": "segment", "segment_id": "members", "sync_mode": "mirror"},
            "then": {"object_type": "event", "event_name": "Then"},
        }
    }
    content = {
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "project_id": "taps-that-die",
        "send_anonymous_usage_stats": False,
        "plugins": {"extractors": [extractor], "loaders": [loader], "utilities": [utility]},
    }
    (folder / "meltano.yml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder


@pytest.fixture
def removed(statsig):
    """Collect all ids that any request asks to remove."""
    ids = set()

    def look(arrival):
        ids.update(json.loads(arrival.body)["ids"])

    statsig.faults.add(method="DELETE", when=look)
    return ids


@pytest.fixture
def meltano_run(project, statsig):
    def run(*steps, row_count_field=None, **settings):
        variables = {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TARGET_STATSIG_EVENTS_URL": statsig.events_url,
            "TARGET_STATSIG_CONSOLE_URL": statsig.console_url,
            "TARGET_STATSIG_SERVER_SECRET_KEY": statsig.server_secret_key,
            "TARGET_STATSIG_CONSOLE_API_KEY": statsig.console_api_key,
            "TARGET_STATSIG_REPORT_PATH": str(project / "report.json"),
            **{f"FULL_TABLE_TAP_{name.upper()}": str(value) for name, value in settings.items()},
            **({"TARGET_STATSIG_ROW_COUNT_FIELD": row_count_field} if row_count_field else {}),
        }
        done = subprocess.run(
            ["meltano", "run", "full-table-tap", "target-statsig", *steps],
            cwd=project,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert (project / "report.json").exists(), done.stdout
        report = json.loads((project / "report.json").read_text(encoding="utf-8"))
        return done, report["streams"]["members"]["segments"]["members"]

    return run


def test_a_tap_killed_late_has_nobody_removed_and_the_next_whole_run_removes_the_strangers(
    meltano_run, statsig, removed
):
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


def test_the_next_step_removes_whom_the_mirror_held_and_does_not_come_where_the_tap_failed(
    meltano_run, statsig, removed
):
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
    assert "removed 500 members whom the last run held" in done.stdout
