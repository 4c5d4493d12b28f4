"""The first tables: events per second of every contender, and how long they take to start."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import data, measure, this_target
from tests.benchmarks.contenders import FORGETFUL, OTHERS, THIS, Contender, module
from tests.benchmarks.data import Shape
from tests.benchmarks.table import markdown, megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.emulated import EmulatedStatsig
    from tests.benchmarks.measure import Usage

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
        startup: Seconds of the short run.
        peak_bytes: Of the long run.
    """

    rate: float
    processor: float
    startup: float
    peak_bytes: int


class Course:
    """Where the contenders run: the data, written once, and the emulator that counts what arrives."""

    def __init__(self, emulator: EmulatedStatsig, folder: Path) -> None:
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
            startup=short.seconds,
            peak_bytes=long.peak_bytes,
        )


def rates(course: Course, *, rounds: int, records: int) -> str:
    """Return the table of rates; the contenders take turns, so that a slow minute of the machine meets them all."""
    laps: dict[Contender, list[Lap]] = {contender: [] for contender in (*OTHERS, FORGETFUL, THIS)}
    for contender in laps:
        course.run(contender, course.events(FEW))  # nobody's first lap includes compiling modules
    for _ in range(rounds):
        for contender, found in laps.items():
            found.append(course.lap(contender, records))
    ours = [lap.rate for lap in laps[THIS]]
    return markdown(
        ["", "events/s", "target-statsig is", "processor time an event", "time for the first 2,000", "peak memory"],
        [
            [
                contender.name,
                f"{median(lap.rate for lap in found):,.0f}",
                "" if contender is THIS else f"{_ratio(ours, found):.2f} times as fast",
                f"{median(lap.processor for lap in found) * 1e6:.1f} µs",
                f"{median(lap.startup for lap in found):.2f} s",
                megabytes(max(lap.peak_bytes for lap in found)),
            ]
            for contender, found in laps.items()
        ],
    )


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


def sizes(course: Course, records: Sequence[int]) -> str:
    """Return the table of time and memory by the number of events; a file is gone once it was read."""
    rows = []
    for count in records:
        source = course.events(count)
        usage = course.run(THIS, source)
        source.path.unlink()
        rows.append(
            [f"{count:,}", f"{usage.seconds:.1f} s", f"{count / usage.seconds:,.0f}", megabytes(usage.peak_bytes)]
        )
    return markdown(["events", "time", "events/s", "peak memory"], rows)
