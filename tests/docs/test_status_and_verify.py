"""The commands of the page "Status and verify" print what the page shows."""

from __future__ import annotations

import re
import shutil

import pytest

from target_statsig.emulator import Options, StatsigEmulator
from tests.documents import blocks
from tests.terminal import Terminal
from tests.tools.plugin_definition import ROOT

pytestmark = pytest.mark.e2e

PAGE = ROOT / "docs" / "status-and-verify.md"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Run all commands of the page, and return the outputs under each heading."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "sample_data", clone / "sample_data")
    found = {}
    with StatsigEmulator(Options()) as statsig:
        terminal = Terminal(
            clone,
            tmp_path_factory.mktemp("memory"),
            TARGET_STATSIG_EVENTS_URL=statsig.events_url,
            TARGET_STATSIG_CONSOLE_URL=statsig.console_url,
            TARGET_STATSIG_SERVER_SECRET_KEY=statsig.server_secret_key,
            TARGET_STATSIG_CONSOLE_API_KEY=statsig.console_api_key,
        )
        for block in blocks(PAGE):
            for command in block.commands:
                done = terminal.run(command)
                assert done.exit_code == 0, done.output
                found.setdefault(block.heading, []).append(done.output)
    return found


@pytest.mark.parametrize("heading", ["Status", "Verify"])
def test_the_output_is_the_one_the_page_shows(printed, heading):
    shown = next(block.text for block in blocks(PAGE) if block.heading == heading and not block.kind)
    assert _without_times(shown) in _without_times(printed[heading][0])


def test_the_json_describes_the_run(printed):
    assert '"command": "run"' in printed["Status"][1]


def _without_times(text):
    """Return a text without times and durations, and without the width of their columns."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "…", text)
    return re.sub(r" +(took|[\d.]+ s) ", " … ", text)
