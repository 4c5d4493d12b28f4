"""Every command of the README and the reference pages runs, here or in CI."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field

import pytest

from target_statsig.emulator import Options, StatsigEmulator
from tests.documents import blocks
from tests.terminal import Finished, Terminal
from tests.tools.plugin_definition import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

README = ROOT / "README.md"
CHECK_PAGE = ROOT / "docs" / "check-and-dry-run.md"
PAGES = [README, ROOT / "docs" / "settings.md", CHECK_PAGE, ROOT / "docs" / "contributing.md"]

IN_REPOSITORY = f"cd {ROOT} && "

SAMPLE_SHOP = "uv run statsig-emulator meltano run tap-jsonl target-statsig"

SUBSTITUTES = {
    f"python3 -m pip install uv && {SAMPLE_SHOP}": SAMPLE_SHOP,
    "uv run pytest": IN_REPOSITORY + "uv run pytest -n 0 --collect-only --quiet",
    'uv run pytest -m "not slow and not e2e"': IN_REPOSITORY
    + 'uv run pytest -n 0 --collect-only --quiet -m "not slow and not e2e"',
}
"""Commands to run instead, since the tests run already."""

ONLY_IN_CI = {
    "uv run ruff check && uv run ruff format --check && uv run mypy && uv run lint-imports",
    "uv run pytest -m slow --dist loadfile",
    "uv run --group spark pytest -m spark -n 0",
    "uv run zensical build --strict --clean --config-file docs/zensical.toml",
    ".ci/run",
}
"""Commands that only CI runs."""


@dataclass
class Reader:
    """Runs the commands of the pages in a clone, with an emulator as the Statsig project."""

    terminal: Terminal
    statsig: StatsigEmulator
    finished: dict[str, list[Finished]] = field(default_factory=dict)

    def follow(self):
        for block in (block for page in PAGES for block in blocks(page)):
            if block.file:
                (self.terminal.folder / block.file).write_text(block.text)
            for command in block.commands:
                if command not in ONLY_IN_CI:
                    typed = SUBSTITUTES.get(command, command).replace("secret-…", self.statsig.server_secret_key)
                    place = self.terminal.folder
                    self.finished.setdefault(block.heading, []).append(self.terminal.run(typed))
                    self.terminal.folder = place

    def output_of(self, heading):
        """Return the output of the first command under a heading, without the prefix of log lines."""
        return re.sub(r"^.*? \| \w+ +\| \S+ +\| ", "", self.finished[heading][0].output, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "sample_data", clone / "sample_data")
    shutil.copy(ROOT / "meltano.yml", clone)
    with StatsigEmulator(Options()) as statsig:
        terminal = Terminal(
            clone,
            tmp_path_factory.mktemp("memory"),
            TARGET_STATSIG_EVENTS_URL=statsig.events_url,
            PYTHONUTF8="1",
            COLUMNS="80",
        )
        reader = Reader(terminal, statsig)
        reader.follow()
        yield reader


def test_every_command_of_the_readme_works(reader):
    failed = [done.output for every in reader.finished.values() for done in every if done.exit_code != 0]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("heading", "lines"),
    [
        pytest.param("target-statsig", ["394 events", "vip_users +id_list +userID +new +\\+40 "], id="the sample shop"),
        pytest.param("Your first stream of events", ["3 events", "Plan Upgraded +- +1 +1"], id="events"),
        pytest.param(
            "Your first segment", ["1 segment changed", "customers +id_list +userID +new +\\+2 "], id="segment"
        ),
    ],
)
def test_the_emulator_shows_the_records_sent(reader, heading, lines):
    for line in lines:
        assert re.search(line, reader.output_of(heading)), reader.output_of(heading)


def test_the_mirror_of_the_sample_shop_adds_4_and_removes_3(reader):
    assert re.search(r"vip_users +id_list +userID +39 +\+4 +-3 +40", reader.finished["Your first segment"][1].output)


def test_the_same_command_without_the_emulator_sends_to_statsig(reader):
    assert [event["eventName"] for event in reader.statsig.state.events] == [
        "Plan Upgraded",
        "Seat Added",
        "Seat Added",
    ]


@pytest.mark.parametrize("heading", ["Check", "Dry run"])
def test_the_output_is_the_one_the_page_shows(reader, heading):
    shown = next(block.text for block in blocks(CHECK_PAGE) if block.heading == heading and not block.kind)
    assert _without_times(shown) in _without_times(reader.output_of(heading))


def _without_times(text):
    """Return a text without durations and sizes, which vary."""
    return re.sub(r"after [\d.]+ s|\([\d,]+ bytes\)", "…", text)


@pytest.mark.parametrize("command", sorted(ONLY_IN_CI))
def test_ci_runs_the_commands_of_contributors(command):
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    if command != ".ci/run":
        for part in command.split(" && "):
            assert f"{part}\n" in script.read_text(encoding="utf-8")
