"""How fast is it? Measures `target-statsig` against what people would use instead, on this machine.

uv run python -m tests.benchmarks                   events and start-up; under three minutes
uv run python -m tests.benchmarks --latency-ms 50   events, every answer 50 ms late
uv run python -m tests.benchmarks --shapes          what people send, small and large: one table
uv run python -m tests.benchmarks --segments        ids of segments
uv run python -m tests.benchmarks --prepared        a table of prepared requests, from 1,000,000 to 10,000,000 events
uv run python -m tests.benchmarks --memory          time and memory from 50,000 to 5,000,000 events
uv run python -m tests.benchmarks --profile         where the time goes
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import prepared, segments, shapes, speed
from tests.benchmarks.contenders import module
from tests.benchmarks.emulated import EmulatedStatsig
from tests.benchmarks.speed import Course
from tests.benchmarks.table import circumstances
from tests.benchmarks.this_target import COMMAND, events_command

SIZES = (50_000, 500_000, 5_000_000)
PREPARED = (1_000_000, 10_000_000)


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        cache_bytecode(folder / "bytecode")
        if arguments.segments:
            show("Segments", segments.members(folder, rounds=arguments.rounds))
        else:
            with EmulatedStatsig() as emulator:
                events(Course(emulator, folder), arguments)


def cache_bytecode(folder: Path) -> None:
    """Let every command find compiled modules, as on a machine that ran it before, whatever the environment says."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def events(course: Course, arguments: argparse.Namespace) -> None:
    if arguments.profile:
        profile(course, arguments.records)
    elif arguments.shapes:
        table = shapes.table(course, rounds=arguments.rounds, records=arguments.records, known=arguments.known)
        show(f"Shapes: {arguments.records:,} events, medians of {arguments.rounds} rounds", table)
    elif arguments.prepared is not None:
        sizes = arguments.prepared or PREPARED
        table = prepared.table(course, rounds=arguments.rounds, records=arguments.records, sizes=sizes)
        show(f"Prepared: {sizes[0]:,} events, medians of {arguments.rounds} rounds", table)
    elif arguments.memory is not None:
        show("Time and memory by size", speed.sizes(course, arguments.memory or SIZES))
    else:
        course.emulator.delay(arguments.latency_ms)
        late = f", every answer {arguments.latency_ms} ms late" if arguments.latency_ms else ""
        table = speed.rates(course, rounds=arguments.rounds, records=arguments.records)
        show(f"{arguments.records:,} events of twelve columns{late}; medians of {arguments.rounds} rounds", table)
        show("Start-up", speed.startups(course, rounds=arguments.rounds))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everybody runs (default: 3)")
    parser.add_argument("--records", type=int, default=200_000, help="events of a long run (default: 200000)")
    parser.add_argument("--latency-ms", type=int, default=0, help="milliseconds that every answer is late")
    parser.add_argument("--shapes", action="store_true", help="measure what people send instead")
    parser.add_argument("--known", type=int, default=300_000, help="events of the rerun of --shapes (default: 300000)")
    parser.add_argument("--segments", action="store_true", help="measure segments instead")
    parser.add_argument("--prepared", type=int, nargs="*", metavar="EVENTS", help="send tables of these sizes instead")
    parser.add_argument("--memory", type=int, nargs="*", metavar="EVENTS", help="measure these sizes instead")
    parser.add_argument("--profile", action="store_true", help="profile this target instead")
    return parser.parse_args()


def show(title: str, table: str) -> None:
    sys.stdout.write(f"\n{title} ({circumstances()}):\n\n{table}\n")
    sys.stdout.flush()


def profile(course: Course, records: int) -> None:
    command = events_command(course.emulator.project, course.folder)
    with course.events(records).path.open("rb") as source:
        subprocess.run([*module("profiling"), *command[len(COMMAND) :]], stdin=source, check=True)


if __name__ == "__main__":
    main()
