"""Segments: the rate of added ids, and the time of mirrors with hardly any changes."""

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
class SegmentSetup:
    """The emulator and the folder of the runs."""

    emulator: EmulatedStatsig
    folder: Path

    def add(self, count: int, name: str) -> Usage:
        """Add ids to an empty segment."""
        usage = self._run(count, name, f"{count}-added", "add")
        self._check(f"{count}-added", count)
        return usage

    def mirror(self, count: int, name: str, *, scattered: bool = False) -> Usage:
        """Mirror the members of a segment twice, and return the usage of the second run.

        The first run reads the segment from Statsig.
        """
        self._run(count, name, str(count), "mirror", scattered=scattered)
        usage = self._run(count, name, str(count), "mirror", scattered=scattered)
        self._check(str(count), count)
        return usage

    def mirror_scattered(self, count: int, name: str) -> Usage:
        """Do the same with ids in no order."""
        return self.mirror(count, name, scattered=True)

    def mirror_grown(self, count: int, name: str) -> Usage:
        """Mirror one id more than Statsig has, in no order, so that all ids are sorted and compared."""
        self._run(count, name, str(count), "mirror", scattered=True)
        usage = self._run(count, name, str(count), "mirror", scattered=True, more=1)
        self._check(str(count), count + 1)
        return usage

    def read(self, count: int, _: str) -> Usage:
        """Only decode the messages."""
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
    """Return the figures without start-up, which runs with few ids measure."""
    seeds = {}
    for count in (FEW, MIRRORED):
        seeds[str(count)] = folder / f"{count}.txt"
        data.write_ids(seeds[str(count)], count)
    for count in (FEW, ADDED):
        seeds[f"{count}-added"] = folder / "nobody.txt"
    (folder / "nobody.txt").touch()
    works = (
        ("added to an empty segment", SegmentSetup.add, ADDED),
        ("mirrored, nothing to change", SegmentSetup.mirror, MIRRORED),
        ("mirrored likewise, in no order", SegmentSetup.mirror_scattered, MIRRORED),
        ("mirrored likewise, one of them new", SegmentSetup.mirror_grown, MIRRORED),
        ("only read and decoded", SegmentSetup.read, MIRRORED),
    )
    usages: dict[str, list[tuple[Usage, Usage]]] = {name: [] for name, *_ in works}
    for number in range(rounds):
        # Each round has a new emulator, since the previous round used up the quota of lists.
        with EmulatedStatsig(seeds) as emulator:
            setup = SegmentSetup(emulator, folder)
            if not number:
                setup.mirror(FEW, "first")  # no round includes compiling modules
            for name, work, count in works:
                usages[name].append((work(setup, FEW, str(number)), work(setup, count, str(number))))
    return [_work(name, count, usages[name]) for name, _, count in works]


def _work(name: str, count: int, usages: list[tuple[Usage, Usage]]) -> SegmentWork:
    seconds = median(many.seconds - few.seconds for few, many in usages)
    peak = max(many.peak_bytes for _, many in usages)
    return SegmentWork(f"{count:,} ids {name}", seconds, (count - FEW) / seconds, peak / MEGABYTE)
