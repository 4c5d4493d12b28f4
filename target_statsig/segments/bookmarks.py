"""The bookmarks of a STATE: which stream each belongs to, and what it shows.

Pure. `completeness` draws the conclusions.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

PROGRESS_KEYS = frozenset({"progress_markers", "starting_replication_value", "replication_key_signpost"})
"""Keys that singer-sdk keeps in a bookmark while it syncs the stream, and removes when it has finished:
`finalize_state_progress_markers` in `singer_sdk.helpers._state`."""

REPLICATION_KEYS = ("replication_key", "replication_key_value")

FRESH_KEYS = frozenset({"version", "last_replication_method", "initial_full_table_complete"})
"""Keys in the bookmark of a full table that begins afresh. Any other value is a position to resume from.
tap-mongodb keeps the last key for ever, and reads it only if the stream is log-based."""

FULL_TABLE_KEYS = FRESH_KEYS | {"xmin"}
"""Keys in the bookmark of a full table besides partitions. singer-sdk leaves it empty; database taps on singer-python
keep these."""

CURRENTLY_SYNCING = "currently_syncing"

LOG_POSITION_COLUMN = "_sdc_lsn"
"""Log-based database taps add this column. Their SCHEMA names no bookmark properties."""


class Kind(enum.Enum):
    """Whether a stream holds all rows or changed ones, by its bookmark; the most doubtful first."""

    INCREMENTAL = enum.auto()
    UNKNOWN = enum.auto()
    FULL_TABLE = enum.auto()


def bookmarks_of(state: object) -> dict[str, Any]:
    """Return a STATE value's bookmarks by the tap's stream name, without those that are null."""
    bookmarks = state.get("bookmarks") if isinstance(state, Mapping) else None
    if not isinstance(bookmarks, Mapping):
        return {}
    return {stream: content for stream, content in bookmarks.items() if content is not None}


def kind_of(content: object) -> Kind:
    """Return which rows the stream of a bookmark holds."""
    parts = _parts(content)
    if any(part.get(key) is not None for part in parts for key in REPLICATION_KEYS):
        return Kind.INCREMENTAL
    return Kind.FULL_TABLE if all(map(_is_full_table, parts)) else Kind.UNKNOWN


def is_in_progress(content: object) -> bool:
    """Return whether a bookmark shows the tap in the middle of the stream or of one of its partitions."""
    return not all(map(PROGRESS_KEYS.isdisjoint, _parts(content)))


def owner(name: str, streams: Collection[str]) -> str | None:
    """Return the stream to which a bookmark belongs by its name, or None.

    That is the stream of this name, or else the longest one whose name has the same ending: tap-mongodb keeps the
    bookmark of stream `events` as `shop-events`, and a mapper between tap and target may add a prefix to stream names.
    """
    if name in streams:
        return name
    words = _words(name)
    alike = [stream for stream in streams if _end_alike(words, _words(stream))]
    return max(alike, key=lambda stream: (len(stream), stream), default=None)


def begins_afresh(content: object) -> bool:
    """Return whether a tap that starts from this bookmark sends the whole table."""
    return all(value is None or key in FRESH_KEYS for part in _parts(content) for key, value in part.items())


def _is_resume_point(content: object) -> bool:
    """Return whether a tap may resume a full table from this bookmark."""
    return not begins_afresh(content) and kind_of(content) is not Kind.INCREMENTAL


def without_resumption(state: Any, names: AbstractSet[str]) -> Any:
    """Return a STATE's value from which a tap begins the streams with these bookmarks afresh.

    It leaves out bookmarks from which a tap may resume a full table, and a `currently_syncing` that names one of them:
    singer-python taps resume with that stream and skip those before it. It keeps the bookmark of an incremental stream.
    """
    if not isinstance(state, Mapping):
        return state
    resumed = {name for name, content in bookmarks_of(state).items() if name in names and _is_resume_point(content)}
    syncing = state.get(CURRENTLY_SYNCING)
    written = dict(state)
    if resumed:
        written["bookmarks"] = {name: content for name, content in state["bookmarks"].items() if name not in resumed}
    if isinstance(syncing, str) and syncing in names:
        del written[CURRENTLY_SYNCING]
    return written


def incremental_streams(state: object) -> set[str]:
    """Return the streams that are incremental by a STATE's value."""
    return {stream for stream, content in bookmarks_of(state).items() if kind_of(content) is Kind.INCREMENTAL}


def hints_at_incremental(schema_message: Mapping[str, Any]) -> bool:
    """Return whether a SCHEMA message looks like that of an incremental stream.

    It is only a hint: a singer-sdk tap that the catalog forces to FULL_TABLE names bookmark properties too.
    """
    schema = schema_message.get("schema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    log_based = isinstance(properties, Mapping) and LOG_POSITION_COLUMN in properties
    return log_based or bool(schema_message.get("bookmark_properties"))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.casefold())


def _end_alike(words: list[str], others: list[str]) -> bool:
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


