"""Clocks, and how times are written.

Code that reads the time or waits is given a `Clock`, so that tests need not sleep.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from target_statsig.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_WAIT = 1.0
"""Seconds after which `while_waiting` is called again."""


class Clock(Protocol):
    """The time of day, a steady time, and waiting."""

    def time(self) -> float:
        """Return the seconds since 1970-01-01T00:00:00Z."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for measuring."""

    def sleep(self, seconds: float) -> None:
        """Wait, in seconds.

        Raises:
            InterruptedRunError: The run was asked to end, before or during the wait.
        """


class RunClock(Clock):
    """The machine's clock. Its waits end at once when the run is stopped.

    Attributes:
        while_waiting: Called by the waiting thread at the start of each wait and once a second during it.
    """

    def __init__(self) -> None:
        self.while_waiting: Callable[[], None] = lambda: None
        self._stopping = False
        # A plain lock, because a signal handler can always release it. `Event.set` could wait there for ever, if the
        # interrupted thread holds the event's own lock.
        self._held_until_stop = threading.Lock()
        self._held_until_stop.acquire()

    def stop(self) -> None:
        """Stop the run. Safe in a signal handler."""
        if not self._stopping:
            self._stopping = True
            self._held_until_stop.release()

    @override
    def time(self) -> float:
        return time.time()

    @override
    def monotonic(self) -> float:
        return time.monotonic()

    @override
    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        left = max(seconds, 0.0)
        while not self._stopping:
            self.while_waiting()
            if self._held_until_stop.acquire(timeout=min(left, LONGEST_WAIT)):
                self._held_until_stop.release()  # for other waiting threads
            left = end - time.monotonic()
            if left <= 0:
                break
        if self._stopping:
            msg = "the run was asked to stop while it waited"
            raise InterruptedRunError(msg)


class SkippingClock(Clock):
    """The clock of a dry run. Instead of waiting it moves forward.

    Attributes:
        skipped: The seconds of all waits so far.
    """

    def __init__(self, clock: Clock) -> None:
        self.skipped = 0.0
        self._clock = clock

    @override
    def time(self) -> float:
        return self._clock.time() + self.skipped

    @override
    def monotonic(self) -> float:
        return self._clock.monotonic() + self.skipped

    @override
    def sleep(self, seconds: float) -> None:
        self._clock.sleep(0)
        self.skipped += seconds


def iso_time(seconds: float) -> str:
    """Return a time in ISO 8601, given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def readable_time(seconds: float) -> str:
    """Return a time in UTC to the minute, given in seconds since 1970."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M} UTC"
