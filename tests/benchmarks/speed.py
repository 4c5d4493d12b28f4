"""Events per second of every contender, how long they take to start, and time and memory by size."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import data, measure, this_target
from tests.benchmarks.contenders import OTHERS, RUST_SDK, THIS, THIS_WITHOUT_DEDUPE, Contender, module
from tests.benchmarks.data import Shape
from tests.benchmarks.emulated import EmulatedStatsig
from tests.benchmarks.figures import Late, LateRate, Rate, Rates, Size
from tests.benchmarks.table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.loopback import CountingServer
    from tests.benchmarks.measure import Usage

MEGABYTE = 1_000_000

FEW = 2_000
"""Records of the short run, which is mostly start-up; its time is subtracted from that of the long run."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of records, and the number of events that it should become."""

    path: Path
    records: int
    shape: Shape
    expected: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A contender's figures in one round.

    Attributes:
        rate: Events per second, without start-up.
        processor: Seconds of processor time per event, without start-up.
        peak_bytes: The most memory of the long run.
    """

    rate: float
    processor: float
    peak_bytes: int


class Setup:
    """The input files, each written once, and the server that counts the events."""

    def __init__(self, emulator: EmulatedStatsig | CountingServer, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder

    def events(self, records: int, shape: Shape = Shape.ROWS) -> Source:
        """Return a file of events."""
        path = self.folder / f"{shape.value}-{records}.singer"
        if not path.exists():
            data.write_events(path, records, shape)
        return Source(path, records, shape, data.expected_events(records, shape))

    def run(self, contender: Contender, source: Source) -> Usage:
        """Run a contender over a file.

        Raises:
            SystemExit: As for `expect`.
        """
        command = contender.command(self.emulator.project, self.folder, source.shape)
        return self.expect(source.expected, command, source.path)

    def expect(self, expected: int, command: Sequence[str], path: Path) -> Usage:
        """Run a command over a file.

        Raises:
            SystemExit: It failed, or fewer or more events arrived than are expected.
        """
        before = self.emulator.events()
        usage = measure.run(command, path)
        sent = self.emulator.events() - before
        if sent != expected:
            sys.exit(f"{' '.join(command)}: {sent:,} events arrived, not {expected:,}")
        return usage

    def measure_rates(self, contender: Contender, records: int, shape: Shape = Shape.ROWS) -> Measured:
        """Run a contender on few records and on many, and return the difference."""
        few = self.events(FEW, shape)
        many = self.events(max(int(records * contender.share), 2 * FEW), shape)
        short, long = self.run(contender, few), self.run(contender, many)
        events = many.records - few.records
        return Measured(
            rate=events / (long.seconds - short.seconds),
            processor=(long.processor_seconds - short.processor_seconds) / events,
            peak_bytes=long.peak_bytes,
        )


def rates(setup: Setup, *, rounds: int, records: int) -> Rates:
    """Return the rates; the contenders take turns, so that a slow minute of the machine affects all."""
    measured: dict[Contender, list[Measured]] = {contender: [] for contender in (*OTHERS, THIS_WITHOUT_DEDUPE, THIS)}
    for contender in measured:
        setup.run(contender, setup.events(FEW))  # so that no measured run compiles modules
    for _ in range(rounds):
        for contender, found in measured.items():
            found.append(setup.measure_rates(contender, records))
    ours = [measure_rates.rate for measure_rates in measured[THIS]]
    return Rates(
        records,
        rounds,
        [
            Rate(
                contender.name,
                median(measure_rates.rate for measure_rates in found),
                None if contender in {THIS, THIS_WITHOUT_DEDUPE} else _ratio(ours, found),
                median(measure_rates.processor for measure_rates in found) * 1e6,
                max(measure_rates.peak_bytes for measure_rates in found) / MEGABYTE,
            )
            for contender, found in measured.items()
        ],
    )


def late(setup: Setup, milliseconds: int, *, rounds: int, records: int) -> Late:
    """Return the rates with latency, without the Rust SDK, which drops events when many wait."""
    measured = {contender: [] for contender in (*OTHERS, THIS_WITHOUT_DEDUPE, THIS) if contender is not RUST_SDK}
    with EmulatedStatsig(latency_ms=milliseconds) as emulator:
        late_setup = Setup(emulator, setup.folder)
        for _ in range(rounds):
            for contender, found in measured.items():
                found.append(late_setup.measure_rates(contender, records).rate)
    return Late(milliseconds, [LateRate(contender.name, median(found)) for contender, found in measured.items()])


def _ratio(ours: Sequence[float], theirs: Sequence[Measured]) -> float:
    return median(our_rate / measure_rates.rate for our_rate, measure_rates in zip(ours, theirs, strict=True))


def startups(setup: Setup, *, rounds: int) -> str:
    """Return the table of start-up times, with `--version` and `--about`."""
    nothing = setup.folder / "nothing"
    nothing.touch()
    commands = {"a plain singer-sdk target": module("plain_target"), THIS.name: list(this_target.COMMAND)}
    rows = []
    for name, command in commands.items():
        seconds = [
            median(measure.run([*command, flag], nothing).seconds for _ in range(rounds))
            for flag in ("--version", "--about")
        ]
        rows.append([name, *(f"{each:.2f} s" for each in seconds)])
    return markdown(["", "`--version`", "`--about`"], rows)


def sizes(setup: Setup, records: Sequence[int]) -> list[Size]:
    """Return time and memory by the number of events; each file is deleted after its run."""
    found = []
    for count in records:
        source = setup.events(count)
        usage = setup.run(THIS, source)
        source.path.unlink()
        found.append(Size(count, usage.seconds, usage.peak_bytes / MEGABYTE))
    return found
