"""The events, exposures and metrics that were accepted, with those silently dropped or doubtful; and dead letters."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from target_statsig.config.choices import DROPPED_CHARACTERS, RESERVED_PREFIX
from target_statsig.singer.message import decode, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

Item = dict[str, Any]
_Key = TypeVar("_Key")
KeepEvents = Literal["all", "samples", "counts"]

MAX_NAME_LENGTH = 128
"""Characters of an event's name and of a string value: https://docs.statsig.com/guides/logging-events."""

OLD_EVENT_DAYS = 60
"""Older events are doubtful. Statsig does not document how old they may be."""

BAD_CHARACTER = "the name has a character that Statsig drops"
RESERVED_NAME = f"names beginning with {RESERVED_PREFIX} are reserved"

NO_IDENTIFIER = "no userID and no customIDs, so no metric can be joined"
DOTTED_KEY = "a metadata key with a dot is read as a nested path"
PRIVATE_ATTRIBUTES = "privateAttributes were sent, but are only for evaluation"
OLD_TIME = f"the time is over {OLD_EVENT_DAYS} days ago"
FUTURE_TIME = "the time is in the future"
LONG_NAME = f"the name is over {MAX_NAME_LENGTH} characters"

MAX_SAMPLES = 5
"""Items of a row that are kept in full at most."""

_DROPPED_CHARACTERS = frozenset(DROPPED_CHARACTERS)
_DAY_MS = 86_400_000
_FUTURE_SLACK_MS = 600_000
"""Up to ten minutes ahead is not doubtful, because clocks differ."""


@dataclass(frozen=True, slots=True)
class ItemType:
    """How items of one type are counted.

    Attributes:
        title: The heading of their table.
        columns: The columns by which items are grouped into rows.
        ids_title: The heading of the number of ids in a row.
        key_of: Returns the cells of `columns`, given an item and its request's body.
        id_of: Returns the ID type and the id of an item, or empty strings.
    """

    title: str
    columns: tuple[str, ...]
    ids_title: str
    key_of: Callable[[Item, Item], tuple[str, ...]]
    id_of: Callable[[Item], tuple[str, str]]


@dataclass(slots=True)
class Tally:
    """Items of one row of a table, or for one reason: their number, their ids, and the first of them."""

    count: int = 0
    ids: set[str] = field(default_factory=set)
    samples: list[Item] = field(default_factory=list)

    def add(self, item: Item) -> None:
        self.count += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(item)


def add_tallies(total: defaultdict[_Key, Tally], tallies: Mapping[_Key, Tally]) -> None:
    """Add tallies to those with the same keys."""
    for key, tally in tallies.items():
        sum_of_both = total[key]
        sum_of_both.count += tally.count
        sum_of_both.ids |= tally.ids
        sum_of_both.samples = (sum_of_both.samples + tally.samples)[:MAX_SAMPLES]


class ItemLog:
    """The accepted items of one type.

    Attributes:
        kept: The items in order of arrival, as far as `keep_events` asks, without dropped ones.
        tallies: The rows by their cells, without dropped items.
        dropped: The silently dropped items, by name and reason.
        remarks: The doubtful items, by remark.
        ids: The number of items of each id, by ID type.
    """

    def __init__(self, item_type: ItemType, keep: KeepEvents) -> None:
        self.type = item_type
        self.kept: list[Item] = []
        self.tallies: defaultdict[tuple[str, ...], Tally] = defaultdict(Tally)
        self.dropped: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        self.remarks: defaultdict[str, Tally] = defaultdict(Tally)
        self.ids: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._keep = keep

    @classmethod
    def merged(cls, item_type: ItemType, logs: Iterable[ItemLog]) -> ItemLog:
        """Return a log with the items of several logs."""
        whole = cls(item_type, "all")
        for log in logs:
            whole.kept += log.kept
            add_tallies(whole.tallies, log.tallies)
            add_tallies(whole.dropped, log.dropped)
            add_tallies(whole.remarks, log.remarks)
            for id_type, counts in log.ids.items():
                whole.ids[id_type].update(counts)
        return whole

    @property
    def count(self) -> int:
        """The number of items that Statsig would show."""
        return sum(tally.count for tally in self.tallies.values())

    def rows(self) -> list[tuple[tuple[str, ...], Tally]]:
        """Return the cells and the tally of each row, the largest first."""
        return sorted(self.tallies.items(), key=lambda row: -row[1].count)

    def take(self, items: Sequence[Item], body: Item, now_ms: float) -> None:
        """Add the items of a request with a body; `now_ms` is the present, unix milliseconds."""
        for item in items:
            if reason := name_drop_reason(item.get("eventName", "")):
                self.dropped[item["eventName"], reason].add(item)
                continue
            tally = self.tallies[self.type.key_of(item, body)]
            tally.add(item)
            if self._keep == "all" or (self._keep == "samples" and tally.count == 1):
                self.kept.append(item)
            id_type, item_id = self.type.id_of(item)
            if item_id:
                tally.ids.add(item_id)
                self.ids[id_type][item_id] += 1
            for remark in _remarks(item, item_id, now_ms):
                self.remarks[remark].add(item)

    def count_names(self, names: Mapping[str, int]) -> None:
        """Add the events of a request, given the number of each name."""
        for name, count in names.items():
            reason = name_drop_reason(name)
            tally = self.dropped[name, reason] if reason else self.tallies[name, ""]
            tally.count += count


