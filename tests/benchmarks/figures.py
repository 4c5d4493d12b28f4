"""The figures of `docs/performance.md`: measured once, kept as JSON, and all that the page says and draws of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from tests.tools.plugin_definition import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FILE = "docs/performance.json"


class Rate(Struct):
    """Events of one contender; the first 2,000, which are mostly start-up, are taken off.

    Attributes:
        name: The contender, in Markdown.
        rate: Events a second.
        ratio: How many times as fast `target-statsig` is, by the median of the rounds; None for itself.
        microseconds: Of the processor, an event.
        megabytes: Of memory, at most.
    """

    name: str
    rate: float
    ratio: float | None
    microseconds: float
    megabytes: float


class Rates(Struct):
    """The events of all contenders."""

    events: int
    rounds: int
    contenders: list[Rate]


class LateRate(Struct):
    """Events a second of one contender, where every answer is late."""

    name: str
    rate: float


class Late(Struct):
    """The rates where every answer is so many milliseconds late."""

    milliseconds: int
    contenders: list[LateRate]


class Size(Struct):
    """A whole run of so many events: its seconds, and the most memory in megabytes."""

    events: int
    seconds: float
    megabytes: float


class ShapeRate(Struct):
    """Events a second of one shape: of a plain target and of `target-statsig`, and how many times as fast that is."""

    name: str
    plain: float
    ours: float
    ratio: float


class ShortRun(Struct):
    """Seconds of a whole run of few events: of a plain target and of `target-statsig`."""

    events: int
    plain: float
    ours: float
    ratio: float


class Rerun(Struct):
    """A rerun of known events: its rate, that of sending them being 1, and the most memory in megabytes."""

    events: int
    ratio: float
    megabytes: float


class SlowRun(Struct):
    """Megabytes of a run whose answers are late: of its main process, and with its workers."""

    events: int
    main: float
    all: float


class Shapes(Struct):
    """What people send: events of each shape, short runs, a rerun, and the memory of slow answers."""

    events: int
    rounds: int
    rates: list[ShapeRate]
    short: list[ShortRun]
    rerun: Rerun
    slow_milliseconds: int
    slow: list[SlowRun]


class SegmentWork(Struct):
    """What is done with ids of a segment: its seconds without start-up, ids a second, and the most memory."""

    name: str
    seconds: float
    rate: float
    megabytes: float


class Figures(Struct):
    """All figures.

    Attributes:
        date: When they were measured.
        machine: On what machine.
    """

    date: str
    machine: str
    rates: Rates
    late: Late
    sizes: list[Size]
    shapes: Shapes
    segments: list[SegmentWork]


def load(root: Path = ROOT) -> Figures:
    """Return the figures that are kept in a checkout."""
    return msgspec.json.decode((root / FILE).read_bytes(), type=Figures)


def save(figures: Figures, root: Path = ROOT) -> None:
    """Keep figures in a checkout."""
    (root / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
