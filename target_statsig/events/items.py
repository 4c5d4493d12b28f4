"""Records of a stream as items of the events API: events and exposures, and the list of all types of items.

Batching, delivery, the ledger and the dead letters are the same for all types. Their settings are in `config`.

An event (`POST /v1/log_event`) may also be a message of Segment or RudderStack, or a row of the tables that these
write: https://segment.com/docs/connections/spec/common/. An exposure (`POST /v1/log_custom_exposure`) says that someone
was in a group of an experiment, or met a rule of a gate.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.client.events import LOG_CUSTOM_EXPOSURE, LOG_CUSTOM_METRIC, LOG_EVENT
from target_statsig.config.choices import (
    JSON_COLUMNS,
    EventPreset,
    InvalidEventName,
    ObjectType,
    dropped_characters,
    sanitized,
)
from target_statsig.errors import RecordError
from target_statsig.events.metadata import MetadataMapper
from target_statsig.events.metric import MetricMapper
from target_statsig.events.times import event_times
from target_statsig.events.user import UserMapper
from target_statsig.events.values import Items, Mapper, event_values, json_value, label, labels, objects
from target_statsig.reports.text import counted
from target_statsig.singer.columns import convert, first_of, parse_bool, reads_messages, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.events import Endpoint
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns, Faults

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

TYPE = "type"
"""The column with the kind of call."""

EVENT_TEXT = "event_text"
"""The column with the name of an event in a warehouse, where `event` is the name of its table."""

VIEWS = ("page", "screen")
"""Kinds of calls that are no event. For these, RudderStack's mobile SDKs put the name of the screen into `event`."""

GATE_MARK = "gate:"
"""The prefix of gates where names are counted, because an experiment may have the same name."""


class EventNames:
    """Names the events of one stream.

    Statsig answers 202 and then drops, without a message, an event whose name holds one of a few characters
    (https://docs.statsig.com/metrics/raw-events).
    """

    def __init__(self, settings: StreamSettings) -> None:
        """Combine the renames of the preset and of `event_name_mapping`, which takes precedence."""
        self._renames = {**PRESETS[settings.event_preset], **settings.event_name_mapping}
        self._sanitizes = settings.invalid_event_name is InvalidEventName.SANITIZE
        self._named = lru_cache(4_096)(self._name)  # a stream seldom has a hundred names

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
        fault = None if name else "missing_event_name"
        if dropped_characters(name):
            fault = "invalid_event_name"
        elif len(name) > MAX_NAME_LENGTH:
            fault = "event_name_too_long"
        if fault:
            raise RecordError(fault, "event_name")
        return before, name


def read_objects(columns: Columns) -> Columns:
    """Return the columns with JSON texts of objects decoded; other texts stay as they are."""
    parsed: dict[str, Column] = {}
    for name in JSON_COLUMNS:
        column = columns.get(name)
        if str in set(map(type, column)):
            decoded = [json_value(value) if type(value) is str else value for value in column]
            parsed[name] = [new if type(new) is dict else old for new, old in zip(decoded, column, strict=True)]
    return columns.replaced(parsed) if parsed else columns


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
        self._metadata = MetadataMapper(settings, fed)

    @override
    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        if self._reads_messages:
            columns = read_objects(columns)
        named = first_of(columns, self._name) if self._event_name is None else (self._event_name,) * len(columns)
        # A table of a warehouse, which has EVENT_TEXT, may have a property called `type`.
        if self._names_views and TYPE in columns.names and EVENT_TEXT not in columns.names:
            named = [kind if kind in VIEWS else name for kind, name in zip(columns.get(TYPE), named, strict=True)]
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


class ExposureMapper(Mapper):
    """Maps the records of one stream.

    Its faults: `missing_experiment_or_gate`, `both_experiment_and_gate`, `missing_passes`, `invalid_passes`,
    `missing_group_or_rule`, `missing_identifier`, `invalid_time` and `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._static = {"experiment_name": settings.experiment_name, "gate_name": settings.gate_name}
        fields = ("experiment_name", "gate_name", "passes", "rule_id", "group", "event_time")
        self._sources = {field: sources_of(field, settings.field_mapping) for field in fields}
        self._time_unit = settings.time_unit
        self._users = UserMapper(settings)

    @override
    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        found = {
            field: (static,) * len(columns) if (static := self._static.get(field)) else first_of(columns, sources)
            for field, sources in self._sources.items()
        }
        experiments, gates = labels(found["experiment_name"], faults), labels(found["gate_name"], faults)
        passed = _passes(experiments, gates, found["passes"], faults)
        rules, groups = labels(found["rule_id"], faults), labels(found["group"], faults)
        for row, (rule, group) in enumerate(zip(rules, groups, strict=True)):
            if rule is None and group is None:
                faults.setdefault(row, RecordError("missing_group_or_rule", "group"))
        users, tiers = self._users(columns, faults, warnings)
        exposure = {
            "experimentName": experiments,
            "gateName": gates,
            "passes": passed,
            "ruleID": rules,
            # Statsig accepts exactly one of the two. The rule's id is the more specific.
            "group": [group if rule is None else None for rule, group in zip(rules, groups, strict=True)],
            "time": event_times(found["event_time"], columns.extracted, self._time_unit, now_ms, warnings, faults),
            "user": users,
        }
        names = [
            experiment if gate is None else f"{GATE_MARK}{gate}"
            for experiment, gate in zip(experiments, gates, strict=True)
        ]
        return Items(objects(exposure, len(columns)), names, tiers)


def _passes(experiments: Column, gates: Column, passes: Column, faults: Faults) -> Column:
    """Return whether each gate passed; null for experiments. A record must name an experiment or a gate, not both."""
    passed: list[bool | None] = []
    for row, (experiment, gate, value) in enumerate(zip(experiments, gates, passes, strict=True)):
        passed.append(None if gate is None or value is None else parse_bool(value))
        if experiment is not None and gate is not None:
            faults.setdefault(row, RecordError("both_experiment_and_gate"))
        elif experiment is None and gate is None:
            faults.setdefault(row, RecordError("missing_experiment_or_gate", "experiment_name"))
        elif gate is not None and passed[-1] is None:
            faults.setdefault(row, RecordError("missing_passes" if value is None else "invalid_passes", "passes"))
    return passed


@dataclass(frozen=True, slots=True)
class ItemType:
    """A type of items. Picklable.

    Attributes:
        object_type: Its name in a stream's settings.
        endpoint: The endpoint of the events API.
        mapper: Creates the mapper of a stream, given the stream's settings.
    """

    object_type: ObjectType
    endpoint: Endpoint
    mapper: Callable[[StreamSettings], Mapper]

    def count(self, number: int) -> str:
        """Return a number of items in words, such as "1 event" or "500 events"."""
        return counted(number, self.object_type, self.endpoint.items)


EVENTS = ItemType(ObjectType.EVENT, LOG_EVENT, EventMapper)

EXPOSURES = ItemType(ObjectType.EXPOSURE, LOG_CUSTOM_EXPOSURE, ExposureMapper)

METRICS = ItemType(ObjectType.METRIC, LOG_CUSTOM_METRIC, MetricMapper)

ITEM_TYPES: Mapping[ObjectType, ItemType] = MappingProxyType(
    {item_type.object_type: item_type for item_type in (EVENTS, EXPOSURES, METRICS)}
)
"""The types by their object type."""
