"""What became of the events that were taken: kept, counted, silently dropped, remarked upon.

Pure: no sockets and no clock; `State` holds the lock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.limits import (
    DROPPED_NAME_CHARACTERS,
    MAX_NAME_LENGTH,
    OLD_EVENT_DAYS,
    RESERVED_NAME_PREFIX,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.emulator.options import KeepEvents

BAD_CHARACTER = "the name has a character that Statsig drops"
RESERVED_NAME = f"names beginning with {RESERVED_NAME_PREFIX} are reserved"

NO_IDENTIFIER = "no userID and no customIDs: no metric can be joined"
DOTTED_KEY = "a metadata key with a dot is read as a nested path"
PRIVATE_ATTRIBUTES = "privateAttributes were sent: they are for evaluation only"
OLD_TIME = f"the time lies over {OLD_EVENT_DAYS} days back"
FUTURE_TIME = "the time lies in the future"
LONG_NAME = f"the name is over {MAX_NAME_LENGTH} characters"

_DAY_MS = 86_400_000
_FUTURE_SLACK_MS = 600_000
"""Clocks differ; ten minutes ahead is not worth a remark."""


@dataclass(slots=True)
class Tally:
    """The events of one name and tier; `tier` is empty where the events name none."""

    name: str
    tier: str
    count: int = 0
    users: set[str] = field(default_factory=set)
    sample: dict[str, Any] | None = None


class EventLog:
    """Every event that was answered with a success.

    Attributes:
        kept: The events in the order of their arrival, as far as `keep_events` asks; none that was dropped.
        tallies: By name and tier; without the dropped ones.
        dropped: How many were silently dropped, by name and reason.
        remarks: How many were taken although something is wrong with them, by remark.
    """

    def __init__(self, keep: KeepEvents) -> None:
        """Begin empty."""
        self.kept: list[dict[str, Any]] = []
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.remarks: Counter[str] = Counter()
        self._keep = keep
        self._drop_reasons: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many events Statsig would show."""
        return sum(tally.count for tally in self.tallies.values())

    def take(self, events: Sequence[dict[str, Any]], now_ms: float) -> None:
        """Take the events of one request, in full."""
        for event in events:
            name = event["eventName"]
            if reason := self._drop_reason(name):
                self.dropped[name, reason] += 1
                continue
            user = event.get("user", {})
            tally = self._tally(name, user.get("statsigEnvironment", {}).get("tier", ""))
            tally.count += 1
            if tally.sample is None:
                tally.sample = event
                if self._keep == "samples":
                    self.kept.append(event)
            if self._keep == "all":
                self.kept.append(event)
            unit = user.get("userID") or next(filter(None, user.get("customIDs", {}).values()), None)
            if unit:
                tally.users.add(unit)
            else:
                self.remarks[NO_IDENTIFIER] += 1
            self._remark(event, user, now_ms)

    def count_names(self, names: Counter[str]) -> None:
        """Take the events of one request by their names alone."""
        for name, count in names.items():
            if reason := self._drop_reason(name):
                self.dropped[name, reason] += count
            else:
                self._tally(name, "").count += count

    def _tally(self, name: str, tier: str) -> Tally:
        tally = self.tallies.get((name, tier))
        if tally is None:
            tally = self.tallies[name, tier] = Tally(name, tier)
        return tally

    def _drop_reason(self, name: str) -> str:
        reason = self._drop_reasons.get(name)
        if reason is None:
            reason = self._drop_reasons[name] = drop_reason(name)
        return reason

    def _remark(self, event: dict[str, Any], user: dict[str, Any], now_ms: float) -> None:
        if "privateAttributes" in user:
            self.remarks[PRIVATE_ATTRIBUTES] += 1
        if len(event["eventName"]) > MAX_NAME_LENGTH:
            self.remarks[LONG_NAME] += 1
        if any("." in key for key in event.get("metadata", ())):
            self.remarks[DOTTED_KEY] += 1
        time = event.get("time")
        if isinstance(time, int):
            if time < now_ms - OLD_EVENT_DAYS * _DAY_MS:
                self.remarks[OLD_TIME] += 1
            elif time > now_ms + _FUTURE_SLACK_MS:
                self.remarks[FUTURE_TIME] += 1


def drop_reason(name: str) -> str:
    """Return why Statsig drops an event of this name after its 202, or an empty string."""
    if name.startswith(RESERVED_NAME_PREFIX):
        return RESERVED_NAME
    return "" if DROPPED_NAME_CHARACTERS.isdisjoint(name) else BAD_CHARACTER
