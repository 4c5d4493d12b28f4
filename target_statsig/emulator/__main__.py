"""`statsig-emulator`: serve, run a command, show what arrived."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, get_args

import click
import msgspec

from target_statsig.emulator.faults import Fault
from target_statsig.emulator.item_log import KeepEvents
from target_statsig.emulator.server import DEAD_LETTERS, StatsigEmulator, empty
from target_statsig.emulator.state import Options, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SIGNALLED = 128
"""A shell adds this to the number of the signal that ended a command."""

_GRACE_SECONDS = 2.0
"""Seconds that processes which the command left running may take to end after SIGTERM."""

EXAMPLES = """\
\b
Examples:
  try out a Meltano pipeline
    statsig-emulator meltano run tap-postgres target-statsig

\b
  the same, with the step that removes the members that mirrors held
    statsig-emulator meltano run tap-postgres target-statsig statsig:apply-held

\b
  a pipe, as one quoted line for the shell (--config ENV lets the target read the variables)
    statsig-emulator 'tap-csv --config tap.json | target-statsig --config ENV'

\b
  a segment that has members already, and an empty one of stable IDs
    statsig-emulator --segment vip_users=ids.txt --segment beta:stableID meltano run ...

\b
  two failed requests: faults.json holds {"path": "/v1/*", "status": 503, "times": 2}
    statsig-emulator --faults faults.json meltano run ...

Exit status: that of COMMAND; 128 plus the signal's number if a signal ended it; 127 if it is not found.
"""


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror}"
        raise click.BadParameter(msg) from error


def _segment(text: str) -> Segment:
    name, has_file, file = text.partition("=")
    segment_id, has_type, id_type = name.partition(":")
    if not segment_id or (has_type and not id_type) or (has_file and not file):
        msg = f"{text!r} is not ID[:ID_TYPE][=FILE]"
        raise click.BadParameter(msg)
    try:
        lines = map(str.strip, _read(file).decode().splitlines()) if has_file else ()
    except UnicodeDecodeError as error:
        msg = f"{file} is not UTF-8"
        raise click.BadParameter(msg) from error
    return Segment(segment_id, ids=set(filter(None, lines)), id_type=id_type or "userID")


def _faults(file: str) -> list[Fault]:
    try:
        faults: Fault | list[Fault] = msgspec.json.decode(_read(file), type=Fault | list[Fault])
    except msgspec.DecodeError as error:
        msg = f"{file}: {error}"
        raise click.BadParameter(msg) from error
    return faults if isinstance(faults, list) else [faults]


@click.command(
    "statsig-emulator",
    context_settings={"allow_interspersed_args": False, "max_content_width": 100},
    options_metavar="[OPTIONS] [--]",
    epilog=EXAMPLES,
)
@click.option(
    "--segment",
    "segments",
    metavar="ID[:ID_TYPE][=FILE]",
    type=_segment,
    multiple=True,
    help="Start with this segment. FILE has one id per line; ID_TYPE is userID by default (repeatable).",
)
@click.option("--keep", is_flag=True, help="Keep serving after COMMAND, until Ctrl-C, and print the page's address.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="The port on 127.0.0.1 (default: a free one).")
@click.option(
    "--json",
    "output",
    metavar="FILE",
    type=click.File("wb", lazy=False),  # opened before COMMAND runs: what arrived shall not be lost in the end
    help="Write everything that arrived to FILE, as JSON.",
)
@click.option(
    "--keep-events",
    type=click.Choice(get_args(KeepEvents)),
    help="Keep all events, the first of each name, or only count them, which needs little memory and time "
    "(default: all with --json, with --keep and without COMMAND, else samples).",
)
@click.option(
    "--faults",
    metavar="FILE",
    type=_faults,
    help="Switch on the faults in FILE: a JSON object, or a list of them, with any of the members "
    f"{', '.join(Fault.__struct_fields__)}.",
)
@click.argument("command", metavar="[COMMAND ...]", nargs=-1, type=click.UNPROCESSED)
def main(
    *,
    segments: Sequence[Segment],
    keep: bool,
    port: int,
    output: BinaryIO | None,
    keep_events: KeepEvents | None,
    faults: Sequence[Fault] | None,
    command: Sequence[str],
) -> None:
    """A Statsig on this machine, for trying out what a pipeline would send.

    It takes events, exposures, metrics and segment members as Statsig does, shows what arrived, and forgets it. It
    needs no Statsig project and touches none.

    COMMAND runs with TARGET_STATSIG_EVENTS_URL, _CONSOLE_URL and throw-away keys set. It has its own store, dead
    letters and Meltano state, so no real bookmark moves. A target without --config ENV, which would send to Statsig,
    refuses to run. Without COMMAND the emulator serves until Ctrl-C and prints the variables to paste. While it serves,
    its address shows in a browser what arrives.
    """
    try:
        import rich  # noqa: F401, PLC0415 - reported before COMMAND runs, not after it
    except ModuleNotFoundError:
        _fail("the tables need rich: pip install 'target-statsig[emulator]'", 1)

    options = Options(keep_events=keep_events or ("all" if output or keep or not command else "samples"))
    with _folder() as folder:
        emulator = StatsigEmulator(options, port=port, folder=folder, segments=segments, faults=faults or ())
        try:
            emulator.start()
        except OSError as error:
            _fail(f"cannot listen on port {port}: {error.strerror}", 1)
        try:
            code = _run(emulator, command, keep=keep)
            if output:
                dead_letters = {reason: tally.count for reason, tally in emulator.dead_letters.tallies().items()}
                content = emulator.state.to_json() | {"dead_letters": dead_letters, "exit_code": code}
                output.write(msgspec.json.format(msgspec.json.encode(content)))
        finally:
            emulator.close()
    sys.exit(code)


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder for the target's files; afterwards remove all of them but the dead letters, if there are any."""
    folder = Path(tempfile.mkdtemp(prefix="statsig-emulator-"))
    letters = folder / DEAD_LETTERS
    try:
        yield folder
    finally:
        if letters.is_dir() and any(letters.iterdir()):
            empty(folder, but=letters)
            sys.stderr.write(
                f"statsig-emulator: the dead letters are in {letters}. To send them again, set "
                f"TARGET_STATSIG_DEAD_LETTER_PATH to that folder and use --replay.\n"
            )
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(emulator: StatsigEmulator, command: Sequence[str], *, keep: bool) -> int:
    """Run the command, serve where that is asked for, show what arrived; return the exit code."""
    code = 0
    if command:
        if keep:
            sys.stderr.write(f"statsig-emulator: {emulator.url}/ shows what arrives, in a browser\n")
        sys.stdout.flush()
        try:
            code = run_command(command, emulator.exports)
        except FileNotFoundError:
            _fail(f"{command[0]}: command not found", 127)  # a shell's code for it
        except OSError as error:
            _fail(f"{command[0]}: {error.strerror}", 126)  # a shell's code for it
        _show(emulator, failed=code != 0)
    if not command or (keep and code <= SIGNALLED):
        shown = emulator.state.requests[-1:]
        _serve(emulator)
        if not command or emulator.state.requests[-1:] != shown:
            _show(emulator)
    return code


