"""The files of the page "Examples to copy" run with real Airflow and Dagster; only their paths are changed."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import yaml

from target_statsig.emulator import Options, StatsigEmulator
from tests.documents import blocks
from tests.singer import record, schema, to_lines
from tests.terminal import PROGRAMS, clean_environment
from tests.tools.plugin_definition import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "examples.md"
EXAMPLES = ROOT / "docs" / "examples"

PATIENCE = 300
"""Seconds that a program may take: Airflow alone needs a minute on a busy machine."""

TAP = """\
#!/bin/sh
# Sends the messages of a file, with the day to send in place of DAY.
cd "$(dirname "$0")/.."
sed "s/DAY/$TAP_SHOP_START_DATE/g" "$(basename "$0").singer"
if [ -e tap-is-stopped ]; then
  # Wait until the target is running.
  until [ -e store.db ]; do sleep 0.1; done
  kill -TERM $PPID
  while kill -0 $PPID; do sleep 0.1; done
fi
[ ! -e tap-dies ]
"""

ORDERS = {"object_type": "event", "event_name": "purchase", "field_mapping": {"event_time": "placed_at"}}
AUDIENCE = {"object_type": "segment", "segment_id": "vip_users", "sync_mode": "mirror"}

AIRFLOW = """\
import shlex, subprocess, sys
from airflow.__main__ import main
for line in sys.argv[1:]:
    if line.startswith("airflow "):
        sys.argv = shlex.split(line)
        main()
    else:
        subprocess.run(line, shell=True, check=True)
