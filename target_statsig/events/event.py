"""Records of a stream as Statsig events (`POST /v1/log_event`)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from target_statsig._compat import override
from target_statsig.events.kind import Items, Mapper
from target_statsig.events.metadata import MetadataMapper
from target_statsig.events.names import EventNames
from target_statsig.events.objects import objects
from target_statsig.events.times import Times
from target_statsig.events.user import SHAPES_KEPT, UserMapper
from target_statsig.events.values import event_values
from target_statsig.singer.fields import first_of, places, sources_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.notes import MappingWarnings
    from target_statsig.singer.columns import Columns
    from target_statsig.singer.faults import Faults
    from target_statsig.singer.fields import Place


class EventMapper(Mapper):
    """Maps the records of one stream.

    Its reasons: `missing_event_name`, `invalid_event_name`, `event_name_too_long`, `missing_identifier`, `invalid_time`
    and `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        """Find out the sources of every field."""
        mapping = settings.field_mapping
        self._event_name = settings.event_name
        self._names = EventNames(settings)
        self._times = Times("event_time", settings.time_unit)
        self._users = UserMapper(settings)
        self._fields = tuple(sources_of(field, mapping) for field in ("event_name", "event_value", "event_time"))
        fed = [*(self._fields if settings.event_name is None else self._fields[1:]), *self._users.sources]
        self._metadata = MetadataMapper(settings.metadata_fields, fed)
        self._plan = lru_cache(SHAPES_KEPT)(self._plan_for)

    @override
    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        plan = self._plan(columns.names)
        named = first_of(columns, plan.name) if self._event_name is None else (self._event_name,) * len(columns)
        names = self._names(named, warnings, faults)
        event = {
            "eventName": names,
            "value": event_values(first_of(columns, plan.value), warnings, faults),
            "time": self._times.column(first_of(columns, plan.time), columns.extracted, now_ms, warnings, faults),
            "user": self._users(columns, faults, warnings),
            "metadata": self._metadata(columns, faults),
        }
        return Items(objects(event, len(columns)), names)

    def _plan_for(self, names: tuple[str, ...]) -> _Plan:
        return _Plan(*([*places(sources, names)] for sources in self._fields))


class _Plan(NamedTuple):
    """Where the fields are that are no user's, in records with certain columns."""

    name: Sequence[Place]
    value: Sequence[Place]
    time: Sequence[Place]
