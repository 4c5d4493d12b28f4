"""Meltano and tap-jsonl send the sample shop into the emulator, as a new user's first commands do.

All tests share one Meltano project, so that the tap is installed once. `sample_data/README.md` has the expected counts.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tables import table_row
from tests.terminal import PROGRAMS, clean_environment

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent

SHOP_EVENTS = {
    "view_item": 148,
    "page_view": 60,
    "add_to_cart": 53,
    "login": 38,
    "begin_checkout": 38,
    "search": 31,
    "purchase": 26,
}
SHOP_REJECTED = {"missing_identifier (user_id)": 2, "invalid_event_name (event_name)": 1}
VIPS = {json.loads(line)["user_id"] for line in (ROOT / "sample_data/vip_customers.jsonl").read_text().splitlines()}
VIPS_LAST_WEEK = set((ROOT / "sample_data/vip_users_last_week.txt").read_text().split())

DOTTED_RECORDS = [
    {"event": "Order v2.0", "user_id": "u-1", "timestamp": "2026-11-01T08:00:00Z"},
    {"event": "cart.item.added", "user_id": "u-1", "timestamp": "2026-11-01T08:00:00Z"},
    {"event": "Plain", "user_id": "u-1", "timestamp": "2026-11-01T08:00:00Z"},
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run."""

    exit_code: int
    output: str
    content: dict[str, Any]

    def names(self) -> dict[str, int]:
        """Count the events by name."""
        return dict(Counter(event["eventName"] for event in self.content["events"]))


