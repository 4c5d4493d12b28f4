"""Events per second of every contender, how long they take to start, and time and memory by size."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import data, measure, this_target
from tests.benchmarks.contenders import FORGETFUL, OTHERS, RUST_SDK, THIS, Contender, module
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
"""Records of the short run, which is all start-up; the long run's time less this one's is the records' own."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of so many records, of which so many are to arrive."""

    path: Path
    records: int
    shape: Shape
    arriving: int


@dataclass(frozen=True, slots=True)
class Lap:
    """A contender's figures in one round.

    Attributes:
        rate: Events per second, start-up taken off.
        processor: Seconds of processor time per event, start-up taken off.
        peak_bytes: Of the long run.
    """

    rate: float
    processor: float
    peak_bytes: int


class Course:
    """Where the contenders run: the data, written once, and the server that counts what arrives."""

    def __init__(self, emulator: EmulatedStatsig | CountingServer, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder

    def events(self, records: int, shape: Shape = Shape.ROWS) -> Source:
        """Return a file of so many events."""
        path = self.folder / f"{shape.value}-{records}.singer"
        if not path.exists():
            data.write_events(path, records, shape)
        return Source(path, records, shape, data.arriving(records, shape))

    def run(self, contender: Contender, source: Source) -> Usage:
        """Run a contender over a file.

        Raises:
            SystemExit: As for `expect`.
        """
        command = contender.command(self.emulator.project, self.folder, source.shape)
        return self.expect(source.arriving, command, source.path)

    def expect(self, arriving: int, command: Sequence[str], path: Path) -> Usage:
        """Run a command over a file.

        Raises:
            SystemExit: It failed, or fewer or more events arrived than are expected.
        """
        before = self.emulator.events()
        usage = measure.run(command, path)
        arrived = self.emulator.events() - before
        if arrived != arriving:
            sys.exit(f"{' '.join(command)}: {arrived:,} events arrived, not {arriving:,}")
        return usage

    def lap(self, contender: Contender, records: int, shape: Shape = Shape.ROWS) -> Lap:
        """Run a contender over a few records and over many, and take the start-up off."""
        few = self.events(FEW, shape)
        many = self.events(max(int(records * contender.share), 2 * FEW), shape)
        short, long = self.run(contender, few), self.run(contender, many)
        events = many.records - few.records
        return Lap(
            rate=events / (long.seconds - short.seconds),
            processor=(long.processor_seconds - short.processor_seconds) / events,
            peak_bytes=long.peak_bytes,
        )


def rates(course: Course, *, rounds: int, records: int) -> Rates:
    """Return the rates; the contenders take turns, so that a slow minute of the machine meets them all."""
    laps: dict[Contender, list[Lap]] = {contender: [] for contender in (*OTHERS, FORGETFUL, THIS)}
    for contender in laps:
        course.run(contender, course.events(FEW))  # nobody's first lap includes compiling modules
    for _ in range(rounds):
        for contender, found in laps.items():
            found.append(course.lap(contender, records))
    ours = [lap.rate for lap in laps[THIS]]
    return Rates(
        records,
        rounds,
        [
            Rate(
                contender.name,
                median(lap.rate for lap in found),
                None if contender in {THIS, FORGETFUL} else _ratio(ours, found),
                median(lap.processor for lap in found) * 1e6,
                max(lap.peak_bytes for lap in found) / MEGABYTE,
            )
            for contender, found in laps.items()
        ],
    )


def late(course: Course, milliseconds: int, *, rounds: int, records: int) -> Late:
    """Return the rates where every answer is late; without the Rust SDK, which drops events when many wait."""
    laps = {contender: [] for contender in (*OTHERS, FORGETFUL, THIS) if contender is not RUST_SDK}
    with EmulatedStatsig(late_ms=milliseconds) as emulator:
        late_course = Course(emulator, course.folder)
        for _ in range(rounds):
            for contender, found in laps.items():
                found.append(late_course.lap(contender, records).rate)
    return Late(milliseconds, [LateRate(contender.name, median(found)) for contender, found in laps.items()])


def _ratio(ours: Sequence[float], theirs: Sequence[Lap]) -> float:
    return median(our_rate / lap.rate for our_rate, lap in zip(ours, theirs, strict=True))


def startups(course: Course, *, rounds: int) -> str:
    """Return the table of what it takes to say a version, and what the settings are."""
    nothing = course.folder / "nothing"
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


def sizes(course: Course, records: Sequence[int]) -> list[Size]:
    """Return time and memory by the number of events; a file is gone once it was read."""
    found = []
    for count in records:
        source = course.events(count)
        usage = course.run(THIS, source)
        source.path.unlink()
        found.append(Size(count, usage.seconds, usage.peak_bytes / MEGABYTE))
    return found
