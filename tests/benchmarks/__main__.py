"""Measures the speed of `target-statsig` and of its alternatives on this machine.

uv run python -m tests.benchmarks                   events and start-up; about two minutes
uv run python -m tests.benchmarks --latency-ms 50   events, with a latency of 50 ms
uv run python -m tests.benchmarks --shapes          events of each shape, short runs, a rerun, and slow responses
uv run python -m tests.benchmarks --segments        ids of segments
uv run python -m tests.benchmarks --prepared        preparing requests, and sending up to 10,000,000 prepared events;
                                                    with `uv run --group spark`, preparing on Spark, too
uv run python -m tests.benchmarks --memory          time and memory from 50,000 to 5,000,000 events
uv run python -m tests.benchmarks --profile         the functions with the most processor time
uv run python -m tests.benchmarks --publish         all of docs/performance.md, its tables and its plots; 10 minutes
uv run python -m tests.benchmarks --redraw          the same from docs/performance.json, without measuring
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import figures, page, prepared, preparing, segments, shapes, speed
from tests.benchmarks.contenders import module
from tests.benchmarks.emulated import EmulatedStatsig
from tests.benchmarks.figures import Figures
from tests.benchmarks.loopback import CountingServer
from tests.benchmarks.speed import Setup
from tests.benchmarks.table import circumstances, machine
from tests.benchmarks.this_target import COMMAND, events_command

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (50_000, 500_000, 5_000_000)
PREPARED = (1_000_000, 10_000_000)

PUBLISHED_LATENCY_MS = 50
PUBLISHED_SEGMENT_ROUNDS = 2


def main() -> None:
    arguments = parse()
    if arguments.redraw:
        page.write(figures.load())
        return
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        cache_bytecode(folder / "bytecode")
        if arguments.segments:
            show("Segments", page.segments_table(segments.members(folder, rounds=arguments.rounds)))
        elif arguments.publish:
            measured = measure_all(folder, arguments.rounds, arguments.records, arguments.memory or SIZES)
            figures.save(measured)
            page.write(measured)
        elif arguments.prepared is not None:
            with CountingServer() as server:
                show_preparing_and_sending(Setup(server, folder), arguments)
        else:
            with EmulatedStatsig() as emulator:
                events(Setup(emulator, folder), arguments)


def measure_all(folder: Path, rounds: int, records: int, sizes: Sequence[int]) -> Figures:
    """Return the figures of the page; one round is enough for latency and for long runs."""
    with EmulatedStatsig() as emulator:
        setup = Setup(emulator, folder)
        rates = speed.rates(setup, rounds=rounds, records=records)
        late = speed.late(setup, PUBLISHED_LATENCY_MS, rounds=1, records=records // 2)
        shape_figures = shapes.measure(setup, rounds=rounds, records=records)
        by_size = speed.sizes(setup, sizes)
    members = segments.members(folder, rounds=min(rounds, PUBLISHED_SEGMENT_ROUNDS))
    return Figures(f"{datetime.now(tz=UTC):%-d %B %Y}", machine(), rates, late, by_size, shape_figures, members)


def cache_bytecode(folder: Path) -> None:
    """Let every command find compiled modules, as on a machine that ran it before."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def events(setup: Setup, arguments: argparse.Namespace) -> None:
    rounds, records = arguments.rounds, arguments.records
    if arguments.profile:
        profile(setup, records)
    elif arguments.shapes:
        shape_figures = shapes.measure(setup, rounds=rounds, records=records)
        sentences = "\n".join(page.shapes_sentences(shape_figures))
        show(
            f"Shapes: {records:,} events, medians of {rounds} rounds",
            f"{page.shapes_table(shape_figures)}\n\n{sentences}",
        )
    elif arguments.memory is not None:
        show("Time and memory by size", page.sizes_table(speed.sizes(setup, arguments.memory or SIZES)))
    elif arguments.latency_ms:
        late = speed.late(setup, arguments.latency_ms, rounds=rounds, records=records)
        show(f"{records:,} events of twelve columns; medians of {rounds} rounds", page.late_table(late))
    else:
        rates = speed.rates(setup, rounds=rounds, records=records)
        show(f"{records:,} events of twelve columns; medians of {rounds} rounds", page.rates_table(rates))
        show("Start-up", speed.startups(setup, rounds=rounds))


def show_preparing_and_sending(setup: Setup, arguments: argparse.Namespace) -> None:
    rounds, records, sizes = arguments.rounds, arguments.records, arguments.prepared or PREPARED
    prepares = preparing.table(setup, rounds=rounds, records=records)
    show(f"Preparing {records:,} rows, medians of {rounds} rounds", prepares)
    sends = prepared.table(setup, rounds=rounds, records=records, sizes=sizes)
    show(f"Prepared: {sizes[0]:,} events, medians of {rounds} rounds", sends)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--records", type=int, default=200_000, help="events of a long run (default: 200000)")
    parser.add_argument("--latency-ms", type=int, default=0, help="latency of every response in milliseconds")
    parser.add_argument("--shapes", action="store_true", help="measure shapes of events instead")
    parser.add_argument("--segments", action="store_true", help="measure segments instead")
    parser.add_argument("--prepared", type=int, nargs="*", metavar="EVENTS", help="send tables of these sizes instead")
    parser.add_argument("--memory", type=int, nargs="*", metavar="EVENTS", help="measure these sizes instead")
    parser.add_argument("--profile", action="store_true", help="profile this target instead")
    parser.add_argument("--publish", action="store_true", help="measure all that docs/performance.md shows")
    parser.add_argument("--redraw", action="store_true", help="write the page and its plots from docs/performance.json")
    return parser.parse_args()


def show(title: str, table: str) -> None:
    sys.stdout.write(f"\n{title} ({circumstances()}):\n\n{table}\n")
    sys.stdout.flush()


def profile(setup: Setup, records: int) -> None:
    command = events_command(setup.emulator.project, setup.folder)
    with setup.events(records).path.open("rb") as source:
        subprocess.run([*module("profiling"), *command[len(COMMAND) :]], stdin=source, check=True)


if __name__ == "__main__":
    main()
