"""The segments of the emulated project: their members, versions and changes.

Pure: no sockets and no clock; `State` holds the lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.emulator.contracts import SegmentType


@dataclass(frozen=True, slots=True)
class Change:
    """One request that changed a list: what it did, the ids it gave, and those that made a difference."""

    action: str
    given: int
    added: int
    removed: int
    version: int


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

    def add(self, ids: Iterable[str], *, updating: int = 0) -> Change:
        """Add ids; one that is a member already is no change."""
        given = set(ids)
        added = len(given - self.ids)
        self.ids |= given
        return self._changed("add", len(given), added, 0, updating)

    def remove(self, ids: Iterable[str], *, updating: int = 0) -> Change:
        """Remove ids; one that is no member is no change."""
        given = set(ids)
        removed = len(given & self.ids)
        self.ids -= given
        return self._changed("remove", len(given), 0, removed, updating)

    def reset(self, ids: Iterable[str], *, updating: int = 0) -> Change:
        """Replace all members."""
        given = set(ids)
        added, removed = len(given - self.ids), len(self.ids - given)
        self.ids = given
        return self._changed("reset", len(given), added, removed, updating)

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

    def take_update_step(self) -> bool:
        """Return whether the list is still updating; each request brings the end of the update nearer."""
        updating = self.updating > 0
        self.updating = max(0, self.updating - 1)
        return updating

    def _changed(self, action: str, given: int, added: int, removed: int, updating: int) -> Change:
        self.version += 1
        self.updating = updating
        change = Change(action, given, added, removed, self.version)
        self.history.append(change)
        return change
