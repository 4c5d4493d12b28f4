"""The command line, as far as it differs from that of singer-sdk."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from target_statsig.config.load import read_config_files
from target_statsig.errors import Heading, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_statsig.commands.check import Section

logger = logging.getLogger(__name__)

FROM_ENVIRONMENT = "ENV"

WIDEST_TABLE = 100
"""Characters in a line, however wide the terminal is: longer lines are hard to read."""


def adapt(command: click.Command) -> click.Command:
    """Return singer-sdk's command with options of our own, and with an `--input` that is read like a pipe."""
    file_input = next(option for option in command.params if option.name == "file_input")
    # Bytes: a line that is no UTF-8 is to be an error of that line.
    file_input.type = click.File("rb")
    command.params += [
        click.Option(
            ["--check"],
            is_flag=True,
            help="Look at the keys, the segments, the ID types and the store, change nothing, and say what is wrong.",
        ),
        click.Option(
            ["--suggest"],
            is_flag=True,
            help="Read a tap's output, or its catalog, and print `streams` settings for it. Needs no configuration.",
        ),
        click.Option(
            ["--replay"],
            is_flag=True,
            help="Send the dead letters again instead of reading input, and remove what went through.",
        ),
        click.Option(
            ["--apply-held"],
            is_flag=True,
            help="Remove from mirrored segments whom the last run held for want of a proof: run it once the tap and "
            "the target ended well, as the next step. Reads no input.",
        ),
        click.Option(
            ["--send"],
            metavar="URL",
            help="Send a table of prepared requests instead of reading input: a directory of Parquet files, or a glob. "
            "What was sent before is left out.",
        ),
        click.Option(["--segment"], metavar="ID", help="With --apply-held: only in this segment."),
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Read everything, change nothing, write no STATE, and say what a run would do.",
        ),
        click.Option(
            ["--show-ids"],
            is_flag=True,
            help="With --dry-run: show some ids that would be added and removed, on a terminal only.",
        ),
        click.Option(
            ["--dry-run-output"],
            type=click.Path(dir_okay=False, path_type=Path),
            help="With --dry-run: write the requests that would be sent to this file, as JSON lines.",
        ),
    ]
    return command


def keep_lines() -> None:
    """Keep names out of the data from breaking a line of the log and from playing with a terminal."""
    from target_statsig.reports.text import LineRecord  # what only tells of the target logs no such name

    logging.setLogRecordFactory(LineRecord)


def refuse_conflicts(
    *, check: bool, replay: bool, apply_held: bool, segment: str | None, send: str | None = None
) -> None:
    """Say which options do not go together, and exit with 1."""
    errors = []
    if check + replay + apply_held > 1:
        errors.append("`--check`, `--replay` and `--apply-held` are three commands: give one of them.")
    if send is not None and (replay or apply_held):
        errors.append("`--send` goes with `--check` and `--dry-run` only: leave the other command out.")
    if segment is not None and not apply_held:
        errors.append("`--segment` is of no use without `--apply-held`: add it.")
    if errors:
        turn_down(errors)


def show_suggestion(source: Iterable[bytes] | None) -> NoReturn:
    """Print settings for the streams of a tap's output or catalog, and exit with 1 where it is neither."""
    from target_statsig.commands.suggest import suggest
    from target_statsig.errors import InputError

    try:
        sys.stdout.write(suggest(source or sys.stdin.buffer))
    except InputError as error:
        logger.error("%s", error)  # noqa: TRY400 -- the message says it all
        sys.exit(1)
    sys.exit(0)


def quieten() -> None:
    """Keep lines of the log whole, and singer-sdk from logging one for each variable: under Meltano there are forty."""
    keep_lines()
    variables = logging.getLogger("singer_sdk.configuration")
    if not variables.isEnabledFor(logging.DEBUG):
        variables.setLevel(logging.WARNING)


def read_config(values: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return the settings of all files named by `--config`, and whether variables are to be read, too.

    Where a file cannot be used, say why and exit with 1.
    """
    files = [path for path in values if path != FROM_ENVIRONMENT]
    try:
        return read_config_files(files), len(files) < len(values)
    except SettingsError as error:
        turn_down(error.errors)


def turn_down(errors: Iterable[str]) -> NoReturn:
    """Say what is wrong with a configuration, and exit with 1.

    Args:
        errors: A text for each thing to fix.
    """
    keep_lines()
    logger.error("%s: nothing was read and nothing was sent.", Heading.SETTINGS.value)
    for error in errors:
        logger.error("  %s", error)
    leave(1)


def leave(exit_code: int) -> NoReturn:
    """Exit; after a failure only once the tap had the time to finish writing, so that the error is the last word."""
    from target_statsig.clock import RunClock
    from target_statsig.singer.drain import drain_input

    if exit_code == 1:
        drain_input(RunClock())
    sys.exit(exit_code)


def show_check(sections: Sequence[Section]) -> NoReturn:
    """Print the rows of a check, and exit with 1 where one failed."""
    from target_statsig.commands.check import failed, render

    width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST_TABLE)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sys.stdout.write(render(sections, width=width, colours=colours))
    sys.exit(failed(sections) > 0)
