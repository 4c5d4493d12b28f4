"""The command line: our options beside singer-sdk's, the text of `--help`, and what the commands print."""

from __future__ import annotations

import io
import json
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from target_statsig.config.choices import ApiKeyKind
from target_statsig.config.load import SWITCHES, VARIABLE_PREFIX
from target_statsig.errors import Heading, InputError, InterruptedRunError, SettingsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from target_statsig.commands.run import Run
    from target_statsig.commands.status import Status
    from target_statsig.commands.verify import Verification

logger = logging.getLogger(__name__)

HELP = """\
Sends the output of a Singer tap to Statsig: as events, exposures, values of precomputed metrics, or members of ID-list
segments.

Pipe a tap into it, or let Meltano do that. It writes a STATE when everything before it was delivered, and ends with a
table of what it did.
"""

EXAMPLES = """\
\b
Examples:
  a run, with settings from a file and from TARGET_STATSIG_... variables
    tap-csv --config tap.json | target-statsig --config target.json --config ENV
  what a run would send
    tap-csv --config tap.json | target-statsig --config target.json --dry-run
  whether the keys, the segments and the store can be used
    target-statsig --config target.json --check
  first settings, from the catalog of a tap
    tap-csv --config tap.json --discover | target-statsig --suggest
  how the last runs ended, and what is left to do
    target-statsig --config target.json --status
  whether the events and exposures of the last run are in Statsig
    target-statsig --config target.json --verify
  send rejected records again, after you fixed the cause
    target-statsig --config target.json --replay
  remove the members that a mirror held, as the step after the tap and the target
    target-statsig --config target.json --apply-held
  a table that a cluster has prepared
    target-statsig --config target.json --send s3://bucket/prepared/

Under Meltano, run a command as `meltano invoke target-statsig:status`.

Exit status: 0 complete, 1 failed, 2 wrong command line, 128 plus the signal's number if a signal ended it.
"""

UNREAD = "The variable {} is set, but variables are read only with `--config ENV`. Add it."

COMMANDS = ("check", "suggest", "status", "verify", "replay", "apply_held")
"""The options that exclude each other."""

FLAGS = {
    "--check": "Check the keys, the segments, the ID types, the store and the dead letters. Changes nothing.",
    "--suggest": "Read a tap's output, or its catalog, and print `streams` settings for it. Needs no configuration.",
    "--status": (
        "Show how the last runs ended, and what is held, kept, rejected or running. Reads the store, not Statsig."
    ),
    "--verify": "Ask Statsig which events and exposures of the last run it has. Needs `console_api_key`.",
    "--json": "With --status or --verify: print JSON.",
    "--replay": "Send the dead letters again instead of reading input, and delete those that were delivered.",
    "--apply-held": (
        "Remove the members that the last run of a mirror held because it had no proof. Run it as the next step, only "
        "after the tap and the target have ended well."
    ),
    "--dry-run": "Read everything, change nothing, write no STATE, and show what a run would do.",
    "--show-ids": "With --dry-run: show some ids that would be added and removed, on a terminal only.",
}

OWN = (
    *(click.Option([name], is_flag=True, help=text) for name, text in FLAGS.items()),
    click.Option(["--segment"], metavar="ID", help="With --apply-held: only in this segment."),
    click.Option(
        ["--send"],
        metavar="URL",
        help="Send a table of prepared requests instead of reading input: a directory of Parquet files, or a glob. "
        "Requests that were sent before are skipped.",
    ),
    click.Option(
        ["--dry-run-output"],
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --dry-run: write the requests that would be sent to this file, as JSON lines.",
    ),
)


