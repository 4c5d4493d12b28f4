"""Progress of each stream: a log line every 30 seconds."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_statsig.reports.text import MINUTE, counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_statsig.clock import Clock

logger = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""Seconds between two lines about a stream in the log."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a stream.

    Attributes:
        records: Records that have come.
        parts: What became of them, in words.
        busy: Whether requests are under way, so that there is a line even if nothing else is new.
        records_left: Expected records that have not come yet.
        requests_left: Requests that planned changes of segments still need.
    """

    stream: str
    records: int
    parts: Sequence[str]
    busy: bool = False
    records_left: int = 0
    requests_left: int = 0


class ProgressLog:
    """Logs the progress of each stream at intervals. Thread-safe."""

    def __init__(
        self, clock: Clock, progress: Callable[[], Iterable[Progress]], seconds_for: Callable[[int], float]
    ) -> None:
        """Start the first interval; `seconds_for` tells how long a number of list changes takes."""
        self._clock = clock
        self._progress = progress
        self._seconds_for = seconds_for
        self._shown_at = clock.monotonic()
        self._last: dict[str, Progress] = {}
        self._turn = threading.Lock()

    def update(self) -> None:
        """Log the progress if an interval has passed."""
        if self._clock.monotonic() >= self._shown_at + LINE_SECONDS and self._turn.acquire(blocking=False):
            try:
                self._show()
            finally:
                self._turn.release()

    def _show(self) -> None:
        now = self._clock.monotonic()
        elapsed, self._shown_at = now - self._shown_at, now
        streams = list(self._progress())
        left = sum(progress.requests_left for progress in streams)
        to_go = _time_left(self._seconds_for(left)) if left else ""
        for progress in streams:
            before = self._last.get(progress.stream)
            if progress != before or progress.busy:
                new = progress.records - (before.records if before else 0)
                logger.info("%s", _line(progress, new / elapsed, to_go))
            self._last[progress.stream] = progress


def _line(progress: Progress, rate: float, to_go: str) -> str:
    speed = f" ({rate:,.0f}/s)" if round(rate) else ""
    parts = [counted(progress.records, "record") + speed, *progress.parts]
    if progress.requests_left:
        parts.append(to_go)
    if progress.records_left and speed:
        parts += [f"{counted(progress.records_left, 'record')} left", _time_left(progress.records_left / rate)]
    return f"{progress.stream}: {', '.join(parts)}"


def _time_left(seconds: float) -> str:
    return "under 1 min" if seconds < MINUTE else f"about {duration(seconds)}"
