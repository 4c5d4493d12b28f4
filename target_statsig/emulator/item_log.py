"""What became of exposures and values of metrics that were taken: kept, counted, remarked upon.

Knows what tells one from another in a table: a kind that joins is one more row of `KINDS`. Pure: no sockets and no
clock; `State` holds the lock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.event_log import identifier_of, remarks_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Self

    from target_statsig.emulator.options import KeepEvents

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ItemKind:
    """One kind of item.

    Attributes:
        title: What a table of them is called.
        columns: What the items of one line have in common.
        units: What they are counted by, besides.
        key_of: Tells the cells of those columns, from an item and the body that it came in.
        unit_of: Tells whom an item is about; empty where it names nobody.
        remarks_on: Tells what is wrong with an item all the same, at a time in unix milliseconds.
    """

    title: str
    columns: tuple[str, ...]
    units: str
    key_of: Callable[[Item, Item], tuple[str, ...]]
    unit_of: Callable[[Item], str]
    remarks_on: Callable[[Item, float], Iterable[str]]


@dataclass(slots=True)
class ItemTally:
    """The items of one line."""

    key: tuple[str, ...]
    count: int = 0
    units: set[str] = field(default_factory=set)


class ItemLog:
    """Every item of a kind that was answered with a success.

    Attributes:
        kind: The kind.
        kept: The items in the order of their arrival, as far as `keep` asks.
        tallies: By what they have in common.
        remarks: How many have something wrong with them, by remark.
        examples: The first item of each remark (as a tuple of one).
    """

    def __init__(self, kind: ItemKind, keep: KeepEvents) -> None:
        """Begin empty."""
        self.kind = kind
        self.kept: list[Item] = []
        self.tallies: dict[tuple[str, ...], ItemTally] = {}
        self.remarks: Counter[str] = Counter()
        self.examples: dict[tuple[str, ...], Item] = {}
        self._keep = keep

    @classmethod
    def merged(cls, kind: ItemKind, logs: Iterable[ItemLog]) -> Self:
        """Return a log that holds what these hold."""
        whole = cls(kind, "all")
        for log in logs:
            whole.kept += log.kept
            whole.remarks.update(log.remarks)
            whole.examples = log.examples | whole.examples
            for key, tally in log.tallies.items():
                total = whole.tallies.setdefault(key, ItemTally(key))
                total.count += tally.count
                total.units |= tally.units
        return whole

    @property
    def count(self) -> int:
        """How many items there are."""
        return sum(tally.count for tally in self.tallies.values())

    def take(self, items: Sequence[Item], body: Item, now_ms: float) -> None:
        """Take the items of one request, and the body that they came in."""
        for item in items:
            key = self.kind.key_of(item, body)
            tally = self.tallies.setdefault(key, ItemTally(key))
            tally.count += 1
            if self._keep == "all" or (self._keep == "samples" and tally.count == 1):
                self.kept.append(item)
            if unit := self.kind.unit_of(item):
                tally.units.add(unit)
            for remark in self.kind.remarks_on(item, now_ms):
                self.remarks[remark] += 1
                self.examples.setdefault((remark,), item)

    def lines(self) -> list[ItemTally]:
        """Return the tallies, the largest first."""
        return sorted(self.tallies.values(), key=lambda tally: -tally.count)


def _exposure_key(exposure: Item, _: Mapping[str, Any]) -> tuple[str, ...]:
    if "gateName" in exposure:
        subject = (exposure["gateName"], "gate passed" if exposure["passes"] else "gate not passed")
    else:
        subject = (exposure["experimentName"], "experiment")
    user = exposure.get("user") or {}
    tier = user.get("statsigEnvironment", {}).get("tier", "")
    return (*subject, exposure.get("ruleID") or exposure.get("group", ""), tier)


def _exposed(exposure: Item) -> str:
    return identifier_of(exposure.get("user") or {})[1]


def _metric_key(metric: Item, body: Item) -> tuple[str, ...]:
    kind = "value" if "metric_value" in metric else "ratio"
    return metric["metric_name"], metric["id_type"], f"test {kind}" if body.get("isTest") else kind


def _measured(metric: Item) -> str:
    return str(metric["user_id"])


def _nothing(_: Item, __: float) -> Iterable[str]:
    return ()


KINDS = {
    "exposures": ItemKind(
        "Exposures", ("Name", "Kind", "Group or rule", "Tier"), "Users", _exposure_key, _exposed, remarks_on
    ),
    "metrics": ItemKind("Metrics", ("Name", "ID type", "Kind"), "Units", _metric_key, _measured, _nothing),
}
"""By the member of the body that holds them."""
