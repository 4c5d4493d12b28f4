"""What the tap's messages show of each of its streams: records, versions, and the bookmarks of its STATEs.

`completeness` draws the conclusions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import OnIncompleteStream, SyncMode
from target_statsig.errors import FatalRunError, Heading
from target_statsig.segments.completeness import MIXED, Seen, Sign, assess, weakest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.config.settings import StreamSettings
    from target_statsig.segments.completeness import Verdict
    from target_statsig.singer.columns import Column
    from target_statsig.singer.records import Read

PROGRESS_KEYS = frozenset({"progress_markers", "starting_replication_value", "replication_key_signpost"})
"""Keys that singer-sdk keeps in a bookmark while it syncs the stream, and removes when it has finished:
`finalize_state_progress_markers` in `singer_sdk.helpers._state`."""

FRESH_KEYS = frozenset({"version", "last_replication_method", "initial_full_table_complete"})
"""Keys in the bookmark of a full table that begins afresh. Any other value is a position to resume from.
tap-mongodb keeps the last key for ever, and reads it only if the stream is log-based."""

FULL_TABLE_KEYS = FRESH_KEYS | {"xmin"}
"""Keys in the bookmark of a full table besides partitions. singer-sdk leaves it empty; database taps on singer-python
keep these."""

CURRENTLY_SYNCING = "currently_syncing"


def bookmarks_of(state: object) -> dict[str, Any]:
    """Return a STATE value's bookmarks by the tap's stream name, without those that are null."""
    bookmarks = state.get("bookmarks") if isinstance(state, Mapping) else None
    if not isinstance(bookmarks, Mapping):
        return {}
    return {stream: content for stream, content in bookmarks.items() if content is not None}


def signs_of(content: object) -> set[Sign]:
    """Return what a bookmark shows of its stream that forbids removals; nothing if it is that of a full table."""
    parts, signs = _parts(content), set()
    if any(part.get(key) is not None for part in parts for key in ("replication_key", "replication_key_value")):
        signs.add(Sign.INCREMENTAL)
    elif not all(map(_is_full_table, parts)):
        signs.add(Sign.UNKNOWN_BOOKMARK)
    if not all(map(PROGRESS_KEYS.isdisjoint, parts)):
        signs.add(Sign.PROGRESS_MARKERS)
    return signs


def owner(name: str, streams: Collection[str]) -> str | None:
    """Return the stream to which a bookmark belongs by its name, or None.

    That is the stream of this name, or else the longest one whose name has the same ending: tap-mongodb keeps the
    bookmark of stream `events` as `shop-events`, and a mapper between tap and target may add a prefix to stream names.
    """
    if name in streams:
        return name
    alike = [stream for stream in streams if _end_alike(name, stream)]
    return max(alike, key=lambda stream: (len(stream), stream), default=None)


def begins_afresh(content: object) -> bool:
    """Return whether a tap that starts from this bookmark sends the whole table."""
    return all(value is None or key in FRESH_KEYS for part in _parts(content) for key, value in part.items())


def _is_resume_point(content: object) -> bool:
    """Return whether a tap may resume a full table from this bookmark."""
    return not begins_afresh(content) and Sign.INCREMENTAL not in signs_of(content)


def hints_at_incremental(schema_message: Mapping[str, Any]) -> bool:
    """Return whether a SCHEMA message looks like that of an incremental stream.

    It is only a hint: a singer-sdk tap that the catalog forces to FULL_TABLE names bookmark properties too.
    """
    schema = schema_message.get("schema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    # Log-based database taps add this column. Their SCHEMA names no bookmark properties.
    log_based = isinstance(properties, Mapping) and "_sdc_lsn" in properties
    return log_based or bool(schema_message.get("bookmark_properties"))


def _end_alike(name: str, other: str) -> bool:
    words, others = (re.findall(r"[^\W_]+", each.casefold()) for each in (name, other))
    shorter = min(len(words), len(others))
    return shorter > 0 and words[-shorter:] == others[-shorter:]


def _parts(content: object) -> list[Mapping[str, Any]]:
    """Return the bookmark without its partitions, then each partition without the context that names it.

    What is no object, such as a bare position, counts as an object that holds a position without a name.
    """
    partitions = (content.get("partitions") if isinstance(content, Mapping) else None) or []
    if not isinstance(partitions, list):
        partitions = [partitions]
    parts = [(content, "partitions"), *((partition, "context") for partition in partitions)]
    return [
        {key: value for key, value in part.items() if key != left_out} if isinstance(part, Mapping) else {"": True}
        for part, left_out in parts
    ]


def _is_full_table(part: Mapping[str, Any]) -> bool:
    method = part.get("last_replication_method", "FULL_TABLE")
    return part.keys() <= FULL_TABLE_KEYS | PROGRESS_KEYS and method == "FULL_TABLE"


class StreamObserver:
    """Observes all messages of a run before any stream map.

    It counts under the tap's stream names. Stream maps rename and copy streams; `follow` notes which of the tap's
    streams feed which of ours.

    A bookmark may have another name than its stream. Then it belongs to the stream whose name has the same ending
    (`owner`), or perhaps to the stream whose records came when it moved. Not thread-safe.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, Seen] = {}
        self._row_count_fields: dict[str, str | None] = {}
        self._feeding: dict[str, set[str]] = {}
        self._settings: dict[str, StreamSettings] = {}
        self._mirrored: dict[str, str] = {}
        self._bookmarks: dict[str, object] = {}
        self._syncing: str | None = None
        self._resume_points: frozenset[str] = frozenset()
        self._has_state = False
        self._with_records: set[str] = set()
        """Streams with records after the last STATE."""
        self._writers: set[str] = set()
        """Streams with records between the last two STATEs that had any between them."""
        self._moved_by: dict[str, set[str]] = {}
        self._unsure: dict[str, str] = {}
        """Bookmarks of which no earlier STATE shows whether they moved, with the stream whose position they may be."""

    def follow(self, tap_stream: str, stream: str, settings: StreamSettings) -> None:
        """Note that a stream of the tap feeds a segment stream with these settings."""
        self._feeding.setdefault(stream, set()).add(tap_stream)
        self._settings[stream] = settings
        self._row_count_fields[tap_stream] = settings.row_count_field or self._row_count_fields.get(tap_stream)
        if settings.sync_mode is SyncMode.MIRROR:
            self._mirrored.setdefault(tap_stream, stream)

    def schema(self, message: Mapping[str, Any], *, dead_letter: bool) -> None:
        """See a SCHEMA message; `dead_letter` is whether it has the mark of a dead-letter file."""
        seen = self._account(message["stream"])
        seen.schemas += 1
        seen.activated = None
        if dead_letter:
            seen.signs |= {Sign.DEAD_LETTER}
        seen.incremental_hint |= hints_at_incremental(message)

    def read(self, tap_stream: str, read: Read) -> None:
        """See consecutive RECORDs of a stream that feeds a segment."""
        if read.messages is not None:
            self.records(tap_stream, read.messages)
            return
        field, columns = self._row_count_fields[tap_stream], read.columns
        row_counts = (None,) * len(columns) if field is None else columns.get(field)
        self._runs(tap_stream, row_counts, columns.versions)

    def records(self, tap_stream: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """See consecutive RECORD messages."""
        field = self._row_count_fields.get(tap_stream)
        records = [message["record"] for message in messages]
        # A record that is nested too deeply was not read as an object.
        row_counts = [record.get(field) if type(record) is dict else None for record in records]
        self._runs(tap_stream, row_counts, [message.get("version") for message in messages])

    def _runs(self, tap_stream: str, row_counts: Column, versions: Column) -> None:
        for (row_count, version), alike in groupby(zip(row_counts, versions, strict=True)):
            self.record(tap_stream, row_count, version=version, count=len([*alike]))

    def record(self, tap_stream: str, row_count: object = None, *, version: object = None, count: int = 1) -> None:
        """See a RECORD, or several consecutive ones with the same row count and `version`."""
        seen = self._account(tap_stream)
        self._with_records.add(tap_stream)
        if seen.resume_points is None:
            seen.resume_points = self._resume_points
        seen.activated = None
        first = seen.records == 0
        seen.records += count
        seen.row_count = _common(seen.row_count, row_count, first=first)
        seen.version = _common(seen.version, version, first=first)

    def activate_version(self, tap_stream: str, version: object) -> None:
        """See an ACTIVATE_VERSION."""
        self._account(tap_stream).activated = version

    def state(self, value: object) -> None:
        """See a STATE's value. Bookmarks that it lacks stay as they were.

        Raises:
            FatalRunError: It shows that a mirrored stream is incremental.
        """
        bookmarks = bookmarks_of(value)
        moved = {name: content for name, content in bookmarks.items() if self._bookmarks.get(name) != content}
        self._bookmarks.update(bookmarks)
        self._resume_points |= {name for name, content in moved.items() if not begins_afresh(content)}
        self._attribute(moved)
        if isinstance(value, Mapping) and (CURRENTLY_SYNCING in value or self._syncing in bookmarks):
            syncing = value.get(CURRENTLY_SYNCING)
            self._syncing = syncing if isinstance(syncing, str) else None
        mirrored = self._mirrored.keys() & bookmarks.keys()
        incremental = [name for name in mirrored if Sign.INCREMENTAL in signs_of(bookmarks[name])]
        if incremental:
            msg = (
                f"Stream '{self._mirrored[min(incremental)]}' is mirrored, but the tap's STATE shows that it is "
                "incremental. It holds only changed rows, so a mirror would remove everyone else. No member was "
                "added or removed, and the run stops. Sync the stream as FULL_TABLE and clear its bookmark from the "
                "tap's state, or set `sync_mode` to add."
            )
            raise FatalRunError(msg, heading=Heading.INCREMENTAL)

    def without_resumption(self, state: Any) -> Any:
        """Return a STATE's value from which the tap begins every mirrored stream afresh.

        A mirror needs the whole table in one run. A tap that resumes sends only the rest. So this leaves out bookmarks
        from which it may resume a full table, and a `currently_syncing` that names one of them: singer-python taps
        resume with that stream and skip those before it. The bookmark of an incremental stream stays.
        """
        if not isinstance(state, Mapping):
            return state
        mirrored = self._mirrored.keys()
        names = mirrored | {name for name in self._moved_by if self._may_be_of(name, mirrored)}
        resumed = {name for name, content in bookmarks_of(state).items() if name in names and _is_resume_point(content)}
        written = dict(state)
        if resumed:
            written["bookmarks"] = {name: kept for name, kept in state["bookmarks"].items() if name not in resumed}
        syncing = state.get(CURRENTLY_SYNCING)
        if isinstance(syncing, str) and syncing in names:
            del written[CURRENTLY_SYNCING]
        return written

    @property
    def must_keep_state(self) -> bool:
        """Whether the last STATE must not be written, because an unnamed bookmark may let a mirrored stream resume.

        It came after records, and no earlier STATE shows which bookmarks moved.
        """
        return not self._mirrored.keys().isdisjoint(self._unsure.values())

    def verdict(self, stream: str) -> Verdict:
        """Return whether the tap finished all that feeds a stream."""
        settings = self._settings[stream]
        field, fails = settings.row_count_field, settings.on_incomplete_stream is OnIncompleteStream.FAIL
        tap_streams = sorted(self._feeding[stream])
        return weakest(assess(self.seen(each), row_count_field=field, fails=fails) for each in tap_streams)

    def seen(self, tap_stream: str) -> Seen:
        """Return what was seen of one of the tap's streams up to now."""
        seen = self._accounts.get(tap_stream, Seen(tap_stream))
        owners = {name: self._owner(name) for name in self._bookmarks}
        named = {name for name, found in owners.items() if found == tap_stream}
        own = named or {name for name in owners if self._may_be_of(name, {tap_stream})}
        unclaimed = {name for name, found in owners.items() if found is None and name not in self._moved_by}
        resumable = {name for name in unclaimed if not begins_afresh(self._bookmarks[name])}
        before = self._resume_points if seen.resume_points is None else seen.resume_points
        signs = seen.signs.union(*(signs_of(self._bookmarks[name]) for name in own))
        if self._syncing is not None and (self._syncing in own or self._owner(self._syncing) == tap_stream):
            signs |= {Sign.CURRENTLY_SYNCING}
        return replace(
            seen,
            signs=signs,
            has_bookmark=bool(own),
            resumed=not own.isdisjoint(before),
            perhaps_resumed=not named and bool(resumable | (unclaimed & before)),
        )

    def _account(self, tap_stream: str) -> Seen:
        return self._accounts.setdefault(tap_stream, Seen(tap_stream))

    def _attribute(self, moved: Mapping[str, object]) -> None:
        """Note the streams that moved bookmarks may belong to: those whose records came before."""
        self._writers = self._with_records or self._writers
        self._with_records = set()
        is_first, self._has_state = not self._has_state, True
        self._unsure = {
            name: stream
            for name, stream in self._unsure.items()
            if name not in moved and self._writers == {stream} and self._owner(name) in {None, stream}
        }
        strange = {name: content for name, content in moved.items() if name not in self._accounts}
        if not strange or not self._writers:
            return
        # A bookmark without a stream's name may be that of the only stream with records, if none has its name.
        has_own = self._writers & {self._owner(name) for name in self._bookmarks}
        nameless = None if len(self._writers) > 1 or has_own else next(iter(self._writers))
        for name, content in strange.items():
            stream = self._owner(name) or nameless
            if stream not in self._writers:
                continue
            if not is_first or len(self._writers) > 1:
                self._moved_by.setdefault(name, set()).add(stream)
            elif _is_resume_point(content):
                self._unsure[name] = stream

    def _may_be_of(self, name: str, streams: AbstractSet[str]) -> bool:
        """Return whether a bookmark moved with one of these streams, and has the name of no other."""
        movers = self._moved_by.get(name, set()) & streams
        return bool(movers) and self._owner(name) in {None, *movers}

    def _owner(self, name: str) -> str | None:
        """Return the stream of this run that a bookmark belongs to by its name."""
        return owner(name, [stream for stream in self._accounts if stream == name or stream not in self._bookmarks])


def _common(before: object, value: object, *, first: bool) -> object:
    """Return what all records so far have in common."""
    if first:
        return value
    return before if value is before or value == before else MIXED
