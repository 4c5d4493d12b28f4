"""The segments of the emulated project: their members, versions and changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

SegmentType = Literal["id_list", "rule_based", "analysis_list", "user_store_id_list"]
Action = Literal["add", "remove", "reset"]

MAX_SHOWN_IDS = 5
"""Ids that a change names of those that it added or removed."""

_MAX_SORTED = 100_000
"""Members of more are searched in no order: sorting them would hold up the next requests."""


class SegmentSeed(Struct, forbid_unknown_fields=True):
    """A segment to put into the project."""

    id: str
    ids: list[str] = []
    type: SegmentType = "id_list"
    id_type: str = "userID"


@dataclass(frozen=True, slots=True)
class Change:
    """One request that changed a list.

    Attributes:
        given: How many ids it gave.
        added: How many of them were no members before; the first of these are `added_ids`.
        removed: How many are members no more; the first of these are `removed_ids`.
        version: The list's version after it.
        time: Seconds since 1970-01-01T00:00:00Z.
    """

    action: Action
    given: int
    added: int
    removed: int
    version: int
    time: float
    added_ids: list[str]
    removed_ids: list[str]


@dataclass(slots=True)
class Segment:
    """One segment.

    Attributes:
        ids: The members. A plain set: ten million fit in about 1.2 GB.
        before: How many members there were when the emulator first knew of it.
        created: Whether it was created through the Console API.
        updating: For how many more requests the list says that it is updating.
        history: The changes, in order.
    """

    id: str
    type: SegmentType = "id_list"
    id_type: str = "userID"
    ids: set[str] = field(default_factory=set)
    name: str = ""
    description: str = ""
    before: int = 0
    created: bool = False
    version: int = 1
    updating: int = 0
    history: list[Change] = field(default_factory=list)
    _sorted: list[str] = field(default_factory=list, repr=False)
    _sorted_version: int = field(default=0, repr=False)

    @property
    def added(self) -> int:
        return sum(change.added for change in self.history)

    @property
    def removed(self) -> int:
        return sum(change.removed for change in self.history)

    def change(self, action: Action, ids: Iterable[str], *, time: float = 0.0, updating: int = 0) -> Change:
        """Add or remove ids, or replace all members; what is so already is no change."""
        given = set(ids)
        added = set() if action == "remove" else given - self.ids
        removed = set() if action == "add" else given & self.ids if action == "remove" else self.ids - given
        self.ids |= added
        self.ids -= removed
        self.version += 1
        self.updating = updating
        first = (nsmallest(MAX_SHOWN_IDS, some) for some in (added, removed))
        change = Change(action, len(given), len(added), len(removed), self.version, time, *first)
        self.history.append(change)
        return change

    def page(self, number: int, size: int, *, overlap: bool = False) -> list[str]:
        """Return the ids of a page, counted from 1, sorted; `overlap` repeats the last id of the page before."""
        if self._sorted_version != self.version:
            # Once a version, so that reading all pages stays linear.
            self._sorted = sorted(self.ids)
            self._sorted_version = self.version
        start = (number - 1) * size
        first = start - 1 if overlap and start else start
        return self._sorted[first : start + size] if start < len(self._sorted) else []

    def find(self, text: str, most: int) -> list[str]:
        """Return at most so many members whose ids contain a text; in order where there are not too many members."""
        found = (unit for unit in self.ids if text in unit)
        return nsmallest(most, found) if len(self.ids) <= _MAX_SORTED else list(islice(found, most))

    def take_update_step(self) -> bool:
        """Return whether the list is still updating; each request brings the end of the update nearer."""
        updating = self.updating > 0
        self.updating = max(0, self.updating - 1)
        return updating
