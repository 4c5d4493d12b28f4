"""What the tap's messages have shown of each stream, as they come off the wire and before any stream map.

Keeps counts and facts under the tap's own stream names; `completeness` says what they prove. Pure bookkeeping; not for
use by several threads.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from target_statsig.segments.bookmarks import Bookmark, begins_afresh, bookmarks_of, read_bookmark


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
        dead_letter: Whether a SCHEMA of it came from a dead-letter file.
        incremental_hint: Whether a SCHEMA of it looked like an incremental stream's.
        bookmark: Its bookmark in the last STATE that has one.
        currently_syncing: Whether the last STATE that can tell says that the tap is syncing it.
    """

    stream: str
    schemas: int = 0
    records: int = 0
    row_count: object = MISSING
    version: object = None
    activated: object = None
    resumed: bool = False
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
        self._bookmarks.update(bookmarks)
        for stream, content in bookmarks.items():
            seen = self._account(stream)
            seen.resumed |= seen.records == 0 and not begins_afresh(content)
        if isinstance(value, Mapping) and ("currently_syncing" in value or self._syncing in bookmarks):
            syncing = value.get("currently_syncing")
            self._syncing = syncing if isinstance(syncing, str) else None

    def seen(self, stream: str) -> Seen:
        """Return what was seen of a stream up to now; of one that never came, that nothing was."""
        return replace(
            self._accounts.get(stream, Seen(stream)),
            bookmark=read_bookmark(self._bookmarks[stream]) if stream in self._bookmarks else None,
            currently_syncing=stream == self._syncing,
        )

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
