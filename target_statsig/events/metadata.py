"""The metadata of an event: the columns that feed no other field, or those that `metadata_fields` names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import or_
from types import NoneType
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import PRIVATE_ATTRIBUTES, MetadataTypes
from target_statsig.events.values import objects, texts, typed
from target_statsig.singer.columns import (
    FLATTENED,
    SINGER_PREFIX,
    find,
    objects_in,
    overlay,
    picked,
    places,
    reads_messages,
    rows_by_shape,
    transposed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_statsig.config.settings import StreamSettings
    from target_statsig.singer.columns import Column, Columns, Faults, Place, Shapes

EVERYTHING = "*"
"""In `metadata_fields`: every column that feeds no other field."""

PROPERTIES = "properties"
"""The column in which analytics trackers put an event's own fields; its members become metadata."""

CONTAINERS = frozenset({"context", "traits", "consent"}) | PRIVATE_ATTRIBUTES
"""Columns of objects about the user, not the event. They never become metadata, flattened or not."""

STATSIG_MEMBERS = frozenset({"statsigCustomIDs", "statsigCustom", "statsigEnvironment"})
"""Members of `properties` that Statsig reads as the user's
(https://docs.statsig.com/integrations/data-connectors/segment and `/rudderstack`)."""

TRANSPORT = frozenset(
    {
        *("event", "event_text", "originalTimestamp", "original_timestamp", "sentAt", "sent_at"),
        *("receivedAt", "received_at", "uuid_ts", "loaded_at"),
    }
)
"""Columns about the transport of a message. They become metadata only if `metadata_fields` names them."""

OF_MESSAGES = frozenset({"type", "channel", "version", "integrations", "writeKey", "projectId", "_metadata"})
"""Further columns about the transport, of messages only: in a warehouse, they may be properties."""

CONTEXT_PREFIX = "context_"
"""The prefix of the columns in a warehouse that were members of `context`."""

_ROWS_OF_A_SHAPE = 16
"""If at least so many records on average have the same members, each group of such records is mapped by itself."""


class MetadataMapper:
    """Maps the metadata of the records of one stream."""

    def __init__(self, settings: StreamSettings, fed: Sequence[tuple[str, ...]]) -> None:
        """Take the sources of each other field, the preferred one first."""
        sources = settings.metadata_fields
        self._of_messages = reads_messages(settings)
        self._everything = EVERYTHING in sources
        self._unpacks = self._everything or PROPERTIES in sources
        self._named = [(source.replace(".", "_"), source) for source in sources if _may_be_named(source)]
        self._fed = fed
        self._convert = typed if settings.metadata_types is MetadataTypes.TYPED else texts
        self._plan = lru_cache(512)(self._plan_for)  # a stream seldom has ten sets of columns

    def __call__(self, columns: Columns, faults: Faults) -> Column:
        """Return the metadata of each record, or null. A fault is `not_encodable`: a value without a text."""
        keys, fields = self._plan(columns.names)
        fed = _fed_from(columns, fields)
        whole = self._converted([(key, columns.get(name), fed.get((name, None))) for name, key in keys], faults)
        sources = [(key, find(columns, (source,))) for key, source in self._named]
        named = self._converted([(key, column, None) for key, column in sources if column is not None], faults)
        if not self._unpacks or PROPERTIES not in columns.names:
            return objects(_joined([*whole, *named]), len(columns))
        properties = _without(columns.get(PROPERTIES), fed.get((PROPERTIES, None)))
        never = PRIVATE_ATTRIBUTES.union(STATSIG_MEMBERS if self._of_messages else ())
        metadata: list[Any] = [None] * len(columns)
        for rows, unpacked in _unpacked(properties):
            keys = _in_fixed_order([(name, name.replace(".", "_")) for name in unpacked if name not in never])
            members = [
                (key, unpacked[name], (feeds := fed.get((PROPERTIES, name))) and picked(feeds, rows))
                for name, key in keys
            ]
            faults_here: Faults = {}
            # If keys are equal, `_joined` prefers members to whole columns, and sources that the setting names to both.
            before, after = ([(key, picked(column, rows)) for key, column in each] for each in (whole, named))
            joined = _joined([*before, *self._converted(members, faults_here), *after])
            for row, item in zip(rows, objects(joined, len(rows)), strict=True):
                metadata[row] = item
            faults.update({rows[row]: fault for row, fault in faults_here.items() if rows[row] not in faults})
        return metadata

    def _converted(
        self, members: Iterable[tuple[str, Column, Sequence[bool] | None]], faults: Faults
    ) -> list[tuple[str, Column]]:
        """Return columns as metadata, without the values that feed other fields."""
        return [
            (key, self._convert(_without(column, feeds), faults)) for key, column, feeds in members if feeds is not _ALL
        ]

    def _plan_for(self, names: tuple[str, ...]) -> tuple[Sequence[tuple[str, str]], Sequence[Sequence[Place]]]:
        """Return the columns that become metadata unless they feed others, with keys, and the places of others."""
        keys = [(name, key) for name in names if (key := _key(name)) is not None] if self._everything else []
        if self._of_messages:
            never = TRANSPORT | OF_MESSAGES if PROPERTIES in names else TRANSPORT
            kept = [each for each in keys if each[0] not in never and each[1] not in STATSIG_MEMBERS]
            keys = [(name, key) for name, key in kept if not name.startswith(CONTEXT_PREFIX)]
        fields = [
            [place for place in places(sources, names) if place.column not in CONTAINERS] for sources in self._fed
        ]
        return _in_fixed_order(keys), [candidates for candidates in fields if candidates and self._unpacks]


