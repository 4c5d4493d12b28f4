"""Warnings about columns and streams that the settings name but the input lacks, with the nearest existing name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from target_statsig.config.checks import nearest
from target_statsig.config.choices import JSON_COLUMNS, IdType, ObjectType
from target_statsig.singer.columns import id_destination, listed, places, reads_messages, sources_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from target_statsig.config.settings import StreamSettings

logger = logging.getLogger(__name__)

NAMING = {
    ObjectType.EVENT: ("field_mapping", "custom_ids", "custom_fields", "environment_tier_field", "metadata_fields"),
    ObjectType.EXPOSURE: ("field_mapping", "custom_ids", "custom_fields", "environment_tier_field"),
    ObjectType.METRIC: ("field_mapping",),
    ObjectType.SEGMENT: ("membership_field", "segment_id_field"),
}
"""The settings that name columns, by object type. For segments, the column of the id is added."""

OPEN_KEYWORDS = frozenset({"$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas"})
"""Keywords that allow an object members beyond `properties`."""

SHOWN_STREAMS = 20
"""Streams that one warning names at most."""


class NamedColumns:
    """Compares the columns that a stream's settings name with those of its SCHEMA.

    Attributes:
        seen: Whether a SCHEMA came.
    """

    def __init__(self, stream: str, settings: StreamSettings) -> None:
        self._stream = stream
        self._settings = settings
        self.seen = False
        self._schema: Mapping[str, Any] = {}
        self._warned: set[tuple[str, tuple[str, ...]]] = set()

    def check(self, schema: Mapping[str, Any], tap_schema: Mapping[str, Any]) -> None:
        """Warn, once each, of named columns that the stream does not have, after stream maps.

        `row_count_field` refers to the JSON schema as the tap sent it.
        """
        self.seen = True
        if reads_messages(self._settings):
            # These columns may hold objects as JSON text, whose members are not in the schema.
            open_columns: dict[str, Any] = {name: {} for name in JSON_COLUMNS if name in _members(schema)}
            schema = {**schema, "properties": {**_members(schema), **open_columns}}
        self._schema = schema
        for setting, sources in self._columns_by_setting():
            self._warn_if_absent(schema, setting, sources)
        if self._settings.object_type is ObjectType.SEGMENT and self._settings.row_count_field is not None:
            self._warn_if_absent(tap_schema, "row_count_field", (self._settings.row_count_field,), maps="before")

    def where(self, field: str) -> str:
        """Return a sentence that says where a rejected record's field, a destination or a column, is read from."""
        settings = self._settings
        sources = sources_of(field, settings.field_mapping, of_messages=reads_messages(settings))
        if settings.object_type is ObjectType.SEGMENT:
            names = {name: source for name in NAMING[ObjectType.SEGMENT] if (source := getattr(settings, name))}
            destination = id_destination(settings)
            field = next((name for name, source in names.items() if source == field), destination)
            sources = (names[field],) if field in names else sources_of(destination, settings.field_mapping)
        elif getattr(settings, field, None) is not None:
            return f"`{field}` comes from the setting of that name."
        # The field is a column: of the primary key, or of a custom ID type.
        origin = "the column of that name" if sources == (field,) else _enumerated(sources, "or")
        return f"`{field}` is read from {origin}{_absence(sources, self._schema)}."

    def _columns_by_setting(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each setting that names columns, with its columns. The stream needs one of them."""
        settings = self._settings
        if settings.object_type is ObjectType.SEGMENT:
            destination = id_destination(settings)
            if destination in settings.field_mapping:
                yield f"field_mapping.{destination}", listed(settings.field_mapping[destination])
            elif settings.id_type is IdType.CUSTOM_ID:
                yield "custom_id_type", (destination,)
        for name in NAMING[settings.object_type]:
            value = getattr(settings, name)
            if isinstance(value, dict):
                yield from ((f"{name}.{key}", listed(sources)) for key, sources in value.items())
            elif isinstance(value, tuple):
                yield from ((name, (source,)) for source in value if source != "*")
            elif value is not None:
                yield name, (value,)

    def _warn_if_absent(
        self, schema: Mapping[str, Any], setting: str, sources: tuple[str, ...], *, maps: str = "after"
    ) -> None:
        absence = _absence(sources, schema)
        if absence and (setting, sources) not in self._warned:
            self._warned.add((setting, sources))
            message = "Stream '%s': `%s` names %s%s. Case matters, and names are those %s stream maps."
            logger.warning(message, self._stream, setting, _enumerated(sources, "and"), absence, maps)


def warn_of_absent_streams(keys: Iterable[str], came: Sequence[str], entries: Container[str]) -> None:
    """Warn of the keys of `streams` that matched none of the streams that `came`, by their names after stream maps.

    A stream that has an entry of its own in `entries` is not suggested for another.
    """
    unnamed = [stream for stream in came if stream not in entries]
    shown = ", ".join(f"'{stream}'" for stream in came[:SHOWN_STREAMS]) or "nothing"
    more = f" and {len(came) - SHOWN_STREAMS} more" if len(came) > SHOWN_STREAMS else ""
    for key in keys:
        near = nearest(key, unnamed)
        hint = f" Did you mean '{near}'?" if near else ""
        message = "`streams` names '%s', but no such stream came.%s Streams that came, after stream maps: %s%s."
        logger.warning(message, key, hint, shown, more)


def _enumerated(names: Sequence[str], conjunction: str) -> str:
    *others, last = [f"`{name}`" for name in names]
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def _may_have(schema: Mapping[str, Any], source: str) -> bool:
    if _is_open(schema):
        return True
    columns = _members(schema)
    return any(_reaches(columns[place.column], place.path) for place in places((source,), columns))


def _reaches(schema: object, path: Sequence[str]) -> bool:
    if not path or not isinstance(schema, dict) or (_may_be_object(schema) and _is_open(schema)):
        return True
    members = _members(schema)
    return _may_be_object(schema) and path[0] in members and _reaches(members[path[0]], path[1:])


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Return whether an object may have members that its schema does not name."""
    return not _members(schema) or bool(schema.get("additionalProperties")) or not OPEN_KEYWORDS.isdisjoint(schema)


def _members(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    members = schema.get("properties")
    return members if isinstance(members, dict) else {}


def _may_be_object(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", "object")
    return kinds == "object" or (isinstance(kinds, list) and "object" in kinds)


def _absence(sources: Sequence[str], schema: Mapping[str, Any]) -> str:
    """Return the rest of a sentence about columns, if a stream has none of them."""
    if any(_may_have(schema, source) for source in sources):
        return ""
    near = next(filter(None, (nearest(source, [*_paths(schema)]) for source in sources)), None)
    hint = f" (the nearest is `{near}`)" if near else ""
    return f", {'none of which the stream has' if len(sources) > 1 else 'which the stream does not have'}{hint}"


def _paths(schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, part in _members(schema).items():
        yield f"{before}{name}"
        if isinstance(part, dict):
            yield from _paths(part, f"{before}{name}.")
