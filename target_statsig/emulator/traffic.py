"""What the request log adds up to: calls, notes, a timeline.

Pure: grows by one line at a time, so that looking at a long run costs no more than at a short one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.emulator.timeline import Step, Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from target_statsig.emulator.state import RequestEntry


class Noted(NamedTuple):
    """What requests with the same note have in common; as in `RequestEntry`."""

    method: str
    path: str
    status: int | None
    note: str


@dataclass(slots=True)
class CallTally:
    """The requests of one method and path; `size` is in bytes on the wire."""

    times: int = 0
    items: int = 0
    size: int = 0
    statuses: Counter[int | None] = field(default_factory=Counter)

    def answers(self) -> str:
        """Return the statuses in the order of their first appearance, with their numbers where they differ."""
        names = {status: "none" if status is None else str(status) for status in self.statuses}
        if len(names) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{name} ({self.statuses[status]:,})" for status, name in names.items())


class Traffic:
    """The sum of any number of requests.

    Attributes:
        count: How many there were.
        calls: By method and path.
        noted: How many had a note.
        timeline: When they came; begins with the first one.
        not_found: Paths under which nothing was found, each with the time when it was asked for.
    """

    def __init__(self, started: float) -> None:
        """Begin empty, at a time in seconds since 1970-01-01T00:00:00Z."""
        self.count = 0
        self.calls: dict[tuple[str, str], CallTally] = {}
        self.noted: Counter[Noted] = Counter()
        self.timeline = Timeline(started)
        self.not_found: list[tuple[str, float]] = []

    @classmethod
    def of(cls, entries: Sequence[RequestEntry]) -> Self:
        """Return the sum of these."""
        traffic = cls(entries[0].time if entries else 0.0)
        for entry in entries:
            traffic.take(entry)
        return traffic

    def take(self, entry: RequestEntry) -> None:
        """Add a line of the request log."""
        self.count += 1
        call = self.calls.setdefault((entry.method, entry.path), CallTally())
        call.times += 1
        call.items += entry.items
        call.size += entry.size
        call.statuses[entry.status] += 1
        if entry.note:
            self.noted[Noted(entry.method, entry.path, entry.status, entry.note)] += 1
        if entry.status == HTTPStatus.NOT_FOUND:
            self.not_found.append((entry.path, entry.time))
        refused = entry.status is None or entry.status >= HTTPStatus.BAD_REQUEST
        self.timeline.add(entry.time, Step(1, int(refused), entry.items, entry.size))
