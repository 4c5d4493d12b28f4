"""The page "Status and verify", typed as written into a terminal whose Statsig is an emulator."""

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
    """Type all commands of the page, and return what those under each heading printed."""
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
def test_the_reader_sees_what_the_page_shows(printed, heading):
    shown = next(block.text for block in blocks(PAGE) if block.heading == heading and not block.kind)
    assert _timeless(shown) in _timeless(printed[heading][0])


def test_the_json_is_that_of_the_run(printed):
    assert '"command": "run"' in printed["Status"][1]


def _timeless(text):
    """Return a text without the time of day, without the length of a run, and so without its column's width."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "…", text)
    return re.sub(r" +(took|[\d.]+ s) ", " … ", text)
