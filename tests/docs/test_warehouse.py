"""The commands of the guide "From your warehouse to Statsig" and its sequel, with a real PostgreSQL, tap and Meltano.

The results that the pages show are compared with those in the emulator.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.documents import blocks
from tests.postgres import warehouse_url
from tests.terminal import PROGRAMS, Finished, Terminal, clean_environment
from tests.tools.plugin_definition import ROOT

__all__ = ["warehouse_url"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GUIDE = ROOT / "docs" / "from-your-warehouse-to-statsig.md"
SCHEDULE = ROOT / "docs" / "running-on-a-schedule.md"

EMULATOR = "uv run statsig-emulator"
DATABASE = "TAP_POSTGRES_SQLALCHEMY_URL"

IDLE_SECONDS = "2"
"""Idle time after which the tap ends. It is so short that the next run reads all changes again; the guide has more."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, its heading and result, and the contents of the emulator after it."""

    heading: str
    command: str
    finished: Finished
    events: list[dict[str, Any]]
    segments: dict[str, set[str]]

    @property
    def orders(self) -> Counter[str]:
        return Counter(event["metadata"]["order_id"] for event in self.events)


class Emulator:
    """`statsig-emulator` in a second terminal."""

    def __init__(self, folder) -> None:
        self._process = subprocess.Popen(
            [PROGRAMS / "statsig-emulator"], cwd=folder, env=clean_environment(), stdout=subprocess.PIPE, text=True
        )
        self.variables = {}
        # The last of the variables that the emulator prints.
        while "MELTANO_STATE_BACKEND_URI" not in self.variables:
            line = self._process.stdout.readline()
            assert line, "the emulator has ended"
            if exported := re.fullmatch(r"export (\w+)='?(.*?)'?\n", line):
                self.variables[exported[1]] = exported[2]

    def content(self):
        base = self.variables["TARGET_STATSIG_EVENTS_URL"].removesuffix("/v1")
        with urllib.request.urlopen(f"{base}/_emulator/state") as answer:
            state = json.load(answer)
        return state["events"], {name: set(segment["ids"]) for name, segment in state["segments"].items()}

    def close(self):
        self._process.terminate()
        self._process.communicate()


@dataclass
class Reader:
    """Runs the commands of the pages, from the first to the last."""

    terminal: Terminal
    database: str
    emulator: Emulator | None = None
    steps: list[Step] = field(default_factory=list)

    def follow(self, page) -> None:
        for block in blocks(page):
            if block.file:
                (self.terminal.folder / block.file).write_text(block.text)
            for command in block.commands:
                self._type(command, block.heading)
            if block.kind == "crontab":
                self._type(self._as_cron_would(block.text), block.heading)

    def after(self, heading) -> Step:
        """Return the last command under a heading."""
        return [step for step in self.steps if step.heading == heading][-1]

    def close(self):
        if self.emulator:
            self.emulator.close()

    def _type(self, command, heading):
        if command == EMULATOR:
            self.emulator = Emulator(self.terminal.folder)
            self.terminal.variables |= self.emulator.variables
            return
        if command.startswith(f"export {DATABASE}="):
            command = f"export {DATABASE}={self.database}"
        finished = self.terminal.run(command)
        self.steps.append(Step(heading, command, finished, *(self.emulator.content() if self.emulator else ([], {}))))

    def _as_cron_would(self, table):
        path, line = table.replace("/srv/venv/bin", str(PROGRAMS)).splitlines()
        command = line.replace("/srv/warehouse", str(self.terminal.folder)).split(maxsplit=5)[5]
        return f"cd / && {path} sh -c '{command}'; code=$?; cd - > /dev/null; sh -c \"exit $code\""


@pytest.fixture(scope="module")
def reader(tmp_path_factory, warehouse_url):
    clone = tmp_path_factory.mktemp("clone")
    (clone / "docs").symlink_to(ROOT / "docs")
    terminal = Terminal(
        clone,
        tmp_path_factory.mktemp("memory"),
        TAP_POSTGRES_REPLICATION_IDLE_EXIT_SECONDS=IDLE_SECONDS,
    )
    reader = Reader(terminal, warehouse_url)
    try:
        reader.follow(GUIDE)
        reader.follow(SCHEDULE)
        yield reader
    finally:
        reader.close()