def conflicts(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield a text for each conflict between options, which are given by the names of their parameters."""
    commands = [f"`--{name.replace('_', '-')}`" for name in COMMANDS if given.get(name)]
    reading = [name for name in commands if name not in {"`--replay`", "`--apply-held`"}]
    sends = ["`--send`"] if given.get("send") is not None else []
    readers = [*sends, *(name for name in commands if name != "`--suggest`")]
    if len(commands) > 1:
        yield f"{', '.join(commands[:-1])} and {commands[-1]} exclude each other: give one of them."
    if given.get("dry_run") and reading:
        yield f"{reading[0]} never changes anything: leave `--dry-run` out."
    if sends and commands and commands != ["`--check`"]:
        yield "`--send` goes with `--check` and `--dry-run` only: leave the other command out."
    if sends and find_spec("pyarrow") is None:
        yield (
            "`--send` reads Parquet files and needs pyarrow, which is not installed. Add the extra: pip install "
            "'target-statsig[spark]'; under Meltano, `pip_url: target-statsig[spark]`."
        )
    if given.get("file_input") is not None and readers:
        yield f"{readers[0]} reads no Singer messages: leave `--input` out."
    if given.get("segment") is not None and not given.get("apply_held"):
        yield "`--segment` is of no use without `--apply-held`: add it."
    if given.get("json") and not (given.get("status") or given.get("verify")):
        yield "`--json` is of no use without `--status` or `--verify`: add one of them."


def extend(command: click.Command) -> click.Command:
    """Add our options to singer-sdk's command, whose `--input` is then read like a pipe: as bytes."""
    file_input = next(option for option in command.params if option.name == "file_input")
    file_input.type = click.File("rb")  # so that invalid UTF-8 is an error of its line
    command.params += OWN
    command.context_settings["max_content_width"] = 100
    command.help, command.epilog = HELP, EXAMPLES
    return command


def quieten() -> None:
    """Let no name from data control a terminal or break a line of the log, or need a character that there is not.

    Also silence singer-sdk's line for each variable: under Meltano there are forty.
    """
    from target_statsig.reports.text import LineRecord  # `--about` and the like log no names from data

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(LineRecord)
    variables = logging.getLogger("singer_sdk.configuration")
    if not variables.isEnabledFor(logging.DEBUG):
        variables.setLevel(logging.WARNING)


def show_suggestion(source: Iterable[bytes] | None) -> NoReturn:
    """Print settings for the streams of a tap's output or catalog; exit with 1 if it is neither."""
    from target_statsig.commands.suggest import suggest
    from target_statsig.singer.reader import SingerMessageReader

    try:
        text = suggest(source or SingerMessageReader().default_input)
    except InputError as error:
        _fail(str(error))
    _print(text)
    sys.exit(0)


def turn_down(errors: Iterable[str]) -> NoReturn:
    """Log the errors of a configuration, and exit with 1."""
    quieten()
    logger.error("%s. Nothing was read or sent.", Heading.SETTINGS.value)
    for error in errors:
        logger.error("  %s", error)
    leave(1)


def name_unread_keys(errors: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the errors, and add one if a missing key is in a variable that was not read."""
    unread = [
        UNREAD.format(variable)
        for kind in ApiKeyKind
        if environ.get(variable := VARIABLE_PREFIX + kind.setting.upper())
        and any(error.startswith(f"`{kind.setting}` is missing") for error in errors)
    ]
    return [*errors, *unread]


def refuse_unread_dry_run(environ: Mapping[str, str]) -> None:
    """Exit with 1 if a variable asks for a dry run; for runs that read no variables, and would send."""
    variable = VARIABLE_PREFIX + "DRY_RUN"
    if SWITCHES.get(environ.get(variable, "").lower()):
        turn_down([UNREAD.format(variable)])


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
        sys.stdout = None  # otherwise Python flushes again at exit, prints the error, and exits with 120
    sys.exit(exit_code)


def show(run: Run, option: Callable[[str], Any]) -> None:
    """Print what `--check`, `--status` or `--verify` found, and exit. Do nothing without these options.

    `option` returns the value of an option by its parameter's name. Exits with 1 if a check failed, if an item was
    perhaps dropped, or if the store cannot be read.
    """
    is_good = True
    try:
        if option("check"):
            from target_statsig.commands.check import check, failed, render, table_row

            sections = check(run.config, run.clock)
            if option("send") is not None:
                sections["Table"] = [table_row(run, option("send"))]
            text = render(sections)
            is_good = not failed(sections)
        elif option("status"):
            from target_statsig.commands.status import read_status

            text = _text(read_status(run.settings), option)
        elif option("verify"):
            from target_statsig.commands.verify import verify

            verification = verify(run.settings, run.clock)
            text, is_good = _text(verification, option), verification.is_good
        else:
            return
    except SettingsError as error:
        turn_down(error.errors)
    except StoreError as error:
        _fail(f"{error.heading.value}: {error}")
    except InterruptedRunError:
        sys.exit(run.report.exit_code)
    _print(text)
    sys.exit(not is_good)


def _text(found: Status | Verification, option: Callable[[str], Any]) -> str:
    return f"{json.dumps(found.as_json(), indent=2)}\n" if option("json") else found.as_text()


def _print(text: str) -> None:
    """Write to standard output. If that fails, log why, and exit with 1."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError) as error:
        sys.stdout = None  # as in `leave`
        cause = error.strerror if isinstance(error, OSError) else "it is closed"
        _fail(f"Standard output cannot be written: {cause}.")


def _fail(text: str) -> NoReturn:
    logger.error("%s", text)
    sys.exit(1)
