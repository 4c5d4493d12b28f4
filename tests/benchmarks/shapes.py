"""The table of what people send: events of each shape, short runs, a rerun, and the memory of slow answers."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks.contenders import PLAIN, THIS
from tests.benchmarks.data import Shape
from tests.benchmarks.speed import FEW
from tests.benchmarks.table import markdown, megabytes
from tests.benchmarks.this_target import events_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.measure import Usage
    from tests.benchmarks.speed import Course

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


def table(course: Course, *, rounds: int, records: int, known: int) -> str:
    """Return the table; the first run of each contender, which compiles modules, is not in it."""
    for contender in (PLAIN, THIS):
        course.run(contender, course.events(FEW))
    rows = [
        *(_rates(course, shape, rounds=rounds, records=records) for shape in SHAPES),
        *(_seconds(course, records) for records in SHORT_RUNS),
        *_rerun(course, known, rounds=rounds),
        *_memory(course),
    ]
    return markdown(["", PLAIN.name, THIS.name, "times as fast"], rows)


def _rates(course: Course, shape: Shape, *, rounds: int, records: int) -> Sequence[str]:
    laps = [(course.lap(PLAIN, records, shape).rate, course.lap(THIS, records, shape).rate) for _ in range(rounds)]
    plain, ours = (median(rates) for rates in zip(*laps, strict=True))
    ratio = median(ours / plain for plain, ours in laps)
    return [f"{SHAPES[shape]}, events/s", f"{plain:,.0f}", f"{ours:,.0f}", f"{ratio:.2f}"]


def _seconds(course: Course, records: int) -> Sequence[str]:
    source = course.events(records)
    laps = [(course.run(PLAIN, source).seconds, course.run(THIS, source).seconds) for _ in range(SHORT_ROUNDS)]
    plain, ours = (median(seconds) for seconds in zip(*laps, strict=True))
    ratio = median(plain / ours for plain, ours in laps)
    return [f"a run of {records:,} events", f"{plain:.2f} s", f"{ours:.2f} s", f"{ratio:.2f}"]


def _rerun(course: Course, records: int, *, rounds: int) -> Iterator[Sequence[str]]:
    laps = [_again(course, FEW) + _again(course, records) for _ in range(rounds)]
    ratio = median(
        (sent.seconds - few_sent.seconds) / (again.seconds - few_again.seconds)
        for few_sent, few_again, sent, again in laps
    )
    peak = max(again.peak_bytes for *_, again in laps)
    what = f"a rerun of {records:,} known events"
    yield [f"{what}: its rate, that of sending them being 1", "", f"{ratio:.2f}", ""]
    yield [f"{what}: peak memory", "", megabytes(peak), ""]


def _again(course: Course, records: int) -> tuple[Usage, Usage]:
    """Send events, and send them again with the same store."""
    source = course.events(records)
    command = events_command(course.emulator.project, course.folder, dedupe_days=REMEMBERED_DAYS)
    return course.expect(source.arriving, command, source.path), course.expect(0, command, source.path)


def _memory(course: Course) -> Iterator[Sequence[str]]:
    course.emulator.delay(SLOW_MS)
    for records in SLOW_RUNS:
        usage = course.run(THIS, course.events(records))
        what = f"peak memory at {records:,} events, answers {SLOW_MS} ms late"
        yield [f"{what}: the main process, RSS", "", megabytes(usage.main_peak_bytes), ""]
        yield [f"{what}: with its workers, PSS", "", megabytes(usage.peak_bytes), ""]
    course.emulator.delay(0)