def name_drop_reason(name: str) -> str:
    """Return why Statsig drops an event of this name after its 202, or an empty string."""
    if name.startswith(RESERVED_PREFIX):
        return RESERVED_NAME
    return "" if _DROPPED_CHARACTERS.isdisjoint(name) else BAD_CHARACTER


def _user_of(item: Item) -> Item:
    return item.get("user") or {}


def _tier_of(item: Item) -> str:
    return str(_user_of(item).get("statsigEnvironment", {}).get("tier", ""))


def _identifier_of(item: Item) -> tuple[str, str]:
    user = _user_of(item)
    if user_id := user.get("userID"):
        return "userID", user_id
    return next((found for found in user.get("customIDs", {}).items() if found[1]), ("", ""))


def _remarks(item: Item, item_id: str, now_ms: float) -> Iterable[str]:
    """Yield what is doubtful about an item."""
    if len(item.get("eventName", "")) > MAX_NAME_LENGTH:
        yield LONG_NAME
    if any("." in key for key in item.get("metadata") or ()):
        yield DOTTED_KEY
    if not item_id:
        yield NO_IDENTIFIER
    if "privateAttributes" in _user_of(item):
        yield PRIVATE_ATTRIBUTES
    time = item.get("time")
    if isinstance(time, int):
        if time < now_ms - OLD_EVENT_DAYS * _DAY_MS:
            yield OLD_TIME
        elif time > now_ms + _FUTURE_SLACK_MS:
            yield FUTURE_TIME


def _event_key(event: Item, _: Item) -> tuple[str, ...]:
    return event["eventName"], _tier_of(event)


def _exposure_key(exposure: Item, _: Item) -> tuple[str, ...]:
    if "gateName" in exposure:
        subject = (exposure["gateName"], "gate passed" if exposure["passes"] else "gate not passed")
    else:
        subject = (exposure["experimentName"], "experiment")
    return (*subject, exposure.get("ruleID") or exposure.get("group", ""), _tier_of(exposure))


def _metric_key(metric: Item, body: Item) -> tuple[str, ...]:
    value = "value" if "metric_value" in metric else "ratio"
    return metric["metric_name"], metric["id_type"], f"test {value}" if body.get("isTest") else value


def _unit_of(metric: Item) -> tuple[str, str]:
    return metric["id_type"], metric["user_id"]


ITEM_TYPES = {
    "events": ItemType("Events", ("Name", "Tier"), "Users", _event_key, _identifier_of),
    "exposures": ItemType(
        "Exposures", ("Name", "Kind", "Group or rule", "Tier"), "Users", _exposure_key, _identifier_of
    ),
    "metrics": ItemType("Metrics", ("Name", "ID type", "Kind"), "Units", _metric_key, _unit_of),
}
"""By the member of the request's body that holds the items."""


class DeadLetters:
    """The dead letters in a folder, read while they are being written."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder, which need not exist yet."""
        self._folder = folder

    def files(self) -> list[tuple[Path, int, float]]:
        """Return the files, each with its bytes and when it was last written, in seconds since 1970."""
        files = []
        for path in sorted(self._folder.rglob("*")) if self._folder else ():
            with suppress(FileNotFoundError):  # sent again, and so deleted, just now
                if path.is_file():
                    files.append((path, path.stat().st_size, path.stat().st_mtime))
        return files

    def tallies(self, after: float = -math.inf, until: float = math.inf) -> dict[str, Tally]:
        """Return the dead letters of files that were last written in a period, by reason and field at fault.

        The period is in seconds since 1970, and includes its end.
        """
        total: defaultdict[str, Tally] = defaultdict(Tally)
        for file in self.files():
            if after < file[2] <= until:
                with suppress(FileNotFoundError):
                    add_tallies(total, _read_dead_letters(file))
        return total


@lru_cache(maxsize=100)
def _read_dead_letters(file: tuple[Path, int, float]) -> dict[str, Tally]:
    """Return the complete lines of one of the `files` by reason; cached, because the page asks every second."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    content = file[0].read_bytes()
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        message = decode(line)
        if isinstance(message, dict) and message.get("type") == "RECORD":
            if is_too_deep(message.get("record")):
                message |= {"record": {}, "reason": "nested_too_deeply"}  # too deep to be shown
            reason = str(message.get("reason", "no reason given"))
            at = f" ({message['field']})" if "field" in message else ""
            shown = ("stream", "statsig", "record")
            tallies[reason + at].add({name: message[name] for name in shown if message.get(name) is not None})
    return tallies
