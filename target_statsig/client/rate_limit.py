"""Spaces requests to keep within quotas: the windows, the limiter, and the log of requests."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_statsig.clock import Clock
    from target_statsig.config.settings import RateWindow

MARGIN_SHARE = 0.02
MARGIN_SECONDS = 0.15
"""Windows are extended by the greater of a share and a time: the time of arrival counts, and some requests travel
100 ms longer than others."""


class RequestLog(Protocol):
    """The times of requests, of one process or of all that share a quota."""

    def reserve(self, decide: Callable[[Sequence[float]], float], now: float) -> float:
        """Record a request if it may be made now (seconds since 1970); no other process records one meanwhile.

        `decide` takes the times of the recent requests, ascending, and returns how many seconds the next has to wait,
        which is returned; the request is recorded where that is 0.0.
        """


class MemoryLog(RequestLog):
    """The latest `keep` requests of this process, as many as the largest limit."""

    def __init__(self, keep: int) -> None:
        self._times: deque[float] = deque(maxlen=keep)
        self._lock = threading.Lock()

    @override
    def reserve(self, decide: Callable[[Sequence[float]], float], now: float) -> float:
        with self._lock:
            wait = decide(sorted(self._times))
            if wait == 0.0:
                self._times.append(now)
            return wait


class RateLimiter:
    """Lets a request through when every window has room. Thread-safe."""

    def __init__(self, windows: Sequence[RateWindow], clock: Clock, log: RequestLog | None = None) -> None:
        self._windows = tuple(windows)
        self._clock = clock
        self._log = log or MemoryLog(max(window.limit for window in windows))

    def acquire(self) -> None:
        """Wait until the next request may be made, and count it.

        Raises:
            InterruptedRunError: The run was asked to stop while it waited; nothing was counted.
        """
        while wait := self._reserve(self._clock.time()):
            self._clock.sleep(wait)

    def seconds_for(self, n_requests: int) -> float:
        """Return the seconds until the last of `n_requests` may be made, without counting them."""
        now = self._clock.time()
        recent: list[float] = []

        def read(times: Sequence[float]) -> float:
            recent.extend(times)
            return math.inf  # no request may go, so that none is recorded

        self._log.reserve(read, now)
        room = _Room(self._windows, recent, now)
        return max((room.take(now) for _ in range(n_requests)), default=0.0)

    def _reserve(self, now: float) -> float:
        return self._log.reserve(lambda times: _Room(self._windows, times, now).take(now), now)


class _Room:
    """The room in the windows after some requests.

    Each window has its own bucket: one bucket for all does not take pairs such as `10/10s, 16/15s`, in which the longer
    window allows more per second.
    """

    def __init__(self, windows: Iterable[RateWindow], times: Sequence[float], now: float) -> None:
        self._buckets: list[InMemoryBucket] = []
        for window in windows:
            seconds = window.seconds + max(window.seconds * MARGIN_SHARE, MARGIN_SECONDS)
            bucket = InMemoryBucket([Rate(window.limit, _milliseconds(seconds))])
            # A time more than a window ahead was recorded before the clock was set back.
            credible = [time for time in times if time < now + seconds]
            bucket.items = [RateItem("", _milliseconds(time)) for time in credible[-window.limit :]]
            self._buckets.append(bucket)

    def take(self, now: float) -> float:
        """Count one more request at the time when every window has room; return the seconds until then."""
        asked = _milliseconds(now)
        item = RateItem("", asked)
        for bucket in self._buckets:
            while not bucket.put(item):
                # All buckets hold this one item; one that had room for it earlier has room for it later.
                item.timestamp += cast("int", bucket.waiting(item))
        return (item.timestamp - asked) / 1000


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)
