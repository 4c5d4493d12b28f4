"""Records of a stream as Statsig events (`POST /v1/log_event`), and the names of events.

Statsig answers 202 and then drops, without a message, an event whose name holds one of a few characters
(https://docs.statsig.com/metrics/raw-events).
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.config.choices import EventPreset, InvalidEventName
from target_statsig.config.statsig import dropped_characters, sanitized
from target_statsig.errors import RecordError
from target_statsig.events.metadata import MetadataMapper
from target_statsig.events.times import event_times
from target_statsig.events.tracking import EVENT_TEXT, TYPE, read_objects, views_named
from target_statsig.events.user import UserMapper
from target_statsig.events.values import Items, Mapper, event_values, label, objects
from target_statsig.singer.fields import convert, first_of, reads_messages, sources_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.fields import Faults

MAX_NAME_LENGTH = 128
"""Characters (https://docs.statsig.com/data-warehouse-ingestion/data_mapping)."""

PRESETS: Mapping[EventPreset, Mapping[str, str]] = MappingProxyType(
    {
        EventPreset.NONE: {},
        EventPreset.DEFAULT: {
            "page": "page_view",
            "Signed Up": "sign_up",
            "Logged In": "login",
            "Products Searched": "search",
        },
        EventPreset.RETAIL: {
            "page": "page_view",
            "Products Searched": "search",
            "Product Viewed": "view_item",
            "Product Added": "add_to_cart",
            "Checkout Started": "begin_checkout",
            "Order Completed": "purchase",
        },
        EventPreset.SEGMENT: {"page": "page_view", "screen": "screen_view"},
    }
)
"""Statsig's names for events, by their names in analytics trackers."""

_NAMES_KEPT = 4_096
"""Event names to remember; a stream seldom has a hundred."""


class EventNames:
    """Names the events of one stream."""

    def __init__(self, settings: StreamSettings) -> None:
        """Combine the renames of the preset and of `event_name_mapping`, which takes precedence."""
        self._renames = {**PRESETS[settings.event_preset], **settings.event_name_mapping}
        self._sanitizes = settings.invalid_event_name is InvalidEventName.SANITIZE
        self._named = lru_cache(_NAMES_KEPT)(self._name)

    def __call__(self, sources: Column, warnings: MappingWarnings, faults: Faults) -> Column:
        """Return the event names for a column of source values."""

        def name_of(source: object) -> str:
            before, name = self._named(source if type(source) is str else label(source) or "")
            if before != name:
                warnings.add_renamed(before, name)
            return name

        if set(map(type, sources)) == {str}:
            with suppress(RecordError):
                names = {source: name_of(source) for source in set(sources)}
                return [*map(names.__getitem__, sources)]
        return convert(name_of, sources, faults)

    def _name(self, source: str) -> tuple[str, str]:
        """Return a name before and after it is sanitized."""
        source = source.strip()
        before = name = self._renames.get(source, source).strip()
        if self._sanitizes:
            name = sanitized(name)
        if fault := _fault(name):
            raise RecordError(fault, "event_name")
        return before, name


def _fault(name: str) -> str | None:
    """Return the reason why no event can have this name, or None."""
    if not name:
        return "missing_event_name"
    if dropped_characters(name):
        return "invalid_event_name"
    return "event_name_too_long" if len(name) > MAX_NAME_LENGTH else None


class EventMapper(Mapper):
    """Maps the records of one stream.

    Its faults: `missing_event_name`, `invalid_event_name`, `event_name_too_long`, `missing_identifier`, `invalid_time`
    and `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        mapping = settings.field_mapping
        self._event_name = settings.event_name
        self._names = EventNames(settings)
        self._time_unit = settings.time_unit
        self._users = UserMapper(settings)
        self._reads_messages = reads_messages(settings)
        self._names_views = self._reads_messages and settings.event_name is None and "event_name" not in mapping
        self._name, self._value, self._time = (
            sources_of(field, mapping, of_messages=self._reads_messages)
            for field in ("event_name", "event_value", "event_time")
        )
        fed = [self._value, self._time, *self._users.sources]
        if settings.event_name is None:
            fed.insert(0, self._name)
        self._metadata = MetadataMapper(
            settings.metadata_fields, settings.metadata_types, fed, of_messages=self._reads_messages
        )

    @override
    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        if self._reads_messages:
            columns = read_objects(columns)
        named = first_of(columns, self._name) if self._event_name is None else (self._event_name,) * len(columns)
        # A table of a warehouse, which has EVENT_TEXT, may have a property called `type`.
        if self._names_views and TYPE in columns.names and EVENT_TEXT not in columns.names:
            named = views_named(columns, named)
        names = self._names(named, warnings, faults)
        users, tiers = self._users(columns, faults, warnings)
        values = event_values(first_of(columns, self._value), warnings, faults)
        found = first_of(columns, self._time)
        times = event_times(found, columns.extracted, self._time_unit, now_ms, warnings, faults)
        event = {
            "eventName": names,
            "value": values,
            "time": times,
            "user": users,
            "metadata": self._metadata(columns, faults),
        }
        return Items(objects(event, len(columns)), names, tiers, times)
