"""What became of the events that were taken: kept, counted, silently dropped, remarked upon.

Pure: no sockets and no clock; `State` holds the lock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.limits import (
    DROPPED_NAME_CHARACTERS,
    MAX_NAME_LENGTH,
    OLD_EVENT_DAYS,
    RESERVED_NAME_PREFIX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from target_statsig.emulator.options import KeepEvents

BAD_CHARACTER = "the name has a character that Statsig drops"
RESERVED_NAME = f"names beginning with {RESERVED_NAME_PREFIX} are reserved"

NO_IDENTIFIER = "no userID and no customIDs: no metric can be joined"
DOTTED_KEY = "a metadata key with a dot is read as a nested path"
PRIVATE_ATTRIBUTES = "privateAttributes were sent: they are for evaluation only"
OLD_TIME = f"the time lies over {OLD_EVENT_DAYS} days back"
FUTURE_TIME = "the time lies in the future"
LONG_NAME = f"the name is over {MAX_NAME_LENGTH} characters"

MAX_SAMPLES = 5
"""Events of one name and tier that can be looked at in full."""

_DAY_MS = 86_400_000
_FUTURE_SLACK_MS = 600_000
"""Clocks differ; ten minutes ahead is not worth a remark."""


@dataclass(slots=True)
class Tally:
    """The events of one name and tier; `tier` is empty where the events name none, `samples` are the first of them."""

    name: str
    tier: str
    count: int = 0
    users: set[str] = field(default_factory=set)
    samples: list[dict[str, Any]] = field(default_factory=list)


class EventLog:
    """Every event that was answered with a success.

    Attributes:
        kept: The events in the order of their arrival, as far as `keep_events` asks; none that was dropped.
        tallies: By name and tier; without the dropped ones.
        dropped: How many were silently dropped, by name and reason.
        remarks: How many were taken although something is wrong with them, by remark.
        examples: The first event of each entry of `dropped`, and of each of `remarks` (as a tuple of one).
        users: How many events each user had, by the identifier's name and the id.
    """

    def __init__(self, keep: KeepEvents) -> None:
        """Begin empty."""
        self.kept: list[dict[str, Any]] = []
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.remarks: Counter[str] = Counter()
        self.examples: dict[tuple[str, ...], dict[str, Any]] = {}
        self.users: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._keep = keep
        self._drop_reasons: dict[str, str] = {}

    @classmethod
    def merged(cls, logs: Iterable[EventLog]) -> Self:
        """Return a log that holds what these hold."""
        whole = cls("all")
        for log in logs:
            whole.kept += log.kept
            whole.dropped.update(log.dropped)
            whole.remarks.update(log.remarks)
            whole.examples = log.examples | whole.examples
            for kind, users in log.users.items():
                whole.users[kind].update(users)
            for tally in log.tallies.values():
                total = whole._tally(tally.name, tally.tier)
                total.count += tally.count
                total.users |= tally.users
                total.samples = (total.samples + tally.samples)[:MAX_SAMPLES]
        return whole

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
                self.examples.setdefault((name, reason), event)
                continue
            user = event.get("user") or {}
            tally = self._tally(name, user.get("statsigEnvironment", {}).get("tier", ""))
            tally.count += 1
            if self._keep == "all" or (self._keep == "samples" and not tally.samples):
                self.kept.append(event)
            if len(tally.samples) < MAX_SAMPLES:
                tally.samples.append(event)
            kind, unit = identifier_of(user)
            if unit:
                tally.users.add(unit)
                self.users[kind][unit] += 1
            for remark in self._remarks_on(event, now_ms):
                self.remarks[remark] += 1
                self.examples.setdefault((remark,), event)

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

    @staticmethod
    def _remarks_on(event: dict[str, Any], now_ms: float) -> Iterator[str]:
        if len(event["eventName"]) > MAX_NAME_LENGTH:
            yield LONG_NAME
        if any("." in key for key in event.get("metadata") or ()):
            yield DOTTED_KEY
        yield from remarks_on(event, now_ms)


def remarks_on(item: Mapping[str, Any], now_ms: float) -> Iterator[str]:
    """Yield what is wrong with the user and the time of an event, or of another item that has them."""
    user = item.get("user") or {}
    if not identifier_of(user)[1]:
        yield NO_IDENTIFIER
    if "privateAttributes" in user:
        yield PRIVATE_ATTRIBUTES
    time = item.get("time")
    if isinstance(time, int):
        if time < now_ms - OLD_EVENT_DAYS * _DAY_MS:
            yield OLD_TIME
        elif time > now_ms + _FUTURE_SLACK_MS:
            yield FUTURE_TIME


def drop_reason(name: str) -> str:
    """Return why Statsig drops an event of this name after its 202, or an empty string."""
    if name.startswith(RESERVED_NAME_PREFIX):
        return RESERVED_NAME
    return "" if DROPPED_NAME_CHARACTERS.isdisjoint(name) else BAD_CHARACTER


def identifier_of(user: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name and the value of the id that a user is counted by; empty strings where there is none."""
    if user_id := user.get("userID"):
        return "userID", user_id
    return next(((kind, unit) for kind, unit in user.get("customIDs", {}).items() if unit), ("", ""))