def test_every_command_of_the_pages_works(reader):
    failed = [f"{step.command}\n{step.finished.output}" for step in reader.steps if step.finished.exit_code != 0]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("heading", "orders"),
    [
        pytest.param("The first run", 6, id="first run"),
        pytest.param("A day later", 7, id="second run"),
        pytest.param("Another day", 8, id="third run"),
        pytest.param("Into Statsig", 8, id="nothing new"),
        pytest.param("With cron", 8, id="nothing new on schedule"),
        pytest.param("A large backfill, month by month", 10, id="backfill with one month twice"),
    ],
)
def test_each_order_is_sent_once(reader, heading, orders):
    assert reader.after(heading).orders == Counter(str(number) for number in range(1, orders + 1))


def test_a_month_of_a_backfill_sends_its_own_orders(reader):
    part = next(step for step in reader.steps if step.command.startswith("uv run sh backfill.sh"))
    assert part.orders == Counter(str(number) for number in range(1, 10))


def test_an_event_has_the_columns_of_its_order(reader):
    first = min(reader.after("The first run").events, key=lambda event: event["metadata"]["order_id"])
    assert first["eventName"] == "purchase"
    assert first["user"]["userID"] == "u-1"
    assert first["value"] == 120
    assert first["metadata"] == {"order_id": "1", "currency": "EUR"}


@pytest.mark.parametrize(
    ("heading", "members"),
    [
        pytest.param("The first run", {"u-1", "u-3", "u-4"}, id="filled"),
        pytest.param("A day later", {"u-1", "u-2", "u-3"}, id="one gained, one lost"),
        pytest.param("Another day", {"u-1", "u-2", "u-3", "u-5"}, id="one gained"),
    ],
)
def test_the_mirrored_view_gains_and_loses_members(reader, heading, members):
    assert reader.after(heading).segments["vip_users"] == members


@pytest.mark.parametrize(
    ("heading", "members"),
    [
        pytest.param("The first run", {"u-1", "u-2", "u-3"}, id="read whole"),
        pytest.param("A day later", {"u-1", "u-3", "u-6"}, id="an insert and a delete"),
        pytest.param("Another day", {"u-1", "u-3", "u-6"}, id="no change"),
    ],
)
def test_the_log_based_table_sends_inserts_and_deletes(reader, heading, members):
    assert reader.after(heading).segments["beta_testers"] == members


@pytest.mark.parametrize("heading", ["The first run", "A day later"])
def test_the_log_has_the_lines_that_the_guide_shows(reader, heading):
    (shown,) = [block.text for block in blocks(GUIDE) if block.heading == heading and not block.kind and not block.file]
    logged = [cells_of(line) for line in reader.after(heading).finished.output.splitlines()]
    for line in shown.splitlines():
        assert cells_of(line) in logged, reader.after(heading).finished.output


def cells_of(line):
    """Return the cells of a line without the size of the events, which depends on the time."""
    cells = line.split()
    return [*cells[:-2], cells[-1]] if cells[:2] == ["public-orders", "events"] else cells


def test_the_check_shows_the_segments(reader):
    check = next(step for step in reader.steps if step.command.endswith("target-statsig:check"))
    assert "vip_users" in check.finished.output
    assert "None of" in check.finished.output


def test_the_dry_run_changes_nothing(reader):
    (dry,) = [step for step in reader.steps if "DRY_RUN" in step.command]
    before = reader.after("Another day")
    assert (dry.orders, dry.segments) == (before.orders, before.segments)


def test_the_log_contains_no_ids(reader):
    for step in reader.steps:
        if "meltano" in step.command:
            assert not re.search(r"\bu-\d", step.finished.output)


def test_the_airflow_code_compiles():
    (code,) = [block.text for block in blocks(SCHEDULE) if block.kind == "python"]
    compile(code, SCHEDULE.name, "exec")
