"""The guide "From your warehouse to Statsig", done as it is written: a real server, the real tap, real Meltano.

What the runs should show stands in the guide too, and is compared with what the emulator has got.
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
from tests.plugin_definition import ROOT
from tests.postgres import warehouse_url
from tests.terminal import PROGRAMS, Terminal, newcomers_environment

__all__ = ["warehouse_url"]

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PAGE = ROOT / "docs" / "from-your-warehouse-to-statsig.md"

EMULATOR = "uv run statsig-emulator"
RUN = "uv run meltano run tap-postgres target-statsig"
DATABASE = "TAP_POSTGRES_SQLALCHEMY_URL"

RUNS = ("The first run", "A day later", "Another day", "Into Statsig")
"""The headings with a run under them."""

SECONDS_WITHOUT_A_CHANGE = "2"
"""After so many the tap ends, which makes it read all changes again in the next run; the guide recommends more."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the emulator holds after a run, and what the run said."""

    output: str
    purchases: Counter[str]
    segments: dict[str, set[str]]
    events: list[dict[str, Any]]


class Emulator:
    """`statsig-emulator` in a second terminal."""

    def __init__(self, folder) -> None:
        self._process = subprocess.Popen(
            [PROGRAMS / "statsig-emulator"], cwd=folder, env=newcomers_environment(), stdout=subprocess.PIPE, text=True
        )
        self.variables = {}
        # The last of them: what is there to be pasted is complete then.
        while "MELTANO_STATE_BACKEND_URI" not in self.variables:
            line = self._process.stdout.readline()
            assert line, "the emulator has ended"
            if exported := re.fullmatch(r"export (\w+)='?(.*?)'?\n", line):
                self.variables[exported[1]] = exported[2]

    def arrived(self, output) -> Arrived:
        base = self.variables["TARGET_STATSIG_EVENTS_URL"].removesuffix("/v1")
        with urllib.request.urlopen(f"{base}/_emulator/state") as answer:
            state = json.load(answer)
        return Arrived(
            output,
            Counter(event["metadata"]["order_id"] for event in state["events"]),
            {name: set(segment["ids"]) for name, segment in state["segments"].items()},
            state["events"],
        )

    def close(self):
        self._process.terminate()
        self._process.communicate()


@dataclass
class Reader:
    """Somebody who does what the guide says, from its first line to its last."""

    terminal: Terminal
    database: str
    emulator: Emulator | None = None
    failed: list[str] = field(default_factory=list)
    arrived: dict[str, Arrived] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)

    def follow(self) -> None:
        for block in blocks(PAGE):
            if block.file:
                (self.terminal.folder / block.file).write_text(block.text)
            for command in block.commands:
                self._do(command, block.heading)

    def close(self):
        if self.emulator:
            self.emulator.close()

    def _do(self, command, heading):
        if command == EMULATOR:
            self.emulator = Emulator(self.terminal.folder)
            self.terminal.variables |= self.emulator.variables
            return
        if command.startswith(f"export {DATABASE}="):
            command = f"export {DATABASE}={self.database}"
        done = self.terminal.run(command)
        self.output[command] = done.output
        if done.exit_code != 0:
            self.failed.append(f"{command}\n{done.output}")
        if command == RUN:
            self.arrived[heading] = self.emulator.arrived(done.output)


@pytest.fixture(scope="module")
def reader(tmp_path_factory, warehouse_url):
    clone = tmp_path_factory.mktemp("clone")
    (clone / "docs").symlink_to(ROOT / "docs")
    terminal = Terminal(
        clone,
        tmp_path_factory.mktemp("memory"),
        TAP_POSTGRES_REPLICATION_IDLE_EXIT_SECONDS=SECONDS_WITHOUT_A_CHANGE,
    )
    reader = Reader(terminal, warehouse_url)
    try:
        reader.follow()
        yield reader
    finally:
        reader.close()


def test_every_command_of_the_guide_works(reader):
    assert not reader.failed, "\n".join(reader.failed)
    assert tuple(reader.arrived) == RUNS


@pytest.mark.parametrize(
    ("heading", "orders"),
    [
        pytest.param("The first run", 6, id="first run"),
        pytest.param("A day later", 7, id="second run"),
        pytest.param("Another day", 8, id="third run"),
        pytest.param("Into Statsig", 8, id="nothing new"),
    ],
)
def test_each_order_arrives_once(reader, heading, orders):
    assert reader.arrived[heading].purchases == Counter(str(number) for number in range(1, orders + 1))


def test_an_order_arrives_as_it_stands_in_the_table(reader):
    first = min(reader.arrived["The first run"].events, key=lambda event: event["metadata"]["order_id"])
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
    assert reader.arrived[heading].segments["vip_users"] == members


@pytest.mark.parametrize(
    ("heading", "members"),
    [
        pytest.param("The first run", {"u-1", "u-2", "u-3"}, id="read whole"),
        pytest.param("A day later", {"u-1", "u-3", "u-6"}, id="an insert and a delete"),
        pytest.param("Another day", {"u-1", "u-3", "u-6"}, id="no change"),
    ],
)
def test_the_log_based_table_passes_inserts_and_deletes_on(reader, heading, members):
    assert reader.arrived[heading].segments["beta_testers"] == members


@pytest.mark.parametrize("heading", ["The first run", "A day later"])
def test_the_log_says_what_the_guide_shows(reader, heading):
    shown = [block.text.splitlines() for block in blocks(PAGE) if block.heading == heading and not block.kind]
    assert shown
    for line in shown[0]:
        assert line.strip() in reader.arrived[heading].output


def test_the_log_holds_no_id(reader):
    for run in reader.arrived.values():
        assert not re.search(r"\bu-\d", run.output)
