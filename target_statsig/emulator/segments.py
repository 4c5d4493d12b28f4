"""The segments of the emulated project: their members, versions and changes.

Pure: no sockets and no clock; `State` holds the lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.emulator.contracts import SegmentType

MAX_SHOWN_IDS = 5
"""Ids that a change names of those that it added or removed."""

_MAX_SORTED = 100_000
"""Members of more are searched in no order: sorting them would hold up whoever sends more."""


@dataclass(frozen=True, slots=True)
class Change:
    """One request that changed a list.

    Attributes:
        action: `add`, `remove` or `reset`.
        given: How many ids it gave.
        added: How many of them were no members before.
        removed: How many are members no more.
        version: The list's version after it.
        time: When, in seconds since 1970-01-01T00:00:00Z.
        added_ids: The first of those that were added, in order.
        removed_ids: The first of those that were removed.
    """

    action: str
    given: int
    added: int
    removed: int
    version: int
    time: float
    added_ids: tuple[str, ...] = ()
    removed_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Segment:
    """One segment.

    Attributes:
        id: Its id.
        type: One of Statsig's four kinds.
        id_type: The identifier's name, such as `userID`.
        ids: The members. A plain set: ten million fit in about 1.2 GB.
        name: What the console shows; the id where none is given.
        description: Free text.
        before: Members when the emulator first knew of it.
        created: True when it was created through the Console API.
        version: Goes up with every change.
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

    def add(self, ids: Iterable[str], *, time: float = 0.0, updating: int = 0) -> Change:
        """Add ids; one that is a member already is no change."""
        given = set(ids)
        added = given - self.ids
        self.ids |= added
        return self._changed("add", len(given), added, set(), time, updating)

    def remove(self, ids: Iterable[str], *, time: float = 0.0, updating: int = 0) -> Change:
        """Remove ids; one that is no member is no change."""
        given = set(ids)
        removed = given & self.ids
        self.ids -= removed
        return self._changed("remove", len(given), set(), removed, time, updating)

    def reset(self, ids: Iterable[str], *, time: float = 0.0, updating: int = 0) -> Change:
        """Replace all members."""
        given = set(ids)
        added, removed = given - self.ids, self.ids - given
        self.ids = given
        return self._changed("reset", len(given), added, removed, time, updating)

    def page(self, page: int, size: int, *, overlap: bool = False) -> list[str]:
        """Return the ids of a page, counted from 1, sorted; `overlap` repeats the last id of the page before.

        The order is made once a version, so that reading all pages stays linear.
        """
        if self._sorted_version != self.version:
            self._sorted = sorted(self.ids)
            self._sorted_version = self.version
        start = (page - 1) * size
        first = start - 1 if overlap and start else start
        return self._sorted[first : start + size] if start < len(self._sorted) else []

    def find(self, text: str, most: int) -> list[str]:
        """Return members whose ids contain a text, at most so many; in order where there are not too many members."""
        found = (unit for unit in self.ids if text in unit)
        return nsmallest(most, found) if len(self.ids) <= _MAX_SORTED else list(islice(found, most))

    def take_update_step(self) -> bool:
        """Return whether the list is still updating; each request brings the end of the update nearer."""
        updating = self.updating > 0
        self.updating = max(0, self.updating - 1)
        return updating

    def _changed(
        self, action: str, given: int, added: set[str], removed: set[str], time: float, updating: int
    ) -> Change:
        self.version += 1
        self.updating = updating
        shown = (tuple(nsmallest(MAX_SHOWN_IDS, ids)) for ids in (added, removed))
        change = Change(action, given, len(added), len(removed), self.version, time, *shown)
        self.history.append(change)
        return change
