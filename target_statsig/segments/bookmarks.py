"""What one STATE says of one stream: is the tap in the middle of it, is it incremental, or a full table; and of which.

Pure; reads decoded messages. `observer` knows in which order they came, `completeness` what follows from them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

PROGRESS_KEYS = frozenset({"progress_markers", "starting_replication_value", "replication_key_signpost"})
"""What singer-sdk keeps in a bookmark while it syncs the stream, and takes out when it has finished:
`finalize_state_progress_markers` in `singer_sdk.helpers._state`."""

REPLICATION_KEYS = ("replication_key", "replication_key_value")

FRESH_KEYS = frozenset({"version", "last_replication_method", "initial_full_table_complete"})
"""What the bookmark of a full table that begins afresh may say: anything else that is not null is where to go on.
tap-mongodb keeps the last one for ever, and asks for it only where the stream is log-based."""

FULL_TABLE_KEYS = FRESH_KEYS | {"xmin"}
"""What a full table's bookmark may hold besides partitions: singer-sdk leaves it empty, the database taps on
singer-python keep these."""

CURRENTLY_SYNCING = "currently_syncing"

LOG_POSITION_COLUMN = "_sdc_lsn"
"""The column that log-based database taps add; their SCHEMA names no bookmark properties."""


class Kind(enum.Enum):
    """What a stream carries, by its bookmark."""

    FULL_TABLE = enum.auto()
    INCREMENTAL = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Bookmark:
    """One stream's bookmark, as far as it matters here.

    Attributes:
        kind: What the stream carries: what is, what changed, or it cannot be told.
        in_progress: True while the tap is in the middle of the stream or of one of its partitions.
    """

    kind: Kind
    in_progress: bool


def bookmarks_of(state: object) -> dict[str, Any]:
    """Return a STATE value's bookmarks by the tap's stream name, without the nulls: they say nothing."""
    bookmarks = state.get("bookmarks") if isinstance(state, Mapping) else None
    if not isinstance(bookmarks, Mapping):
        return {}
    return {stream: content for stream, content in bookmarks.items() if content is not None}


def read_bookmark(content: object) -> Bookmark:
    """Return what a stream's bookmark says; a form that is not known has the kind `UNKNOWN`."""
    parts = _parts(content)
    return Bookmark(
        kind=_kind(parts),
        in_progress=any(marks_progress(part) for part in parts),
    )


def read_bookmarks(contents: Iterable[object]) -> Bookmark | None:
    """Return what a stream's bookmarks say together, the doubtful before the harmless; None where it has none."""
    found = [read_bookmark(content) for content in contents]
    if not found:
        return None
    kinds = {bookmark.kind for bookmark in found}
    return Bookmark(
        kind=next(kind for kind in (Kind.INCREMENTAL, Kind.UNKNOWN, Kind.FULL_TABLE) if kind in kinds),
        in_progress=any(bookmark.in_progress for bookmark in found),
    )


def owner(name: str, streams: Collection[str]) -> str | None:
    """Return the stream to which a bookmark belongs by its name, or None.

    That is the stream of this name, or else the longest one that ends alike: tap-mongodb keeps the bookmark of stream
    `events` as `shop-events`, or that of `shop_events`, and what stands between the tap and the target may have put a
    prefix before the stream's name.

    Args:
        name: The bookmark's name.
        streams: The streams that it may belong to.
    """
    if name in streams:
        return name
    words = _words(name)
    alike = [stream for stream in streams if _end_alike(words, _words(stream))]
    return max(alike, key=lambda stream: (len(stream), stream), default=None)


def holds_a_place(content: object) -> bool:
    """Return whether a bookmark may say where to go on within a full table."""
    return not begins_afresh(content) and not _is_incremental(_parts(content))


def marks_progress(content: object) -> bool:
    """Return whether a bookmark, partitions aside, shows a tap in the middle of its stream."""
    return isinstance(content, Mapping) and not PROGRESS_KEYS.isdisjoint(content)


def begins_afresh(content: object) -> bool:
    """Return whether a tap that starts from this bookmark sends the whole table: it says at most method and version."""
    return all(
        isinstance(part, Mapping) and all(value is None or key in FRESH_KEYS for key, value in part.items())
        for part in _parts(content)
    )


def without_resumption(state: Any, names: AbstractSet[str]) -> Any:
    """Return a STATE's value from which a tap begins the streams with these bookmarks afresh.

    The bookmarks are left out, unless they say no more than method and version, and so is a `currently_syncing` that
    names one of them: singer-python taps go on with that stream, and leave those before it out. What an incremental
    stream's bookmark says is no place within a table, and stays.

    Args:
        state: The value; one that is no object is returned as it is.
        names: The names of the bookmarks.
    """
    if not isinstance(state, Mapping):
        return state
    resumed = {name for name, content in bookmarks_of(state).items() if name in names and holds_a_place(content)}
    syncing = state.get(CURRENTLY_SYNCING)
    written = dict(state)
    if resumed:
        written["bookmarks"] = {name: content for name, content in state["bookmarks"].items() if name not in resumed}
    if isinstance(syncing, str) and syncing in names:
        del written[CURRENTLY_SYNCING]
    return written


def incremental_streams(state: object) -> set[str]:
    """Return the streams that a STATE's value shows to carry what changed, and not what is."""
    return {stream for stream, content in bookmarks_of(state).items() if _is_incremental(_parts(content))}


def hints_at_incremental(schema_message: Mapping[str, Any]) -> bool:
    """Return whether a SCHEMA message looks like an incremental stream's.

    A hint and no more: a singer-sdk tap that the catalog forces to FULL_TABLE names bookmark properties too.
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


def _parts(content: object) -> list[object]:
    """Return the bookmark without its partitions, then each partition without the context that names it."""
    if not isinstance(content, Mapping):
        return [content]
    partitions = content.get("partitions") or []
    if not isinstance(partitions, list):
        partitions = [partitions]
    return [_without(content, "partitions"), *(_without(part, "context") for part in partitions)]


def _without(content: object, key: str) -> object:
    if not isinstance(content, Mapping):
        return content
    return {name: value for name, value in content.items() if name != key}


def _is_incremental(parts: list[object]) -> bool:
    return any(part.get(key) is not None for part in parts if isinstance(part, Mapping) for key in REPLICATION_KEYS)


def _kind(parts: list[object]) -> Kind:
    if _is_incremental(parts):
        return Kind.INCREMENTAL
    return Kind.FULL_TABLE if all(_is_full_table(part) for part in parts) else Kind.UNKNOWN


def _is_full_table(part: object) -> bool:
    return (
        isinstance(part, Mapping)
        and part.keys() <= FULL_TABLE_KEYS | PROGRESS_KEYS
        and part.get("last_replication_method", "FULL_TABLE") == "FULL_TABLE"
    )
