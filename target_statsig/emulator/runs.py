"""Which run of a target a request belongs to.

No request says so. But a target keeps its connections open for as long as it runs: when none is left, and nothing
comes for a while, what comes next is another run. Pure: no sockets and no clock; `State` holds the lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.event_log import EventLog
from target_statsig.emulator.item_log import KINDS, ItemLog
from target_statsig.emulator.traffic import Traffic

if TYPE_CHECKING:
    from target_statsig.emulator.options import KeepEvents

QUIET_SECONDS = 3.0
"""A target whose only connection broke is back sooner; one that somebody starts again is not."""


@dataclass(slots=True)
class Run:
    """What came in one go.

    Attributes:
        number: Counted from 1.
        started: When its first request came, in seconds since 1970-01-01T00:00:00Z.
        ended: When it was last heard of.
        events: The events that it brought.
        traffic: Its requests.
        items: What it brought besides events, by the member of the body that holds it.
    """

    number: int
    started: float
    ended: float
    events: EventLog
    traffic: Traffic
    items: dict[str, ItemLog] = field(default_factory=dict)

    def take(self, items: str, body: dict[str, Any], now_ms: float) -> None:
        """Take a body, in full.

        Args:
            items: The member that holds what is logged.
            body: The body.
            now_ms: The present, unix milliseconds.
        """
        if items in self.items:
            self.items[items].take(body[items], body, now_ms)
        else:
            self.events.take(body[items], now_ms)


class Runs:
    """All runs, in order.

    Attributes:
        all: The runs; the last one is the current one.
    """

    def __init__(self, keep: KeepEvents) -> None:
        """Begin without any."""
        self.all: list[Run] = []
        self._keep = keep
        self._open: set[int] = set()

    @property
    def active(self) -> bool:
        """Whether a target is connected."""
        return bool(self._open)

    def current(self, now: float) -> Run:
        """Return the current run; begin the first one where there is none."""
        return self.all[-1] if self.all else self._begin(now)

    def arrive(self, connection: int, now: float) -> None:
        """Take note of a request, before it is answered."""
        if not self._open and self.all and now - self.all[-1].ended > QUIET_SECONDS:
            self._begin(now)
        self._open.add(connection)
        self.current(now).ended = now

    def leave(self, connection: int, now: float) -> bool:
        """Take note of a connection's end; return whether it was a target's."""
        if connection not in self._open:
            return False
        self._open.remove(connection)
        self.current(now).ended = now
        return True

    def clear(self) -> None:
        """Forget all runs; what a connection that is still open brings belongs to a new one."""
        self.all = []
        self._open = set()

    def _begin(self, now: float) -> Run:
        items = {name: ItemLog(kind, self._keep) for name, kind in KINDS.items()}
        run = Run(len(self.all) + 1, now, now, EventLog(self._keep), Traffic(now), items)
        self.all.append(run)
        return run
