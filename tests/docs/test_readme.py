"""The README and the pages of reference, done as written: every command that they show is typed here or in CI."""

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

HERE = f"cd {ROOT} && "

SAMPLE_SHOP = "uv run statsig-emulator meltano run tap-jsonl target-statsig"

INSTEAD = {
    f"python3 -m pip install uv && {SAMPLE_SHOP}": SAMPLE_SHOP,
    "uv run pytest": HERE + "pytest -n 0 --collect-only --quiet",
    'uv run pytest -m "not slow and not e2e"': HERE + 'pytest -n 0 --collect-only --quiet -m "not slow and not e2e"',
}
"""What is typed in a command's place: these tests are running already."""

IN_CI = {
    "uv run ruff check && uv run ruff format --check && uv run mypy && uv run lint-imports",
    "uv run pytest -m slow --dist loadfile",
    "uv run --group spark pytest -m spark -n 0",
    "uv run zensical build --strict --clean --config-file docs/zensical.toml",
    ".ci/run",
}
"""What CI runs, and is looked for there."""


@dataclass
class Reader:
    """A newcomer in a clone, with a Statsig project that is an emulator."""

    terminal: Terminal
    statsig: StatsigEmulator
    finished: dict[str, list[Finished]] = field(default_factory=dict)

    def follow(self):
        for block in (block for page in PAGES for block in blocks(page)):
            if block.file:
                (self.terminal.folder / block.file).write_text(block.text)
            for command in block.commands:
                if command not in IN_CI:
                    typed = INSTEAD.get(command, command).replace("secret-…", self.statsig.server_secret_key)
                    place = self.terminal.folder
                    self.finished.setdefault(block.heading, []).append(self.terminal.run(typed))
                    self.terminal.folder = place

    def saw(self, heading):
        """Return what the first command under a heading printed, without what every line of a log begins with."""
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
def test_the_emulator_shows_what_the_reader_sent(reader, heading, lines):
    for line in lines:
        assert re.search(line, reader.saw(heading)), reader.saw(heading)


def test_the_mirror_of_the_sample_shop_gains_four_and_loses_three(reader):
    assert re.search(r"vip_users +id_list +userID +39 +\+4 +-3 +40", reader.finished["Your first segment"][1].output)


def test_the_same_command_without_the_emulator_sends_to_statsig(reader):
    assert [event["eventName"] for event in reader.statsig.state.events] == [
        "Plan Upgraded",
        "Seat Added",
        "Seat Added",
    ]


@pytest.mark.parametrize("heading", ["Check", "Dry run"])
def test_the_reader_sees_what_the_page_shows(reader, heading):
    shown = next(block.text for block in blocks(CHECK_PAGE) if block.heading == heading and not block.kind)
    assert _timeless(shown) in _timeless(reader.saw(heading))


def _timeless(text):
    """Return a text without what another day, or another version, changes."""
    return re.sub(r"after [\d.]+ s|\([\d,]+ bytes\)", "…", text)


@pytest.mark.parametrize("command", sorted(IN_CI))
def test_ci_runs_what_only_contributors_type(command):
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    if command != ".ci/run":
        for part in command.split(" && "):
            assert f"{part}\n" in script.read_text(encoding="utf-8")