@dataclass(frozen=True, slots=True)
class Position:
    """The tap's position in a stream, by the STATEs so far.

    Attributes:
        kind: Which rows the stream holds, by its bookmarks: the most doubtful kind of several; None if it has none.
        in_progress: Whether a bookmark of it shows the tap in the middle of it.
        resumed: Whether a STATE before its first record shows that the tap resumed an earlier run.
        perhaps_resumed: Whether none has its name, and one without a stream's name is a position to resume from.
        currently_syncing: Whether the last STATE with a `currently_syncing` names it.
    """

    kind: Kind | None = None
    in_progress: bool = False
    resumed: bool = False
    perhaps_resumed: bool = False
    currently_syncing: bool = False


class BookmarkTracker:
    """Follows the bookmarks of a run's STATEs, in the order in which the messages come.

    A bookmark may have another name than its stream. Then it belongs to the stream whose name has the same ending
    (`owner`), or perhaps to the stream whose records came when it moved.
    """

    def __init__(self) -> None:
        self._streams: set[str] = set()
        self._bookmarks: dict[str, object] = {}
        self._syncing: str | None = None
        self._resume_points: frozenset[str] = frozenset()
        self._resume_points_before: dict[str, frozenset[str]] = {}
        self._has_state = False
        self._with_records: set[str] = set()
        """Streams with records after the last STATE."""
        self._writers: set[str] = set()
        """Streams with records between the last two STATEs that had any between them."""
        self._moved_by: dict[str, set[str]] = {}
        self._unsure: dict[str, str] = {}

    def message(self, stream: str, *, is_record: bool) -> None:
        """Note a message of a stream."""
        self._streams.add(stream)
        if is_record:
            self._with_records.add(stream)
            self._resume_points_before.setdefault(stream, self._resume_points)

    def state(self, value: object) -> None:
        """Note a STATE's value. One without bookmarks is ignored."""
        bookmarks = bookmarks_of(value)
        moved = {
            name: content
            for name, content in bookmarks.items()
            if name not in self._bookmarks or self._bookmarks[name] != content
        }
        self._bookmarks.update(bookmarks)
        self._resume_points |= {name for name, content in moved.items() if not begins_afresh(content)}
        self._attribute(moved)
        if isinstance(value, Mapping) and (CURRENTLY_SYNCING in value or self._syncing in bookmarks):
            syncing = value.get(CURRENTLY_SYNCING)
            self._syncing = syncing if isinstance(syncing, str) else None

    def position(self, stream: str) -> Position:
        """Return the tap's position in a stream."""
        owners = {name: self._owner(name) for name in self._bookmarks}
        named = {name for name, found in owners.items() if found == stream}
        own = named or {name for name in owners if self._may_be_of(name, {stream})}
        unclaimed = {name for name, found in owners.items() if found is None and name not in self._moved_by}
        resumable = {name for name in unclaimed if not begins_afresh(self._bookmarks[name])}
        before = self._resume_points_before.get(stream, self._resume_points)
        syncing, contents = self._syncing, [self._bookmarks[name] for name in own]
        kinds = {*map(kind_of, contents)}
        return Position(
            kind=next((kind for kind in Kind if kind in kinds), None),
            in_progress=any(map(is_in_progress, contents)),
            resumed=not own.isdisjoint(before),
            perhaps_resumed=not named and bool(resumable | (unclaimed & before)),
            currently_syncing=syncing is not None and (syncing in own or self._owner(syncing) == stream),
        )

    def names(self, streams: AbstractSet[str]) -> set[str]:
        """Return the names of the bookmarks that may belong to these streams."""
        return {*streams, *(name for name in self._moved_by if self._may_be_of(name, streams))}

    def is_unsure(self, streams: AbstractSet[str]) -> bool:
        """Return whether the last STATE may hold a position within these streams under an unknown name.

        It came after records, and no earlier STATE shows which bookmarks moved.
        """
        return not streams.isdisjoint(self._unsure.values())

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
        strange = {name: content for name, content in moved.items() if name not in self._streams}
        if not strange or not self._writers:
            return
        nameless = self._only_writer_without_bookmark()
        for name, content in strange.items():
            stream = self._owner(name) or nameless
            if stream not in self._writers:
                continue
            if not is_first or len(self._writers) > 1:
                self._moved_by.setdefault(name, set()).add(stream)
            elif _is_resume_point(content):
                self._unsure[name] = stream

    def _only_writer_without_bookmark(self) -> str | None:
        """Return the only stream with records before the last STATE, if no bookmark has its name."""
        if len(self._writers) != 1 or self._writers & {self._owner(name) for name in self._bookmarks}:
            return None
        return next(iter(self._writers))

    def _may_be_of(self, name: str, streams: AbstractSet[str]) -> bool:
        """Return whether a bookmark moved with one of these streams, and has the name of no other."""
        movers = self._moved_by.get(name, set()) & streams
        return bool(movers) and self._owner(name) in {None, *movers}

    def _owner(self, name: str) -> str | None:
        """Return the stream of this run that a bookmark belongs to by its name."""
        return owner(name, [stream for stream in self._streams if stream == name or stream not in self._bookmarks])
