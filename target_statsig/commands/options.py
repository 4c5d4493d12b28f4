"""Our options beside singer-sdk's, which of them go together, and the text of `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from target_statsig._compat import override

if TYPE_CHECKING:
    from collections.abc import Iterator

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

\b
  what a run would send
    tap-csv --config tap.json | target-statsig --config target.json --dry-run

\b
  whether the keys, the segments and the store can be used
    target-statsig --config target.json --check

\b
  first settings, from the catalog of a tap
    tap-csv --config tap.json --discover | target-statsig --suggest

\b
  how the last runs ended, and what is left to do
    target-statsig --config target.json --status

\b
  whether the events and exposures of the last run are in Statsig
    target-statsig --config target.json --verify

\b
  send rejected records again, after you fixed the cause
    target-statsig --config target.json --replay

\b
  remove the members that a mirror held, as the step after the tap and the target
    target-statsig --config target.json --apply-held

\b
  a table that a cluster has prepared
    target-statsig --config target.json --send s3://bucket/prepared/

Under Meltano, run a command as `meltano invoke target-statsig:status`.

Exit status: 0 complete, 1 failed, 2 wrong command line, 128 plus the signal's number if a signal ended it.
"""

COMMANDS = "Commands instead of a run"

LAST = "This program"

GROUPS = {
    "Input": ("file_input", "send"),
    "Configuration": ("config",),
    "Dry run": ("dry_run", "show_ids", "dry_run_output"),
    COMMANDS: ("check", "suggest", "status", "verify", "json", "replay", "apply_held", "segment"),
    LAST: ("about", "about_format", "version"),
}
"""Parameter names by group, in the order of the help. Options in no group come last."""

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


@dataclass(frozen=True, slots=True)
class Options:
    """Our options as the user gave them."""

    check: bool = False
    suggest: bool = False
    status: bool = False
    verify: bool = False
    json: bool = False
    replay: bool = False
    apply_held: bool = False
    segment: str | None = None
    send: str | None = None
    dry_run: bool = False
    show_ids: bool = False
    dry_run_output: Path | None = None

    def conflicts(self, *, has_input: bool) -> Iterator[str]:
        """Yield a text for each conflict; `has_input` is whether `--input` is given."""
        commands = ("check", "suggest", "status", "verify", "replay", "apply_held")
        given = [_shown(name) for name in commands if getattr(self, name)]
        if len(given) > 1:
            yield f"{', '.join(given[:-1])} and {given[-1]} exclude each other: give one of them."
        reading = [name for name in given if name not in {"`--replay`", "`--apply-held`"}]
        if self.dry_run and reading:
            yield f"{reading[0]} never changes anything: leave `--dry-run` out."
        if self.send is not None and given and given != ["`--check`"]:
            yield "`--send` goes with `--check` and `--dry-run` only: leave the other command out."
        readers = [*(["`--send`"] if self.send is not None else []), *(name for name in given if name != "`--suggest`")]
        if has_input and readers:
            yield f"{readers[0]} reads no Singer messages: leave `--input` out."
        if self.segment is not None and not self.apply_held:
            yield "`--segment` is of no use without `--apply-held`: add it."
        if self.json and not (self.status or self.verify):
            yield "`--json` is of no use without `--status` or `--verify`: add one of them."


def _shown(name: str) -> str:
    return f"`--{name.replace('_', '-')}`"


class TargetCommand(click.Command):
    """singer-sdk's command with our options, in groups."""

    def __init__(self, original: click.Command) -> None:
        """Copy singer-sdk's command; its `--input` is read like a pipe."""
        settings: dict[str, Any] = {**original.context_settings, "max_content_width": 100}
        super().__init__(
            original.name,
            context_settings=settings,
            callback=original.callback,
            params=[*original.params, *OWN],
            help=HELP,
            epilog=EXAMPLES,
        )
        self._original = original
        file_input = next(option for option in original.params if option.name == "file_input")
        # Bytes, so that invalid UTF-8 is an error of its line.
        file_input.type = click.File("rb")

    @override
    def invoke(self, ctx: click.Context) -> Any:
        return self._original.invoke(ctx)

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = {option.name: option for option in self.get_params(ctx)}
        for title, names in GROUPS.items():
            group = [options.pop(name) for name in names]
            records = [option.get_help_record(ctx) for option in (*group, *(options.values() if title == LAST else ()))]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record is not None])
