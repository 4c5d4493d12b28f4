"""The options of the command line: their conflicts, and `--help`."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from target_statsig.commands import command_line
from target_statsig.commands.command_line import COMMANDS, EXAMPLES, conflicts
from target_statsig.target import TargetStatsig

COMMAND = TargetStatsig.get_singer_command()
INPUT = {"file_input": Path("messages.singer")}


@pytest.fixture(scope="module")
def help_text():
    done = CliRunner().invoke(COMMAND, ["--help"], prog_name="target-statsig", terminal_width=100)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"check": True, "status": True}, "`--check` and `--status` exclude each other: give one of them."),
        (
            {"status": True, "verify": True, "replay": True},
            "`--status`, `--verify` and `--replay` exclude each other: give one of them.",
        ),
        ({"apply_held": True, "suggest": True}, "`--suggest` and `--apply-held` exclude"),
        ({"check": True, "dry_run": True}, "`--check` never changes anything: leave `--dry-run` out."),
        ({"status": True, "dry_run": True}, "`--status` never changes anything"),
        ({"send": "table", "verify": True}, "`--send` goes with `--check` and `--dry-run` only"),
        ({"send": "table", "replay": True}, "`--send` goes with `--check` and `--dry-run` only"),
        ({"send": "table", **INPUT}, "`--send` reads no Singer messages: leave `--input` out."),
        ({"status": True, **INPUT}, "`--status` reads no Singer messages: leave `--input` out."),
        ({"segment": "vips"}, "`--segment` is of no use without `--apply-held`: add it."),
        ({"json": True}, "`--json` is of no use without `--status` or `--verify`: add one of them."),
        ({"json": True, "check": True}, "`--json` is of no use without `--status` or `--verify`"),
    ],
)
def test_conflicting_options_are_an_error_with_the_remedy(given, message):
    (error,) = conflicts(given)
    assert error.startswith(message)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {**INPUT, "dry_run": True, "show_ids": True, "dry_run_output": Path("requests")},
        {"suggest": True, **INPUT},
        {"send": "table", "check": True},
        {"send": "table", "dry_run": True},
        {"apply_held": True, "segment": "vips", "dry_run": True},
        {"replay": True, "dry_run": True},
        {"status": True, "json": True},
        {"verify": True, "json": True},
    ],
)
def test_compatible_options_are_accepted(given):
    assert list(conflicts(given)) == []


def test_missing_pyarrow_is_an_error(monkeypatch):
    monkeypatch.setattr(command_line, "find_spec", lambda _: None)
    (error,) = conflicts({"send": "table"})
    assert "needs pyarrow, which is not installed. Add the extra: pip install 'target-statsig[spark]'" in error


def test_all_conflicts_are_reported_at_once(command):
    done = command.run("--status", "--verify", "--segment", "vips")
    assert done.exit_code == 1
    assert len(done.errors) == 3


def test_every_option_is_in_the_help_once(help_text):
    shown = re.findall(r"^  (--[a-z-]+)", help_text, re.MULTILINE)
    assert sorted(shown) == sorted({*shown})
    assert {*shown} == {option.opts[0] for option in COMMAND.params if isinstance(option, click.Option)} | {"--help"}


def test_the_help_begins_with_what_the_command_does(help_text):
    assert help_text.startswith(
        "Usage: target-statsig [OPTIONS]\n\n  Sends the output of a Singer tap to Statsig: as events,"
    )


@pytest.mark.parametrize("name", sorted({*COMMANDS, "dry_run", "send"}))
def test_every_command_has_an_example(name):
    assert re.search(rf"(\| |^    )target-statsig .*--{name.replace('_', '-')}", EXAMPLES, re.MULTILINE)


def test_no_line_of_the_help_is_too_long_for_a_terminal(help_text):
    assert max(map(len, help_text.splitlines())) <= 100
