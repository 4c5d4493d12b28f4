"""Statsig's published limits as data, and the sliding windows that enforce the ones on requests.

Knows numbers and times. Refuses to know what a request is about.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MAX_EVENT_REQUEST_BYTES = 10_000_000
"""Bytes of an events body; Statsig drops a bigger one: https://docs.statsig.com/http-api."""

MAX_EVENTS_PER_REQUEST = 3_000
"""Events a request: the guide says to stay under about so many: https://docs.statsig.com/http-api."""

MAX_IDS_PER_REQUEST = 100_000
"""Ids in a change of an `id_list`: `SegmentIDListContractDto` of the Console API's OpenAPI file."""

MAX_USER_STORE_IDS_PER_REQUEST = 1_000
"""Ids in a change of a `user_store_id_list`: `SegmentIDListUserStoreContractDto` of the same file."""

MAX_IDS_PER_PROJECT = 10_000_000
"""Ids over all lists of a project: https://docs.statsig.com/segments."""

MAX_NAME_LENGTH = 128
"""Characters of an event's name and of a string value: https://docs.statsig.com/guides/logging-events."""

OLD_EVENT_DAYS = 60
"""How far back an event may lie is not documented; older ones are remarked upon."""

DROPPED_NAME_CHARACTERS = frozenset('\\[]{}<>#=;&$%|"\0\r\n')
"""An event whose name has one of these is dropped after the 202: https://docs.statsig.com/guides/logging-events."""

RESERVED_NAME_PREFIX = "statsig::"
"""Names of Statsig's own events, the exposures."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` requests in each `seconds`."""

    limit: int
    seconds: float


MUTATION_WINDOWS = (Window(100, 10), Window(900, 900))
"""Changes through the Console API, a project: https://docs.statsig.com/console-api/introduction."""

ID_LIST_WINDOWS = (Window(12, 10), Window(900, 900))
"""Changes of ID lists, besides the windows above; they are the ones that a sync meets first."""


class Quota:
    """Counts requests in sliding windows. Not thread-safe: its owner holds the lock."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        """Take the windows, all of which must have room."""
        self._windows = windows
        self._times: deque[float] = deque(maxlen=max(window.limit for window in windows))

    def wait(self, now: float) -> float:
        """Return the seconds until every window has room for one more request; 0.0 when they have."""
        times = self._times
        return max(
            (
                times[-window.limit] + window.seconds - now
                for window in self._windows
                if len(times) >= window.limit and times[-window.limit] + window.seconds > now
            ),
            default=0.0,
        )

    def count(self, now: float) -> None:
        """Count a request at `now`, in the same seconds as `wait`."""
        self._times.append(now)
