"""What the tap's messages have shown of each stream, as they come off the wire and before any stream map.

Keeps counts and facts under the tap's own stream names; `completeness` says what they prove. Pure bookkeeping; not for
use by several threads.

A bookmark need not have its stream's name. Then it belongs to the stream whose name ends alike; and one that moves
while records of one stream come may be that stream's, whatever its name.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from target_statsig.segments.bookmarks import (
    Bookmark,
    begins_afresh,
    bookmarks_of,
    holds_a_place,
    owner,
    read_bookmarks,
)


class Shared(enum.Enum):
    """What can stand in the place of a value that all records of a stream have in common."""

    MISSING = enum.auto()
    """The records have no such column, or nobody asked."""
    MIXED = enum.auto()
    """The records do not agree."""


MISSING = Shared.MISSING


@dataclass(slots=True)
class Seen:
    """What was seen of one stream: the observer's running account, of which it hands out copies.

    Attributes:
        stream: The tap's name for it.
        schemas: SCHEMA messages of it.
        records: RECORD messages of it.
        row_count: What every record's row count column holds.
        version: The `version` of every RECORD message; None where they have none.
        activated: The `version` of an ACTIVATE_VERSION after its last SCHEMA or RECORD; None where none came.
        resumed: Whether a STATE before its first record showed the tap going on from somewhere.
        perhaps_resumed: Whether none of the bookmarks is its by name, and one that goes on from somewhere is nobody's.
        dead_letter: Whether a SCHEMA of it came from a dead-letter file.
        incremental_hint: Whether a SCHEMA of it looked like an incremental stream's.
        bookmark: Its bookmark in the last STATE that has one; where it has several, what they say together.
        currently_syncing: Whether the last STATE that can tell says that the tap is syncing it.
    """

    stream: str
    schemas: int = 0
    records: int = 0
    row_count: object = MISSING
    version: object = None
    activated: object = None
    resumed: bool = False
    perhaps_resumed: bool = False
    dead_letter: bool = False
    incremental_hint: bool = False
    bookmark: Bookmark | None = None
    currently_syncing: bool = False


class StreamObserver:
    """Watches all messages of a run, each handed to the method of its type, in the order of the wire."""

    def __init__(self) -> None:
        """Begin before the first message."""
        self._accounts: dict[str, Seen] = {}
        self._bookmarks: dict[str, object] = {}
        self._syncing: str | None = None
        self._went_on: frozenset[str] = frozenset()
        self._went_on_before: dict[str, frozenset[str]] = {}
        self._has_state = False
        self._records_at_state: dict[str, int] = {}
        self._writers: set[str] = set()
        self._moved_by: dict[str, set[str]] = {}
        self._unsure: dict[str, str] = {}

    def schema(self, stream: str, *, dead_letter: bool = False, incremental_hint: bool = False) -> None:
        """See a SCHEMA.

        Args:
            stream: The tap's name for the stream.
            dead_letter: Whether the message has the mark of a dead-letter file.
            incremental_hint: What `bookmarks.hints_at_incremental` says of the message.
        """
        seen = self._account(stream)
        seen.schemas += 1
        seen.activated = None
        seen.dead_letter |= dead_letter
        seen.incremental_hint |= incremental_hint

    def record(self, stream: str, row_count: object = MISSING, *, version: object = None, count: int = 1) -> None:
        """See a RECORD, or several that follow each other.

        Args:
            stream: The tap's name for the stream.
            row_count: What the row count column holds in each; `MISSING` where there is no such column.
            version: The `version` of each; None where they have none.
            count: How many RECORDs.
        """
        seen = self._account(stream)
        seen.activated = None
        first = seen.records == 0
        if first:
            self._went_on_before[stream] = self._went_on
        seen.records += count
        seen.row_count = _common(seen.row_count, row_count, first=first)
        seen.version = _common(seen.version, version, first=first)

    def activate_version(self, stream: str, version: object) -> None:
        """See an ACTIVATE_VERSION."""
        self._account(stream).activated = version

    def state(self, value: object) -> None:
        """See a STATE.

        Args:
            value: Its decoded `value`; what is no object, or has no bookmarks, says nothing.
        """
        bookmarks = bookmarks_of(value)
        moved = {
            name: content
            for name, content in bookmarks.items()
            if name not in self._bookmarks or self._bookmarks[name] != content
        }
        self._bookmarks.update(bookmarks)
        self._went_on |= {name for name, content in moved.items() if not begins_afresh(content)}
        self._attribute(moved)
        if isinstance(value, Mapping) and ("currently_syncing" in value or self._syncing in bookmarks):
            syncing = value.get("currently_syncing")
            self._syncing = syncing if isinstance(syncing, str) else None

    def seen(self, stream: str) -> Seen:
        """Return what was seen of a stream up to now; of one that never came, that nothing was."""
        owners = {name: self._owner(name) for name in self._bookmarks}
        named = {name for name, found in owners.items() if found == stream}
        own = named or {name for name in owners if self._may_be_of(name, {stream})}
        unclaimed = {name for name, found in owners.items() if found is None and name not in self._moved_by}
        goes_on = {name for name in unclaimed if not begins_afresh(self._bookmarks[name])}
        before = self._went_on_before.get(stream, self._went_on)
        return replace(
            self._accounts.get(stream, Seen(stream)),
            resumed=not own.isdisjoint(before),
            perhaps_resumed=not named and bool(goes_on | (unclaimed & before)),
            bookmark=read_bookmarks(self._bookmarks[name] for name in own),
            currently_syncing=self._syncing is not None
            and (self._syncing in own or self._owner(self._syncing) == stream),
        )

    def places(self, streams: AbstractSet[str]) -> set[str]:
        """Return the names of bookmarks that may hold places within these streams."""
        return {*streams, *(name for name in self._moved_by if self._may_be_of(name, streams))}

    def is_unsure(self, streams: AbstractSet[str]) -> bool:
        """Return whether the last STATE may hold a place within these streams under a name that cannot be told.

        It came after records, and no STATE before them shows what has moved since.
        """
        return not streams.isdisjoint(self._unsure.values())

    def _attribute(self, moved: Mapping[str, object]) -> None:
        """Note whose the bookmarks may be that have moved since the last STATE, by whose records came before it."""
        wrote = {
            stream for stream, seen in self._accounts.items() if seen.records != self._records_at_state.get(stream, 0)
        }
        self._records_at_state.update((stream, self._accounts[stream].records) for stream in wrote)
        self._writers = wrote or self._writers
        is_first, self._has_state = not self._has_state, True
        self._unsure = {
            name: stream
            for name, stream in self._unsure.items()
            if name not in moved and self._writers == {stream} and self._owner(name) in {None, stream}
        }
        strange = {name: content for name, content in moved.items() if name not in self._accounts}
        if not strange or not self._writers:
            return
        nameless = self._only_writer_without_bookmark()
        for name, content in strange.items():
            stream = self._owner(name) or nameless
            if stream not in self._writers:
                continue
            if not is_first or len(self._writers) > 1:
                self._moved_by.setdefault(name, set()).add(stream)
            elif holds_a_place(content):
                self._unsure[name] = stream

    def _only_writer_without_bookmark(self) -> str | None:
        """Return the stream whose records alone came before the last STATE, if no bookmark is its by name."""
        if len(self._writers) != 1 or self._writers & {self._owner(name) for name in self._bookmarks}:
            return None
        return next(iter(self._writers))

    def _may_be_of(self, name: str, streams: AbstractSet[str]) -> bool:
        """Return whether a bookmark moved with one of these streams, and has the name of no other."""
        movers = self._moved_by.get(name, set()) & streams
        return bool(movers) and self._owner(name) in {None, *movers}

    def _owner(self, name: str) -> str | None:
        """Return the stream of this run to which a bookmark belongs by its name."""
        return owner(name, [stream for stream in self._accounts if stream == name or stream not in self._bookmarks])

    def _account(self, stream: str) -> Seen:
        seen = self._accounts.get(stream)
        if seen is None:
            seen = self._accounts[stream] = Seen(stream)
        return seen


def _common(before: object, value: object, *, first: bool) -> object:
    """Return what all records so far have in common."""
    if first:
        return value
    return before if value is before or value == before else Shared.MIXED
