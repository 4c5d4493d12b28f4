"""What the command line adds to that of singer-sdk."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from target_statsig.config.load import VARIABLE_PREFIX, read_config_files
from target_statsig.errors import Heading, InterruptedRunError, SettingsError, StoreError, heading_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_statsig.errors import TargetStatsigError
    from target_statsig.run import Run

logger = logging.getLogger(__name__)

FROM_ENVIRONMENT = "ENV"

WIDEST_TABLE = 100
"""Characters. Longer lines are hard to read, however wide the terminal is."""


def keep_lines() -> None:
    """Escape control characters in log lines, so that names from data cannot break lines or control a terminal."""
    from target_statsig.reports.text import LineRecord  # `--about` and the like log no names from data

    logging.setLogRecordFactory(LineRecord)


def show_suggestion(source: Iterable[bytes] | None) -> NoReturn:
    """Print settings for the streams of a tap's output or catalog; exit with 1 if it is neither."""
    from target_statsig.commands.suggest import suggest
    from target_statsig.errors import InputError

    try:
        sys.stdout.write(suggest(source or sys.stdin.buffer))
    except InputError as error:
        logger.error("%s", error)  # noqa: TRY400 -- the message says it all
        sys.exit(1)
    sys.exit(0)


def quieten() -> None:
    """Escape log lines, and silence singer-sdk's line for each variable: under Meltano there are forty."""
    keep_lines()
    variables = logging.getLogger("singer_sdk.configuration")
    if not variables.isEnabledFor(logging.DEBUG):
        variables.setLevel(logging.WARNING)


def read_config(values: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return the settings of all files of `--config`, and whether to read variables too.

    Exits with 1 if a file cannot be used.
    """
    files = [path for path in values if path != FROM_ENVIRONMENT]
    try:
        return read_config_files(files), len(files) < len(values)
    except SettingsError as error:
        turn_down(error.errors)


def turn_down(errors: Iterable[str]) -> NoReturn:
    """Log the errors of a configuration, and exit with 1."""
    keep_lines()
    logger.error("%s. Nothing was read or sent.", Heading.SETTINGS.value)
    for error in errors:
        logger.error("  %s", error)
    leave(1)


def name_unread_keys(errors: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the errors, and add one if a missing key is in a variable that was not read."""
    from target_statsig.config.statsig import ApiKeyKind

    unread = []
    for kind in ApiKeyKind:
        variable = VARIABLE_PREFIX + kind.setting.upper()
        if environ.get(variable) and any(error.startswith(f"`{kind.setting}` is missing") for error in errors):
            unread.append(f"The variable {variable} is set, but variables are read only with `--config ENV`. Add it.")
    return [*errors, *unread]


def leave(exit_code: int) -> NoReturn:
    """Exit. After a failure, let the tap finish writing first, so that the error is the end of the log."""
    from target_statsig.clock import RunClock
    from target_statsig.singer.reader import drain_input

    if exit_code == 1:
        drain_input(RunClock())
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        # Otherwise Python flushes again at exit, prints the error, and exits with 120.
        sys.stdout = None
    sys.exit(exit_code)


def show_check(run: Run, table: str | None) -> NoReturn:
    """Print the checks, and exit with 1 if one failed.

    `table` names the prepared requests that a run would send; None if it would read input.
    """
    from target_statsig.commands.check import check
    from target_statsig.commands.check_table import failed, render

    sections = check(run.config, run.clock)
    if table is not None:
        from target_statsig.commands.send import table_section

        sections = [*sections, table_section(run, table)]
    width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST_TABLE)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sys.stdout.write(render(sections, width=width, colours=colours))
    sys.exit(failed(sections) > 0)


def show_status(run: Run, *, as_json: bool) -> NoReturn:
    """Print the status, and exit with 1 if the store cannot be read."""
    from target_statsig.commands.status import read_status, render

    try:
        status = read_status(run.settings)
    except StoreError as error:
        _fail(error)
    sys.stdout.write(_json(status.as_json()) if as_json else render(status))
    sys.exit(0)


def show_verification(run: Run, *, as_json: bool) -> NoReturn:
    """Print what Statsig has of the last run, and exit with 1 if an item was perhaps dropped."""
    from target_statsig.commands.verify import render, verify

    try:
        verification = verify(run.settings, run.clock)
    except SettingsError as error:
        turn_down(error.errors)
    except StoreError as error:
        _fail(error)
    except InterruptedRunError:
        sys.exit(run.exit_code)
    sys.stdout.write(_json(verification.as_json()) if as_json else render(verification))
    sys.exit(not verification.is_good)


def _json(content: object) -> str:
    return f"{json.dumps(content, indent=2)}\n"


def _fail(error: TargetStatsigError) -> NoReturn:
    logger.error("%s: %s", heading_of(error).value, error)
    sys.exit(1)
