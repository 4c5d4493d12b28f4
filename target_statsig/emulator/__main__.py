"""`statsig-emulator`: serve, run a command, show what arrived.

Joins the parts. Refuses to know HTTP and tables.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from target_statsig.emulator import cli, wrap
from target_statsig.emulator.options import Options
from target_statsig.emulator.server import StatsigEmulator
from target_statsig.emulator.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_statsig.emulator.dead_letters import Pile
    from target_statsig.emulator.faults import Faults
    from target_statsig.emulator.state import State

RICH_MISSING = "the tables need rich: pip install 'target-statsig[emulator]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; the process's own where none are given.

    Returns:
        The exit code: COMMAND's own, where there is one.
    """
    arguments = cli.parse(argv)
    try:
        import rich  # noqa: F401, PLC0415 - better said before COMMAND runs than after it
    except ModuleNotFoundError:
        return _fail(RICH_MISSING, 1)

    def prepare(state: State, faults: Faults) -> None:
        for seed in arguments.segments:
            state.seed_segment(seed.id, seed.ids, id_type=seed.id_type)
        for fault in arguments.faults:
            faults.add(fault)

    workplace = Workplace(Path(tempfile.mkdtemp(prefix="statsig-emulator-")))
    try:
        emulator = StatsigEmulator(
            Options(keep_events=arguments.keep_events), port=arguments.port, workplace=workplace, prepare=prepare
        )
        try:
            emulator.start()
        except OSError as error:
            return _fail(f"cannot listen on port {arguments.port}: {error.strerror}", 1)
        try:
            return _run(arguments, emulator)
        finally:
            emulator.close()
    finally:
        left = workplace.leave()
        if left is not None:
            sys.stderr.write(
                f"statsig-emulator: the dead letters stay in {left}; a target sends them again with --replay, and "
                f"TARGET_STATSIG_DEAD_LETTER_PATH set to that.\n"
            )


def _run(arguments: cli.Arguments, emulator: StatsigEmulator) -> int:
    variables = emulator.workplace.exports(emulator)
    code = 0
    if arguments.command:
        if arguments.keep:
            sys.stderr.write(f"statsig-emulator: {emulator.url}/ shows in a browser what arrives\n")
        sys.stdout.flush()
        try:
            code = wrap.run(arguments.command, variables)
        except FileNotFoundError:
            return _fail(f"{arguments.command[0]}: command not found", wrap.NOT_FOUND)
        except OSError as error:
            return _fail(f"{arguments.command[0]}: {error.strerror}", wrap.NOT_EXECUTABLE)
        _show(emulator)
    shown = emulator.state.requests[-1:]
    if (arguments.keep and code <= wrap.SIGNALLED) or not arguments.command:
        _serve(emulator, variables)
        if not arguments.command or emulator.state.requests[-1:] != shown:
            _show(emulator)
    if arguments.json:
        dead_letters = {reason: pile.count for reason, pile in _dead_letters(emulator).items()}
        content = emulator.state.to_json() | {"dead_letters": dead_letters, "exit_code": code}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    return code


def _serve(emulator: StatsigEmulator, variables: Mapping[str, str]) -> None:
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in wrap.FORWARDED}
    lines = [
        f"# A Statsig on {emulator.url}; Ctrl-C stops it and shows what arrived.",
        f"# To watch it arrive, open {emulator.url}/ in a browser.",
        "# To send something to it, paste these into another shell:",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    stop.wait()
    for number, handler in before.items():
        signal.signal(number, handler)


def _show(emulator: StatsigEmulator) -> None:
    from target_statsig.emulator.report import print_report  # noqa: PLC0415 - needs rich, an extra

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        print_report(emulator.state, _dead_letters(emulator), file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read along has gone, as in `| head`; the flush at the interpreter's end must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dead_letters(emulator: StatsigEmulator) -> dict[str, Pile]:
    dead_letters = emulator.workplace.dead_letters
    if dead_letters is None:
        return {}
    dead_letters.refresh()
    return dead_letters.piles()


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"statsig-emulator: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
