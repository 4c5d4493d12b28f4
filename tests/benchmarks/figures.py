"""The figures of `docs/performance.md`, stored in `docs/performance.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from tests.tools.plugin_definition import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILE = "docs/performance.json"


class Rate(Struct):
    """The rate of one contender without start-up, the time of the first 2,000 events.

    Attributes:
        name: The contender, in Markdown.
        rate: Events a second.
        ratio: How many times as fast `target-statsig` is, by the median of the rounds; None for itself.
        microseconds: Processor time of an event.
        megabytes: The most memory.
    """

    name: str
    rate: float
    ratio: float | None
    microseconds: float
    megabytes: float


class Rates(Struct):
    """The rates of all contenders."""

    events: int
    rounds: int
    contenders: list[Rate]


class LateRate(Struct):
    """Events a second of one contender with latency."""

    name: str
    rate: float


class Late(Struct):
    """The rates with latency, in milliseconds."""

    milliseconds: int
    contenders: list[LateRate]


class Size(Struct):
    """A whole run: its events, its seconds, and the most memory in megabytes."""

    events: int
    seconds: float
    megabytes: float


class ShapeRate(Struct):
    """Events a second of one shape, of a plain target and of `target-statsig`, and their ratio."""

    name: str
    plain: float
    ours: float
    ratio: float


class ShortRun(Struct):
    """Seconds of a whole run of few events, of a plain target and of `target-statsig`, and their ratio."""

    events: int
    plain: float
    ours: float
    ratio: float


class Rerun(Struct):
    """A rerun of known events: its rate relative to the first run, and the most memory in megabytes."""

    events: int
    ratio: float
    megabytes: float


class SlowRun(Struct):
    """Megabytes of a run with slow responses: of its main process, and with its workers."""

    events: int
    main: float
    all: float


class Shapes(Struct):
    """Events of each shape, short runs, a rerun, and the memory with slow responses."""

    events: int
    rounds: int
    rates: list[ShapeRate]
    short: list[ShortRun]
    rerun: Rerun
    slow_milliseconds: int
    slow: list[SlowRun]


class SegmentWork(Struct):
    """Work on the ids of a segment: seconds and ids a second without start-up, and the most memory in megabytes."""

    name: str
    seconds: float
    rate: float
    megabytes: float


class Figures(Struct):
    """All figures.

    Attributes:
        date: The date of the measurement.
        machine: The machine.
    """

    date: str
    machine: str
    rates: Rates
    late: Late
    sizes: list[Size]
    shapes: Shapes
    segments: list[SegmentWork]


def load(root: Path = ROOT) -> Figures:
    """Read the figures of a checkout."""
    return msgspec.json.decode((root / FILE).read_bytes(), type=Figures)


def save(figures: Figures, root: Path = ROOT) -> None:
    """Write the figures of a checkout."""
    (root / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
