"""What the tap's messages have shown of each stream, as they come off the wire and before any stream map.

Keeps counts and facts under the tap's own stream names. Refuses to know what they prove (`completeness`).
Pure bookkeeping; not for use by several threads.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from target_statsig.segments.bookmarks import Bookmark, bookmarks_of, marks_progress, read_bookmark


class RowCount(enum.Enum):
    """What can stand in the place of a number of rows."""

    MISSING = enum.auto()
    """The record has no such column, or nobody asked."""
    MIXED = enum.auto()
    """The records do not agree."""


MISSING = RowCount.MISSING


@dataclass(slots=True)
class Seen:
    """What was seen of one stream: the observer's running account, of which it hands out copies.

    Attributes:
        stream: The tap's name for it.
        schemas: SCHEMA messages of it.
        records: RECORD messages of it.
        row_count: What every record's row count column holds.
        closed: Whether a STATE with its bookmark, and without a sign of progress, came right after its last
            SCHEMA or RECORD, no other stream's message in between.
        interval: Records from one STATE within the stream to the next, counted from its start.
        irregular: Whether those intervals differ.
        interleaved: Whether another stream's message came between its first SCHEMA and its last record.
        activated: Whether an ACTIVATE_VERSION came after its last SCHEMA or RECORD.
        dead_letter: Whether a SCHEMA of it came from a dead-letter file.
        incremental_hint: Whether a SCHEMA of it looked like an incremental stream's.
        bookmark: Its bookmark in the last STATE that has one.
        currently_syncing: Whether the last STATE that can tell says that the tap is syncing it.
        later: What was seen of the streams of which nothing was seen before its last SCHEMA or RECORD; not what
            came after them in turn.
    """

    stream: str
    schemas: int = 0
    records: int = 0
    row_count: object = MISSING
    closed: bool = False
    interval: int | None = None
    irregular: bool = False
    interleaved: bool = False
    activated: bool = False
    dead_letter: bool = False
    incremental_hint: bool = False
    bookmark: Bookmark | None = None
    currently_syncing: bool = False
    later: tuple[Seen, ...] = ()

    @property
    def partitioned(self) -> bool:
        """Whether its bookmark shows that the tap syncs it in parts, each with a STATE of its own."""
        return self.bookmark is not None and self.bookmark.partitioned


@dataclass(slots=True)
class _Account:
    """One stream's running account, and what it takes to keep it.

    Attributes:
        seen: The account itself; what takes a look at bookmarks is only filled in when a copy is asked for.
        place: How many streams were known before this one.
        known: How many streams were known at its last SCHEMA or RECORD.
        opening_turn: The observer's turn when the stream began.
        states: STATE messages before its last RECORD, or before it began.
        last_point: Its records at the last STATE within it.
    """

    seen: Seen
    place: int
    known: int
    opening_turn: int
    states: int
    last_point: int = 0

    def learn_interval(self) -> None:
        """Take note of a STATE since the last record: it came after as many records as are counted now."""
        seen = self.seen
        interval = seen.records - self.last_point
        if interval:
            seen.irregular |= seen.interval not in {None, interval}
            seen.interval = interval
            self.last_point = seen.records


class StreamObserver:
    """Watches all messages of a run, each handed to the method of its type, in the order of the wire."""

    def __init__(self) -> None:
        """Begin before the first message."""
        self._accounts: dict[str, _Account] = {}
        self._bookmarks: dict[str, object] = {}
        self._syncing: str | None = None
        self._states = 0
        # A turn lasts until another stream's message comes.
        self._turn = 0
        self._speaker: _Account | None = None
        # The speaker's account while its records follow each other: there is nothing to do but to count them.
        self._running: Seen | None = None

    def schema(self, stream: str, *, dead_letter: bool = False, incremental_hint: bool = False) -> None:
        """See a SCHEMA.

        Args:
            stream: The tap's name for the stream.
            dead_letter: Whether the message has the mark of a dead-letter file.
            incremental_hint: What `bookmarks.hints_at_incremental` says of the message.
        """
        account = self._hear(stream)
        account.seen.schemas += 1
        account.seen.dead_letter |= dead_letter
        account.seen.incremental_hint |= incremental_hint
        self._go_on(account)

    def record(self, stream: str, row_count: object = MISSING, *, count: int = 1) -> None:
        """See a RECORD, or several that follow each other.

        Args:
            stream: The tap's name for the stream.
            row_count: What the row count column holds in each; `MISSING` where there is no such column.
            count: How many RECORDs.
        """
        seen = self._running
        if seen is None or seen.stream != stream:
            seen = self._resume(stream)
        seen.records += count
        if row_count is not seen.row_count and row_count != seen.row_count:
            seen.row_count = row_count if seen.records == count else RowCount.MIXED

    def activate_version(self, stream: str) -> None:
        """See an ACTIVATE_VERSION."""
        self._hear(stream).seen.activated = True

    def state(self, value: object) -> None:
        """See a STATE.

        Args:
            value: Its decoded `value`; what is no object, or has no bookmarks, says nothing.
        """
        self._states += 1
        self._running = None
        bookmarks = bookmarks_of(value)
        self._bookmarks.update(bookmarks)
        if isinstance(value, Mapping) and ("currently_syncing" in value or self._syncing in bookmarks):
            syncing = value.get("currently_syncing")
            self._syncing = syncing if isinstance(syncing, str) else None
        if self._speaker is not None:
            seen = self._speaker.seen
            if seen.stream in bookmarks and seen.stream != self._syncing:
                seen.closed |= not marks_progress(bookmarks[seen.stream])

    def seen(self, stream: str) -> Seen:
        """Return what was seen of a stream up to now; of one that never came, that nothing was."""
        account = self._accounts.get(stream)
        if account is None:
            return Seen(stream)
        later = (
            self._copy(other)
            for other in self._accounts.values()
            if other.place >= account.known and not other.seen.dead_letter
        )
        return self._copy(account, tuple(later))

    def _copy(self, account: _Account, later: tuple[Seen, ...] = ()) -> Seen:
        stream = account.seen.stream
        return replace(
            account.seen,
            bookmark=read_bookmark(self._bookmarks[stream]) if stream in self._bookmarks else None,
            currently_syncing=stream == self._syncing,
            later=later,
        )

    def _hear(self, stream: str) -> _Account:
        """Return the account of the stream that speaks, and begin a new turn if another one spoke before."""
        self._running = None
        if self._speaker is None or self._speaker.seen.stream != stream:
            self._turn += 1
        if stream not in self._accounts:
            place = len(self._accounts)
            self._accounts[stream] = _Account(Seen(stream), place, place + 1, self._turn, self._states)
        self._speaker = self._accounts[stream]
        return self._speaker

    def _resume(self, stream: str) -> Seen:
        """See the first record of a stream after a message of another stream or of another type."""
        account = self._hear(stream)
        seen = account.seen
        seen.interleaved |= self._turn != account.opening_turn
        if self._states != account.states:
            account.learn_interval()
            account.states = self._states
        self._go_on(account)
        self._running = seen
        return seen

    def _go_on(self, account: _Account) -> None:
        """Forget what would have ended the stream: it goes on."""
        account.known = len(self._accounts)
        account.seen.closed = False
        account.seen.activated = False