_ALL: Sequence[bool] = ()
"""In `Fed`: in every record where the value is not null."""

Fed = dict[tuple[str, "str | None"], Sequence[bool]]
"""For each column, and each member of `properties`, whether it feeds another field, by record."""


def _fed_from(columns: Columns, fields: Iterable[Sequence[Place]]) -> Fed:
    """Return which values feed other fields: in each record, the first of a field's places that is not null."""
    fed: Fed = {}
    for candidates in fields:
        before: Column | None = None
        for place in candidates:
            member = place.path[0] if place.column == PROPERTIES and place.path else None
            key = (place.column, member)
            if before is None and len(place.path) == (0 if member is None else 1):
                # The preferred place of the field feeds it unless it is null.
                fed[key] = _ALL
                if len(candidates) > 1:
                    before = columns.at(place)
                continue
            found = columns.at(place)
            if found is None:
                continue
            feeds = [value is not None for value in found]
            if before is not None:
                feeds = [feed and earlier is None for feed, earlier in zip(feeds, before, strict=True)]
            others = fed.get(key)
            if others is not _ALL:
                fed[key] = feeds if others is None else [*map(or_, feeds, others)]
            before = found if before is None else overlay(found, before)
    return fed


def _without(column: Column, feeds: Sequence[bool] | None) -> Column:
    """Return a column without the values that feed another field."""
    if feeds is None or not any(feeds):
        return (None,) * len(column) if feeds is _ALL else column
    return [None if feed else value for value, feed in zip(column, feeds, strict=True)]


def _joined(members: Iterable[tuple[str, Column]]) -> dict[str, Column]:
    """Return columns by their keys. If several share a key, the last value that is not null counts."""
    joined: dict[str, Column] = {}
    for key, column in members:
        joined[key] = overlay(joined[key], column) if key in joined else column
    return joined


def _in_fixed_order(keys: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return columns with their keys, sorted if any share a key, because their order may differ between batches."""
    if len({key for _, key in keys}) == len(keys):
        return keys
    # Flattened members of `properties` take precedence, as the other members do; then names without dots.
    return sorted(keys, key=lambda each: (len(each[0]) > len(each[1]), each[0]))


def _unpacked(properties: Column) -> Iterator[tuple[Sequence[int], dict[str, Column]]]:
    """Yield groups of records with the members of their objects; values that are no objects are under `properties`."""
    kinds = {*map(type, properties)}
    found = properties if kinds == {dict} else objects_in(properties)
    shapes = rows_by_shape(found)
    parts: list[tuple[Sequence[int], Shapes]] = [(range(len(found)), shapes)]
    if len(shapes) * _ROWS_OF_A_SHAPE <= len(found):
        parts = [(rows, {shape: range(len(rows))}) for shape, rows in shapes.items()]
    for rows, shapes_of in parts:
        members = transposed(picked(found, rows), shapes_of)
        if not kinds <= {dict, NoneType}:
            bare = [None if type(value) is dict else value for value in picked(properties, rows)]
            members[PROPERTIES] = overlay(members[PROPERTIES], bare) if PROPERTIES in members else bare
        yield rows, members


def _may_be_named(source: str) -> bool:
    container = source.partition(".")[0]
    never = source in {EVERYTHING, PROPERTIES, *CONTAINERS} or container in PRIVATE_ATTRIBUTES
    return not never and not source.startswith(SINGER_PREFIX)


def _key(column: str) -> str | None:
    """Return the metadata key of a column, or None if it does not become metadata as a whole.

    Dots are replaced, because Statsig reads a key with a dot as a path.
    """
    container, _, member = column.partition(FLATTENED)
    if column == PROPERTIES or column.startswith(SINGER_PREFIX) or container.partition(".")[0] in CONTAINERS:
        return None
    return (member if container == PROPERTIES and member else column).replace(".", "_")