"""
"""Runs command lines in one process, since each start of Airflow takes seconds."""

DAGSTER = """\
import json, sys
import dagster as dg
from dagster_asset import statsig_orders
result = dg.materialize([statsig_orders], partition_key=sys.argv[1], raise_on_error=False)
(step,) = result.get_step_failure_events() or result.asset_materializations_for_node("statsig_orders")
source = step if result.success else step.step_failure_data.user_failure_data
metadata = {name: value.value for name, value in source.metadata.items()}
print(json.dumps({"failure": None if result.success else source.description, "metadata": metadata}))
"""


class Folder:
    """The folder that the examples call /srv/statsig, with taps, the target and its settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "bin").mkdir()
        (path / "bin" / "target-statsig").symlink_to(PROGRAMS / "target-statsig")
        for name in ("tap-shop", "tap-audience"):
            tap = path / "bin" / name
            tap.write_text(TAP)
            tap.chmod(0o755)
        (path / "orders.json").write_text(json.dumps(ORDERS))
        (path / "audience.json").write_text(json.dumps(AUDIENCE))
        rows = [{"order_id": f"DAY/{user}", "user_id": user, "placed_at": "DAYT08:00:00Z"} for user in ("u-1", "u-2")]
        self.write_messages("tap-shop", "orders", rows)
        self.write_messages("tap-audience", "audience", [{"user_id": user} for user in ("u-1", "u-2")])

    def write_messages(self, tap: str, stream: str, rows: list[dict[str, str]]) -> None:
        (self.path / f"{tap}.singer").write_bytes(to_lines([schema(stream), *(record(stream, row) for row in rows)]))

    def copy(self, name: str, folder: Path) -> None:
        """Copy an example, with the paths of this folder and without retries."""
        text = (EXAMPLES / name).read_text(encoding="utf-8").replace("/srv/statsig", str(self.path))
        text, changes = re.subn(r"(retries\W+)3", r"\g<1>0", text)
        assert changes == 1
        (folder / name).write_text(text)

    def run(self, arguments: list[str | Path], statsig: StatsigEmulator, **variables: str) -> tuple[int, str]:
        """Run a program to its end, and return its exit code and its output."""
        log = self.path / "log"
        with log.open("w") as output:
            done = subprocess.run(
                arguments,
                cwd=self.path,
                env=clean_environment() | keys(statsig) | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
        return done.returncode, log.read_text()


def keys(statsig):
    return {
        "TARGET_STATSIG_EVENTS_URL": statsig.events_url,
        "TARGET_STATSIG_CONSOLE_URL": statsig.console_url,
        "TARGET_STATSIG_SERVER_SECRET_KEY": statsig.server_secret_key,
        "TARGET_STATSIG_CONSOLE_API_KEY": statsig.console_api_key,
    }


def orders(statsig):
    return Counter(event["metadata"]["order_id"] for event in statsig.state.events)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install a package into an environment of its own, and return the folder of its programs."""

    def install(package):
        environment = tmp_path_factory.mktemp("installed") / "venv"
        for command in (
            ["venv", "--python", sys.executable, environment],
            ["pip", "install", "--python", environment, package],
        ):
            subprocess.run(["uv", command[0], "--quiet", *command[1:]], check=True)
        return environment / "bin"

    return install


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "srv"
    path.mkdir()
    return Folder(path)


@pytest.fixture
def vip_users(statsig):
    """Seed a segment with a member of the audience and one to remove."""
    statsig.state.seed_segment("vip_users", ["gone", "u-1"])


@pytest.fixture(scope="module")
def airflow(installed, tmp_path_factory):
    """Run a backfill of two days, the first day again, an audience, and a smaller audience whose tap fails."""
    programs = installed("apache-airflow==3.3.*")
    home = tmp_path_factory.mktemp("airflow")
    folder = Folder(tmp_path_factory.mktemp("srv"))
    (home / "dags").mkdir()
    folder.copy("airflow_dag.py", home / "dags")
    lines = [
        "airflow db migrate",
        "airflow dags reserialize",
        """airflow dags test statsig_backfill --conf '{"first": "2026-10-01", "last": "2026-10-02"}'""",
        """airflow dags test statsig_backfill --conf '{"first": "2026-10-01", "last": "2026-10-01"}'""",
        "airflow dags test statsig_audience",
        "sed -i.bak /u-2/d tap-audience.singer && touch tap-dies",
        "airflow dags test statsig_audience",
    ]
    with StatsigEmulator(Options()) as statsig:
        statsig.state.seed_segment("vip_users", ["gone", "u-1"])
        exit_code, log = folder.run(
            [programs / "python", "-c", AIRFLOW, *lines],
            statsig,
            AIRFLOW_HOME=str(home),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
        )
        yield statsig, exit_code, log


@pytest.mark.e2e
@pytest.mark.slow
def test_airflow_sends_each_order_once(airflow):
    statsig, _, log = airflow
    days = ("2026-10-01", "2026-10-02")
    assert orders(statsig) == Counter(f"{day}/{user}" for day in days for user in ("u-1", "u-2")), log


@pytest.mark.e2e
@pytest.mark.slow
def test_airflow_removes_members_but_not_after_a_failed_tap(airflow):
    statsig, exit_code, log = airflow
    assert exit_code != 0
    assert statsig.state.ids("vip_users") == {"u-1", "u-2"}, log


@pytest.fixture(scope="module")
def dagster_programs(installed):
    return installed("dagster==1.13.*")


@pytest.fixture
def materialize(dagster_programs, folder, statsig):
    """Materialize a day, and return the exit code and the log."""
    folder.copy("dagster_asset.py", folder.path)

    def run(**variables):
        program = [dagster_programs / "python", "-c", DAGSTER, "2026-10-01"]
        return folder.run(program, statsig, PYTHONPATH=str(folder.path), **variables)

    return run


@pytest.mark.e2e
@pytest.mark.slow
def test_dagster_shows_the_counts_of_the_run(materialize, statsig):
    _, log = materialize()
    metadata = json.loads(log.splitlines()[-1])["metadata"]
    assert metadata["orders: delivered"] == 2
    assert metadata["report"]["status"] == "complete"
    assert orders(statsig) == Counter({"2026-10-01/u-1": 1, "2026-10-01/u-2": 1})


@pytest.mark.e2e
@pytest.mark.slow
def test_dagster_fails_with_the_first_error_of_the_target(materialize):
    _, log = materialize(TARGET_STATSIG_SERVER_SECRET_KEY="secret-wrong")
    outcome = json.loads(log.splitlines()[-1])
    assert outcome["failure"].startswith("Statsig does not accept the key: ")
    assert outcome["metadata"]["report"]["error_codes"] == ["key_not_accepted"]


@pytest.mark.e2e
@pytest.mark.slow
def test_dagster_fails_when_the_tap_fails(materialize, folder):
    (folder.path / "tap-dies").touch()
    _, log = materialize()
    assert json.loads(log.splitlines()[-1])["failure"] == "The tap ended with exit code 1, the target with 0."


@pytest.mark.e2e
@pytest.mark.slow
def test_dagster_waits_for_the_target_after_a_signal(materialize, folder):
    (folder.path / "tap-is-stopped").touch()
    _, log = materialize()
    assert "Run interrupted" in log


@pytest.fixture
def cron_job(folder, statsig, vip_users):
    """Run the command of the CronJob, and return its exit code and its log."""
    text = (EXAMPLES / "cronjob.yaml").read_text(encoding="utf-8")
    text = re.sub("/etc/statsig|/var/lib/statsig", str(folder.path), text)
    config_map, _, job = yaml.safe_load_all(text)
    for name, content in config_map["data"].items():
        (folder.path / name).write_text(content)
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    path = f"{folder.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return lambda: folder.run([*container["command"], *container["args"]], statsig, PATH=path, **variables)


@pytest.mark.e2e
def test_the_cron_job_removes_members(cron_job, statsig, folder):
    exit_code, log = cron_job()
    assert exit_code == 0, log
    assert statsig.state.ids("vip_users") == {"u-1", "u-2"}
    assert (folder.path / "store.db").exists()


@pytest.mark.e2e
def test_the_cron_job_removes_nobody_after_a_failed_tap(cron_job, statsig, folder):
    (folder.path / "tap-dies").touch()
    exit_code, log = cron_job()
    assert exit_code == 1, log
    assert statsig.state.ids("vip_users") == {"gone", "u-1", "u-2"}


@pytest.mark.e2e
def test_the_cron_job_is_interrupted_by_sigterm(cron_job, statsig, folder):
    (folder.path / "tap-is-stopped").touch()
    exit_code, log = cron_job()
    assert exit_code == 143, log
    assert "Run interrupted" in log
    assert "gone" in statsig.state.ids("vip_users")


@pytest.mark.e2e
@pytest.mark.slow
def test_the_cron_job_is_valid_for_kubernetes(installed):
    validate = installed("kubernetes-validate") / "kubernetes-validate"
    done = subprocess.run(
        [validate, "--strict", EXAMPLES / "cronjob.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


WAREHOUSE = """
create table users (user_id text, plan text, seats integer);
insert into users values ('u-1', 'pro', 5), ('u-2', 'team', 12);
create table orders (order_id integer, user_id text, total numeric, placed_at text, currency text, coupon text);
insert into orders values (1, 'u-1', 60, '2026-11-20T09:30:00Z', 'EUR', null),
                          (2, 'u-2', 35, '2026-11-20T10:15:00Z', 'EUR', 'ten'),
                          (3, 'u-1', 40, '2026-11-21T08:05:00Z', 'USD', null);
"""


@pytest.fixture
def send_model(run_target):
    """Run a model in a small warehouse, and send its rows with the settings of the page."""

    def send(model, heading):
        sql = (EXAMPLES / "dbt" / f"{model}.sql").read_text(encoding="utf-8")
        sql = re.sub(r"\{\{ config\(.*\) \}\}", "", sql)
        sql = re.sub(r"\{\{ ref\('(\w+)'\) \}\}", r"\1", sql)
        with closing(sqlite3.connect(":memory:")) as warehouse:
            warehouse.executescript(WAREHOUSE)
            warehouse.row_factory = sqlite3.Row
            rows = [dict(row) for row in warehouse.execute(sql)]
        (settings,) = (yaml.safe_load(block.text) for block in blocks(PAGE) if block.heading == heading)
        stream = f"analytics-{model}"
        outcome = run_target([schema(stream), *(record(stream, row) for row in rows)], **settings)
        assert outcome.exit_code == 0, outcome.errors

    return send


def test_the_segment_equals_the_audience_of_the_dbt_model(send_model, statsig):
    statsig.state.seed_segment("big_spenders", ["gone"])
    send_model("audience", "dbt: an audience")
    assert statsig.state.ids("big_spenders") == {"u-1"}


def test_the_columns_of_the_dbt_model_are_mapped(send_model, statsig):
    send_model("custom_columns", "dbt: columns of your own")
    event = statsig.state.events[1]
    assert (event["eventName"], event["user"]["userID"], event["value"]) == ("purchase", "u-2", 35)
    assert event["metadata"] == {"order_id": "2", "currency": "EUR", "coupon": "ten"}
    assert event["user"]["custom"] == {"plan": "team", "seats": 12}