class Project:
    """A copy of the repository's Meltano project; every run has an emulator of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "sample_data", folder / "sample_data")
        self._write_plugins()

    def _write_plugins(self) -> None:
        project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
        project["plugins"]["extractors"].append(
            {
                "name": "tap-jsonl--dotted",
                "inherit_from": "tap-jsonl",
                "config": {"path": "dotted.jsonl", "stream_name": "Shop v2.0"},
            }
        )
        project["plugins"]["loaders"].append(
            {
                "name": "target-statsig--dotted",
                "inherit_from": "target-statsig",
                "config": {
                    "streams": {
                        "Shop v2.*": {
                            "object_type": "event",
                            "event_name_mapping": {"Order v2.0": "Order", "cart.item.added": "Cart v1.5"},
                        }
                    }
                },
            }
        )
        self.file = yaml.safe_dump(project, sort_keys=False)
        (self.folder / "meltano.yml").write_text(self.file, encoding="utf-8")
        lines = "".join(f"{json.dumps(record)}\n" for record in DOTTED_RECORDS)
        (self.folder / "dotted.jsonl").write_text(lines, encoding="utf-8")

    def run(self, *command, options=(), variables=None, stdin=None) -> Outcome:
        """Run a command inside `statsig-emulator`, as a new user's shell would.

        Args:
            command: What the emulator runs.
            options: Of the emulator.
            variables: For the environment.
            stdin: A file to read from.
        """
        content = self.folder / "arrived.json"
        content.unlink(missing_ok=True)
        wrapped = [PROGRAMS / "statsig-emulator", "--json", content, *options, *command]
        done = subprocess.run(
            wrapped,
            cwd=self.folder,
            env=clean_environment() | (variables or {}),
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert content.exists(), done.stdout
        return Outcome(done.returncode, done.stdout, json.loads(content.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def first_run(project):
    return project.run("meltano", "run", "tap-jsonl", "target-statsig")


@pytest.fixture(scope="module")
def second_run(project, first_run):
    return project.run("meltano", "run", "tap-jsonl", "target-statsig")


@pytest.fixture(params=["first_run", "second_run"])
def either_run(request):
    return request.getfixturevalue(request.param)


def test_the_sample_shop_arrives_whole(either_run):
    assert either_run.exit_code == 0, either_run.output
    assert either_run.names() == SHOP_EVENTS
    assert set(either_run.content["segments"]["vip_users"]["ids"]) == VIPS


def test_exposures_and_metrics_of_the_sample_shop_arrive(either_run):
    counts = {(row["name"], row["group_or_rule"]): row["count"] for row in either_run.content["exposure_counts"]}
    assert counts == {("checkout_page", "Control"): 12, ("checkout_page", "One page"): 12}
    metrics = {(row["name"], row["kind"]): row["units"] for row in either_run.content["metric_counts"]}
    assert metrics == {("net_revenue", "test value"): 20, ("items_per_order", "test ratio"): 20}


def test_every_event_is_a_development_event(first_run):
    tiers = {event["user"]["statsigEnvironment"]["tier"] for event in first_run.content["events"]}
    assert tiers == {"development"}


def test_nothing_is_dropped_or_refused(first_run):
    assert first_run.content["dropped"] == []
    assert all(request["status"] < 400 or request["status"] == 404 for request in first_run.content["requests"])


def test_rejected_records_are_counted_by_reason(either_run):
    assert either_run.content["dead_letters"] == SHOP_REJECTED


def test_the_output_ends_with_the_tables(either_run):
    _, _, tables = either_run.output.rpartition("Statsig emulator")
    for title in (
        "Events",
        "purchase",
        "Exposures",
        "checkout_page",
        "Metrics",
        "net_revenue",
        "Segments",
        "vip_users",
        "missing_identifier",
        "invalid_event_name",
    ):
        assert title in tables


def test_meltano_does_not_change_its_project_file(project, second_run):
    assert (project.folder / "meltano.yml").read_text(encoding="utf-8") == project.file


def test_the_log_contains_no_values_of_records(first_run):
    log, _, _ = first_run.output.rpartition("Statsig emulator")
    for value in ("@example.com", "u-1267", "203.0.113", "ORD-", "10% off"):
        assert value not in log


def test_the_job_mirrors_a_segment_and_removes_members(project, first_run):
    run = project.run(
        *("meltano", "run", "shop-to-statsig"),
        options=("--segment", "vip_users=sample_data/vip_users_last_week.txt"),
    )
    assert run.exit_code == 0, run.output
    segment = run.content["segments"]["vip_users"]
    assert set(segment["ids"]) == VIPS
    changes = [(change["action"], change["added"], change["removed"]) for change in segment["history"]]
    assert changes == [
        ("add", len(VIPS - VIPS_LAST_WEEK), 0),
        ("remove", 0, len(VIPS_LAST_WEEK - VIPS)),
    ]
    assert "No member is held, so none is removed." in run.output


@pytest.mark.parametrize("plugin", ["target-statsig", "statsig"])
def test_replay_is_a_command_of_the_plugin(project, first_run, plugin):
    run = project.run("meltano", "invoke", f"{plugin}:replay")
    assert run.exit_code == 0, run.output
    assert "There are no dead letters in" in run.output


def test_a_dry_run_of_piped_input_is_a_command_of_the_plugin(project, first_run):
    with (project.folder / "sample_data" / "shop.singer").open() as messages:
        run = project.run("meltano", "invoke", "target-statsig:dry-run", stdin=messages)
    assert run.exit_code == 0, run.output
    assert "A run would end with 0, unless" in run.output
    assert {request["method"] for request in run.content["requests"]} == {"GET"}


def test_names_with_dots_in_meltano_yml_arrive_whole(project, first_run):
    run = project.run("meltano", "run", "tap-jsonl--dotted", "target-statsig--dotted")
    assert run.exit_code == 0, run.output
    assert run.names() == {"Order": 1, "Cart v1.5": 1, "Plain": 1}


def test_settings_from_the_environment_arrive_through_meltano(project, first_run):
    """Meltano keeps a key whose dots are escaped, and drops one whose dots are not."""
    variables = {
        "TARGET_STATSIG_OBJECT_TYPE": "event",
        "TARGET_STATSIG_EVENT_NAME_MAPPING": json.dumps({"Order v2.0": "Order", r"cart\.item\.added": "Cart v1.5"}),
        "TARGET_STATSIG_STREAMS": json.dumps({"Shop v2.0": {"environment_tier": "staging"}}),
        "TARGET_STATSIG_METADATA_FIELDS": "[]",
        "TARGET_STATSIG_BATCH_SIZE_ROWS": "1",
    }
    run = project.run("meltano", "run", "tap-jsonl--dotted", "target-statsig", variables=variables)
    assert run.exit_code == 0, run.output
    assert run.names() == {"Order": 1, "Cart v1.5": 1, "Plain": 1}
    assert {event["user"]["statsigEnvironment"]["tier"] for event in run.content["events"]} == {"staging"}
    assert not any("metadata" in event for event in run.content["events"])
    assert len(run.content["requests"]) == len(DOTTED_RECORDS)


def test_the_singer_sample_goes_through_a_pipe(project):
    sample = project.folder / "sample_data"
    with (sample / "shop.singer").open() as messages:
        run = project.run(*("target-statsig", "--config", sample / "config.json", "--config", "ENV"), stdin=messages)
    assert run.exit_code == 0, run.output
    assert run.names() == {
        "view_item": 16,
        "page_view": 6,
        "search": 4,
        "add_to_cart": 4,
        "login": 3,
        "begin_checkout": 3,
        "purchase": 3,
    }
    assert set(run.content["segments"]["vip_users"]["ids"]) == VIPS


def test_a_dry_run_through_meltano_changes_nothing_and_saves_no_state(project, first_run):
    command = ("meltano", "run", "--state-id-suffix=tried", "tap-jsonl", "target-statsig")
    seed = ("--segment", "vip_users=sample_data/vip_users_last_week.txt")
    tried = project.run(*command, options=seed, variables={"TARGET_STATSIG_DRY_RUN": "true"})
    assert tried.exit_code == 0, tried.output
    assert {request["method"] for request in tried.content["requests"]} == {"GET"}
    assert set(tried.content["segments"]["vip_users"]["ids"]) == VIPS_LAST_WEEK
    assert tried.content["dead_letters"] == {}
    joined, left = len(VIPS - VIPS_LAST_WEEK), len(VIPS_LAST_WEEK - VIPS)
    row = table_row(tried.output, "vip_users")
    assert (row["added"], row["removed"]) == (f"{joined}", f"{left}")
    assert f"view_item {SHOP_EVENTS['view_item']}, page_view" in tried.output
    assert project.run(*command).names() == SHOP_EVENTS
    with closing(sqlite3.connect(project.folder / ".meltano" / "meltano.db")) as database:
        saved = database.execute("SELECT payload FROM runs WHERE job_name LIKE '%:tried' ORDER BY id").fetchall()
    assert ["singer_state" in payload for (payload,) in saved] == [False, True]


def test_check_is_a_command_of_the_plugin(project, first_run):
    run = project.run("meltano", "invoke", "target-statsig:check")
    assert run.exit_code == 0, run.output
    assert "  ok    console_api_key       accepted by Statsig" in run.output
    assert "  ok    vip_users             does not exist yet. The first run creates it" in run.output
    assert "None of 5 checks failed. Nothing was sent or changed." in run.output
    assert {request["method"] for request in run.content["requests"]} == {"GET"}


def test_a_failed_check_ends_meltano_with_1(project, first_run):
    run = project.run("sh", "-c", "TARGET_STATSIG_CONSOLE_API_KEY=console-0123 meltano invoke target-statsig:check")
    assert run.exit_code == 1, run.output
    assert "  FAIL  console_api_key       Statsig does not accept the key: Statsig answered" in run.output
    assert "1 of 5 checks failed." in run.output


@pytest.mark.parametrize(
    ("key", "heading"),
    [
        pytest.param("client-0123456789", "The configuration cannot be used", id="a wrong configuration"),
        pytest.param("secret-0123456789", "Statsig does not accept the key", id="a wrong key"),
    ],
)
def test_a_failure_is_logged_without_a_traceback(project, first_run, key, heading):
    line = f"TARGET_STATSIG_SERVER_SECRET_KEY={key} meltano run tap-jsonl target-statsig"
    run = project.run("sh", "-c", line)
    log, _, _ = run.output.rpartition("Statsig emulator")
    assert run.exit_code == 1, run.output
    assert heading in log
    assert "Traceback" not in log
    assert "BrokenPipe" not in log
