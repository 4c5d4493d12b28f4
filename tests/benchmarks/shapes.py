"""What people send: events of each shape, short runs, a rerun, and the memory of slow answers."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks.contenders import PLAIN, THIS
from tests.benchmarks.data import Shape
from tests.benchmarks.emulated import EmulatedStatsig
from tests.benchmarks.figures import Rerun, ShapeRate, Shapes, ShortRun, SlowRun
from tests.benchmarks.speed import FEW, MEGABYTE, Course
from tests.benchmarks.this_target import events_command

if TYPE_CHECKING:
    from tests.benchmarks.measure import Usage

SHAPES = {
    Shape.ROWS: "flat rows of 12 columns",
    Shape.TRACKING: "nested tracking events",
    Shape.MAPPED: "flat rows through a stream map",
}

SHORT_RUNS = (10, 5_000)
SHORT_ROUNDS = 5

SLOW_RUNS = (50_000, 500_000)
SLOW_MS = 20

REMEMBERED_DAYS = 30
"""What a stream is told that is sent as a whole every time; else a STATE forgets what lies below its bookmark."""


def measure(course: Course, *, rounds: int, records: int) -> Shapes:
    """Return the figures; the first run of each contender, which compiles modules, is not in them."""
    for contender in (PLAIN, THIS):
        course.run(contender, course.events(FEW))
    return Shapes(
        records,
        rounds,
        rates=[_rate(course, shape, rounds=rounds, records=records) for shape in SHAPES],
        short=[_short(course, events) for events in SHORT_RUNS],
        rerun=_rerun(course, records, rounds=rounds),
        slow_milliseconds=SLOW_MS,
        slow=_slow(course),
    )


def _rate(course: Course, shape: Shape, *, rounds: int, records: int) -> ShapeRate:
    laps = [(course.lap(PLAIN, records, shape).rate, course.lap(THIS, records, shape).rate) for _ in range(rounds)]
    plain, ours = (median(rates) for rates in zip(*laps, strict=True))
    return ShapeRate(SHAPES[shape], plain, ours, median(ours / plain for plain, ours in laps))


def _short(course: Course, records: int) -> ShortRun:
    source = course.events(records)
    laps = [(course.run(PLAIN, source).seconds, course.run(THIS, source).seconds) for _ in range(SHORT_ROUNDS)]
    plain, ours = (median(seconds) for seconds in zip(*laps, strict=True))
    return ShortRun(records, plain, ours, median(plain / ours for plain, ours in laps))


def _rerun(course: Course, records: int, *, rounds: int) -> Rerun:
    laps = [_again(course, FEW) + _again(course, records) for _ in range(rounds)]
    ratio = median(
        (sent.seconds - few_sent.seconds) / (again.seconds - few_again.seconds)
        for few_sent, few_again, sent, again in laps
    )
    return Rerun(records, ratio, max(again.peak_bytes for *_, again in laps) / MEGABYTE)


def _again(course: Course, records: int) -> tuple[Usage, Usage]:
    """Send events, and send them again with the same store."""
    source = course.events(records)
    command = events_command(course.emulator.project, course.folder, dedupe_days=REMEMBERED_DAYS)
    return course.expect(source.arriving, command, source.path), course.expect(0, command, source.path)


def _slow(course: Course) -> list[SlowRun]:
    with EmulatedStatsig(late_ms=SLOW_MS) as emulator:
        slow = Course(emulator, course.folder)
        usages = {records: slow.run(THIS, slow.events(records)) for records in SLOW_RUNS}
    return [
        SlowRun(records, usage.main_peak_bytes / MEGABYTE, usage.peak_bytes / MEGABYTE)
        for records, usage in usages.items()
    ]
