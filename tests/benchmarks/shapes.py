"""Events of each shape, short runs, a rerun, and the memory with slow responses."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks.contenders import PLAIN, THIS
from tests.benchmarks.data import Shape
from tests.benchmarks.emulated import EmulatedStatsig
from tests.benchmarks.figures import Rerun, ShapeRate, Shapes, ShortRun, SlowRun
from tests.benchmarks.speed import FEW, MEGABYTE, Setup
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
"""`dedupe_days` of a stream that is sent as a whole every time; else a STATE forgets what is below its bookmark."""


def measure(setup: Setup, *, rounds: int, records: int) -> Shapes:
    """Return the figures, without the first run of each contender, which compiles modules."""
    for contender in (PLAIN, THIS):
        setup.run(contender, setup.events(FEW))
    return Shapes(
        records,
        rounds,
        rates=[_rate(setup, shape, rounds=rounds, records=records) for shape in SHAPES],
        short=[_short(setup, events) for events in SHORT_RUNS],
        rerun=_rerun(setup, records, rounds=rounds),
        slow_milliseconds=SLOW_MS,
        slow=_slow(setup),
    )


def _rate(setup: Setup, shape: Shape, *, rounds: int, records: int) -> ShapeRate:
    measured = [
        (setup.measure_rates(PLAIN, records, shape).rate, setup.measure_rates(THIS, records, shape).rate)
        for _ in range(rounds)
    ]
    plain, ours = (median(rates) for rates in zip(*measured, strict=True))
    return ShapeRate(SHAPES[shape], plain, ours, median(ours / plain for plain, ours in measured))


def _short(setup: Setup, records: int) -> ShortRun:
    source = setup.events(records)
    measured = [(setup.run(PLAIN, source).seconds, setup.run(THIS, source).seconds) for _ in range(SHORT_ROUNDS)]
    plain, ours = (median(seconds) for seconds in zip(*measured, strict=True))
    return ShortRun(records, plain, ours, median(plain / ours for plain, ours in measured))


def _rerun(setup: Setup, records: int, *, rounds: int) -> Rerun:
    measured = [_send_twice(setup, FEW) + _send_twice(setup, records) for _ in range(rounds)]
    ratio = median(
        (sent.seconds - few_sent.seconds) / (again.seconds - few_again.seconds)
        for few_sent, few_again, sent, again in measured
    )
    return Rerun(records, ratio, max(again.peak_bytes for *_, again in measured) / MEGABYTE)


def _send_twice(setup: Setup, records: int) -> tuple[Usage, Usage]:
    """Send events twice with the same store."""
    source = setup.events(records)
    command = events_command(setup.emulator.project, setup.folder, dedupe_days=REMEMBERED_DAYS)
    return setup.expect(source.expected, command, source.path), setup.expect(0, command, source.path)


def _slow(setup: Setup) -> list[SlowRun]:
    with EmulatedStatsig(latency_ms=SLOW_MS) as emulator:
        slow = Setup(emulator, setup.folder)
        usages = {records: slow.run(THIS, slow.events(records)) for records in SLOW_RUNS}
    return [
        SlowRun(records, usage.main_peak_bytes / MEGABYTE, usage.peak_bytes / MEGABYTE)
        for records, usage in usages.items()
    ]
