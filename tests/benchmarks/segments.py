"""Segments: how fast ids are taken in, and what a mirror costs that changes nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks import data, measure, this_target
from tests.benchmarks.contenders import module
from tests.benchmarks.emulated import EmulatedStatsig
from tests.benchmarks.figures import SegmentWork
from tests.benchmarks.speed import FEW, MEGABYTE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Usage

ADDED = 1_000_000
MIRRORED = 1_000_000


@dataclass(frozen=True, slots=True)
class Course:
    """Where the runs take place."""

    emulator: EmulatedStatsig
    folder: Path

    def add(self, count: int, name: str) -> Usage:
        """Add ids to an empty segment."""
        usage = self._run(count, name, f"{count}-added", "add")
        self._check(f"{count}-added", count)
        return usage

    def mirror(self, count: int, name: str, *, scattered: bool = False) -> Usage:
        """Mirror twice what Statsig has already, and return what the second time took.

        The first time the target gets to know the segment.
        """
        self._run(count, name, str(count), "mirror", scattered=scattered)
        usage = self._run(count, name, str(count), "mirror", scattered=scattered)
        self._check(str(count), count)
        return usage

    def mirror_scattered(self, count: int, name: str) -> Usage:
        """Do the same with ids that come in no order."""
        return self.mirror(count, name, scattered=True)

    def mirror_grown(self, count: int, name: str) -> Usage:
        """Mirror one id more than Statsig has, in no order, so that all of them have to be sorted and compared."""
        self._run(count, name, str(count), "mirror", scattered=True)
        usage = self._run(count, name, str(count), "mirror", scattered=True, more=1)
        self._check(str(count), count + 1)
        return usage

    def read(self, count: int, _: str) -> Usage:
        """Decode the messages and do nothing with them."""
        return measure.run(module("reading"), self._messages(count))

    def _messages(self, count: int, *, scattered: bool = False) -> Path:
        path = self.folder / f"members-{count}{'-scattered' * scattered}.singer"
        if not path.exists():
            data.write_members(path, count, scattered=scattered)
        return path

    def _run(
        self, count: int, name: str, segment_id: str, sync_mode: str, *, scattered: bool = False, more: int = 0
    ) -> Usage:
        folder = self.folder / f"{sync_mode}-{name}-{count}"
        command = this_target.members_command(self.emulator.project, folder, segment_id, sync_mode)
        return measure.run(command, self._messages(count + more, scattered=scattered))

    def _check(self, segment_id: str, count: int) -> None:
        found = self.emulator.members(segment_id)
        if found != count:
            sys.exit(f"The segment has {found:,} members instead of {count:,}")


def members(folder: Path, *, rounds: int) -> list[SegmentWork]:
    """Return the figures; the start-up is taken off by runs with few ids."""
    seeds = {}
    for count in (FEW, MIRRORED):
        seeds[str(count)] = folder / f"{count}.txt"
        data.write_ids(seeds[str(count)], count)
    for count in (FEW, ADDED):
        seeds[f"{count}-added"] = folder / "nobody.txt"
    (folder / "nobody.txt").touch()
    works = (
        ("added to an empty segment", Course.add, ADDED),
        ("mirrored, nothing to change", Course.mirror, MIRRORED),
        ("mirrored likewise, in no order", Course.mirror_scattered, MIRRORED),
        ("mirrored likewise, one of them new", Course.mirror_grown, MIRRORED),
        ("only read and decoded", Course.read, MIRRORED),
    )
    laps: dict[str, list[tuple[Usage, Usage]]] = {what: [] for what, *_ in works}
    for number in range(rounds):
        # A Statsig of its own: the quota of its lists would be used up by the round before.
        with EmulatedStatsig(seeds) as emulator:
            course = Course(emulator, folder)
            if not number:
                course.mirror(FEW, "first")  # no round includes compiling modules
            for what, work, count in works:
                laps[what].append((work(course, FEW, str(number)), work(course, count, str(number))))
    return [_work(what, count, laps[what]) for what, _, count in works]


def _work(what: str, count: int, laps: list[tuple[Usage, Usage]]) -> SegmentWork:
    seconds = median(many.seconds - few.seconds for few, many in laps)
    peak = max(many.peak_bytes for _, many in laps)
    return SegmentWork(f"{count:,} ids {what}", seconds, (count - FEW) / seconds, peak / MEGABYTE)
