"""The command line of `statsig-emulator`: its options and its help.

Knows words. Refuses to know what is done with them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from target_statsig.emulator.faults import Fault, decode_faults
from target_statsig.emulator.options import KeepEvents

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
A Statsig on this machine, for trying out what a pipeline would send: it takes events, exposures,
metrics and segment members as Statsig does, shows what arrived, and forgets it. No Statsig project is
needed or touched.

COMMAND runs with TARGET_STATSIG_EVENTS_URL, _CONSOLE_URL and throw-away keys set, and with a store, dead
letters and Meltano state of its own, so that no real bookmark moves; a target that would send to Statsig
all the same, for want of --config ENV, refuses to run. Without COMMAND it serves until Ctrl-C and prints
the variables to paste. As long as it serves, its address shows in a browser what arrives.
"""

EXAMPLES = """\
examples:
  try out a Meltano pipeline
    statsig-emulator meltano run tap-postgres target-statsig

  the same, and the step that removes from mirrors whom they held for want of a proof
    statsig-emulator meltano run tap-postgres target-statsig statsig:apply-held

  a pipe, as one quoted line for the shell (the target needs --config ENV to see the variables)
    statsig-emulator 'tap-csv --config tap.json | target-statsig --config ENV'

  a segment that has members already, and an empty one of stable IDs
    statsig-emulator --segment vip_users=ids.txt --segment beta:stableID meltano run ...

  a Statsig that is down twice: faults.json holds {"path": "/v1/*", "status": 503, "times": 2}
    statsig-emulator --faults faults.json meltano run ...

exit status: COMMAND's own; 128 and the signal's number where a signal ended it; 127 where it is not found.
"""


@dataclass(frozen=True, slots=True)
class SegmentSeed:
    """A segment to begin with, as `--segment ID[:ID_TYPE][=FILE]` names it."""

    id: str
    id_type: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for on the command line."""

    command: tuple[str, ...]
    keep: bool
    port: int
    segments: tuple[SegmentSeed, ...]
    faults: tuple[Fault, ...]
    json: Path | None
    keep_events: KeepEvents


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Return the arguments; with `--help` or a mistake, end with argparse's own text.

    Raises:
        SystemExit: From argparse.
    """
    parser = argparse.ArgumentParser(
        prog="statsig-emulator",
        usage="%(prog)s [OPTIONS] [--] [COMMAND ...]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--segment",
        metavar="ID[:ID_TYPE][=FILE]",
        type=_segment,
        action="append",
        default=[],
        help="begin with this segment; FILE has one id a line, ID_TYPE is userID by default (repeatable)",
    )
    add("--keep", action="store_true", help="go on serving after COMMAND, until Ctrl-C; tells the page's address")
    add("--port", type=int, default=0, help="the port on 127.0.0.1 (default: a free one)")
    add("--json", metavar="FILE", type=Path, help="write everything that arrived to FILE, as JSON")
    add(
        "--keep-events",
        choices=get_args(KeepEvents),
        help="keep all events, the first of each name, or only count them, which takes next to no memory or time "
        "(default: all where --json or --keep or a missing COMMAND lets you look at them, else samples)",
    )
    add("--faults", metavar="FILE", type=_faults, default=(), help="switch on the faults in FILE (JSON)")
    add("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command to run")
    found = parser.parse_args(argv)
    command = found.command[1:] if found.command[:1] == ["--"] else found.command
    looked_at = found.json or found.keep or not command
    return Arguments(
        command=tuple(command),
        keep=found.keep,
        port=found.port,
        segments=tuple(found.segment),
        faults=tuple(found.faults),
        json=found.json,
        keep_events=found.keep_events or ("all" if looked_at else "samples"),
    )


def _segment(text: str) -> SegmentSeed:
    name, has_file, file = text.partition("=")
    segment_id, has_type, id_type = name.partition(":")
    if not segment_id or (has_type and not id_type) or (has_file and not file):
        msg = f"{text!r} is not ID[:ID_TYPE][=FILE]"
        raise argparse.ArgumentTypeError(msg)
    lines = _read(file).decode().splitlines() if has_file else []
    ids = tuple(stripped for line in lines if (stripped := line.strip()))
    return SegmentSeed(segment_id, id_type or "userID", ids)


def _faults(file: str) -> Sequence[Fault]:
    try:
        return decode_faults(_read(file))
    except msgspec.DecodeError as error:
        msg = f"{file}: {error}"
        raise argparse.ArgumentTypeError(msg) from error


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from error
