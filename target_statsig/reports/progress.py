"""Progress of each stream: a log line every 30 seconds, or one line on a terminal that changes every second."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from target_statsig.reports.text import MINUTE, counted, duration, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_statsig.clock import Clock

logger = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""Seconds between two lines about a stream in the log."""

SCREEN_SECONDS = 1.0
"""Seconds between two changes of the line on a terminal."""

CLEAR = "\r\x1b[K"
"""Goes back to the beginning of the line and clears it."""


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
        self,
        clock: Clock,
        progress: Callable[[], Iterable[Progress]],
        seconds_for: Callable[[int], float],
        screen: TextIO | None = None,
    ) -> None:
        """Start the first interval.

        `seconds_for` returns the seconds that a number of list changes takes under the rate limits. `screen` is None if
        standard error is not a terminal; then lines go to the log.
        """
        self._clock = clock
        self._progress = progress
        self._seconds_for = seconds_for
        self._screen = screen
        self._every = LINE_SECONDS if screen is None else SCREEN_SECONDS
        self._shown_at = clock.monotonic()
        self._due = self._shown_at + self._every
        self._last: dict[str, Progress] = {}
        self._line = ""
        # A log line, perhaps by the same thread, first clears the line on the terminal.
        self._turn = threading.RLock()
        self._handlers = logging.getLogger().handlers[:] if screen is not None else []
        for handler in self._handlers:
            handler.addFilter(self._make_room)

    def update(self) -> None:
        """Log the progress if an interval has passed."""
        if self._clock.monotonic() >= self._due and self._turn.acquire(blocking=False):
            try:
                self._show()
            finally:
                self._turn.release()

    def announce(self, requests: int) -> None:
        """Log the time that a large plan takes under the rate limits."""
        seconds = self._seconds_for(requests) if requests else 0.0
        if seconds > MINUTE:
            logger.info(
                "The segments need %s, which take about %s under `console_rate_limits`.",
                counted(requests, "request"),
                duration(seconds),
            )

    def clear(self) -> None:
        """Clear the line on the terminal, to make room for other output."""
        with self._turn:
            if self._line and self._screen is not None:
                self._screen.write(CLEAR)
                self._screen.flush()
            self._line = ""

    def close(self) -> None:
        """Stop logging."""
        self._due = float("inf")
        self.clear()
        for handler in self._handlers:
            handler.removeFilter(self._make_room)

    def _show(self) -> None:
        now = self._clock.monotonic()
        elapsed, self._shown_at, self._due = now - self._shown_at, now, now + self._every
        streams = list(self._progress())
        left = sum(progress.requests_left for progress in streams)
        to_go = _time_left(self._seconds_for(left)) if left else ""
        lines = []
        for progress in streams:
            before = self._last.get(progress.stream)
            if progress != before or progress.busy:
                new = progress.records - (before.records if before else 0)
                lines.append(_line(progress, new / elapsed, to_go))
            self._last[progress.stream] = progress
        if self._screen is None:
            for line in lines:
                logger.info("%s", line)
        elif lines:
            line, width = visible("  ".join(lines)), shutil.get_terminal_size().columns - 1
            self._line = line if len(line) <= width else f"{line[: width - 1]}…"
            self._screen.write(f"{CLEAR}{self._line}")
            self._screen.flush()

    def _make_room(self, _: logging.LogRecord) -> bool:
        self.clear()
        return True


def terminal() -> TextIO | None:
    """Return standard error if it is a terminal."""
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None


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
