"""Requests over time in a bounded number of steps, for a plot of a run of any length.

Pure. Refuses to know who sent them and how a plot looks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STEPS = 60
"""A bar for each still fits the width of a phone."""

_FIRST_STEP_SECONDS = 1 / 64
"""A power of two, so that dividing by it never rounds a time into the next step."""


@dataclass(slots=True)
class Step:
    """The requests of one step; `size` is in bytes on the wire."""

    requests: int = 0
    refused: int = 0
    items: int = 0
    size: int = 0

    def merge(self, other: Step) -> Step:
        """Return both in one."""
        return Step(
            self.requests + other.requests,
            self.refused + other.refused,
            self.items + other.items,
            self.size + other.size,
        )


class Timeline:
    """Counts requests in steps of equal length, which doubles whenever `MAX_STEPS` of them no longer suffice.

    Attributes:
        started: When the first step begins, in seconds since 1970-01-01T00:00:00Z.
        seconds: How long a step is.
        steps: In order; the last one holds the newest request.
    """

    def __init__(self, started: float) -> None:
        """Begin empty."""
        self.started = started
        self.seconds = _FIRST_STEP_SECONDS
        self.steps: list[Step] = []

    def add(self, time: float, request: Step) -> None:
        """Count a request; one from before the start, after the clock was set back, falls into the first step."""
        while self._step(time) >= MAX_STEPS:
            self._double()
        step = self._step(time)
        self.steps += [Step() for _ in range(step + 1 - len(self.steps))]
        self.steps[step] = self.steps[step].merge(request)

    def pardon(self, times: Iterable[float]) -> list[Step]:
        """Return the steps without some of the requests that they count as refused.

        Args:
            times: When those came.
        """
        pardoned = Counter(map(self._step, times))
        return [replace(step, refused=step.refused - pardoned[at]) for at, step in enumerate(self.steps)]

    def _step(self, time: float) -> int:
        return int(max(0.0, time - self.started) / self.seconds)

    def _double(self) -> None:
        if len(self.steps) % 2:
            self.steps.append(Step())
        self.steps = [first.merge(second) for first, second in zip(self.steps[::2], self.steps[1::2], strict=True)]
        self.seconds *= 2