def _serve(emulator: StatsigEmulator) -> None:
    lines = [
        f"# A Statsig on {emulator.url}; Ctrl-C stops it and shows what arrived.",
        f"# To watch it arrive, open {emulator.url}/ in a browser.",
        "# To send something to it, paste these into another shell:",
        *(f"export {name}={shlex.quote(value)}" for name, value in emulator.exports.items()),
    ]
    stop = threading.Event()
    with _handling(lambda _: stop.set()):
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        stop.wait()


def _show(emulator: StatsigEmulator, *, failed: bool = False) -> None:
    from target_statsig.emulator.report import print_report  # noqa: PLC0415 - needs rich, an extra

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        print_report(emulator.state, emulator.dead_letters.tallies(), failed=failed, file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does; the flush at the interpreter's end must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"statsig-emulator: {message}\n")
    sys.exit(code)


def run_command(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a command to its end, with this process's input and output.

    It runs in its own session, to which this process forwards signals, so that each process of a pipeline gets a signal
    once. A single argument with blanks is a line for the shell.

    Returns:
        The exit code, or 128 plus the number of the signal that ended it.

    Raises:
        OSError: The command cannot be started.
    """
    if len(command) == 1 and len(command[0].split()) > 1 and shutil.which(command[0]) is None:
        command = ("/bin/sh", "-c", command[0])
    received: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def forward(number: int) -> None:
        if process is None:
            received.append(number)
        else:
            _signal_group(process.pid, number)

    with _handling(forward):
        process = subprocess.Popen(command, env=os.environ | variables, start_new_session=True)  # noqa: S603 - what the user typed
        for number in received:
            _signal_group(process.pid, number)
        code = process.wait()
        _end_group(process.pid)
    return code if code >= 0 else SIGNALLED - code


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether the group exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _end_group(group: int) -> None:
    """End processes that the command left running, or that a signal has not ended yet."""
    deadline, number = time.monotonic() + _GRACE_SECONDS, int(signal.SIGTERM)
    while _signal_group(group, number) and time.monotonic() < deadline:
        time.sleep(0.02)
        number = 0
    _signal_group(group, signal.SIGKILL)


@contextmanager
def _handling(handle: Callable[[int], object]) -> Iterator[None]:
    """Handle signals by their numbers."""
    before = {number: signal.signal(number, lambda number, _: handle(number)) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
