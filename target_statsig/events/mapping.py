"""A record of a stream as a Statsig event (`POST /v1/log_event`).

Knows which field of the event stands where, and that a stream's records nearly all have the same columns: where to look
for what is worked out once for each set of them. Refuses to know how an event is sent.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from target_statsig.events.metadata import MetadataMapper, MetadataPlan
from target_statsig.events.names import EventNames
from target_statsig.events.notes import MappingNotes
from target_statsig.events.times import Times
from target_statsig.events.users import UserMapper, UserPlan
from target_statsig.events.values import event_value
from target_statsig.fields import Reader, Record, places, reader, sources_of

if TYPE_CHECKING:
    from target_statsig.settings import StreamSettings

PLANS_KEPT = 4_096
"""Sets of columns whose plan is kept; only columns that a source names count, so that a stream seldom has ten."""

SHAPES_KEPT = 512
"""Rows of columns of which it is known which plan they have; a stream without a fixed schema may have any number."""


class _Plan(NamedTuple):
    """The mapping of an event, for records that have the same columns."""

    read_name: Reader | None
    read_value: Reader | None
    read_time: Reader | None
    user_of: UserPlan
    metadata_of: MetadataPlan


class _Shape(NamedTuple):
    """What all records have in common that have the same columns in the same order."""

    plan: _Plan
    metadata_keys: tuple[str | None, ...]


class EventMapper:
    """Maps the records of one stream; cheap to make, and safe to use from several threads."""

    def __init__(self, settings: StreamSettings) -> None:
        """Find out the sources of every field."""
        mapping = settings.field_mapping
        self._event_name = settings.event_name
        self._names = EventNames(settings)
        self._times = Times("event_time", settings.time_unit)
        self._users = UserMapper(settings)
        self._name = sources_of("event_name", mapping) if settings.event_name is None else ()
        self._value = sources_of("event_value", mapping)
        self._time = sources_of("event_time", mapping)
        fed = [self._name, self._value, self._time, *self._users.sources]
        self._metadata = MetadataMapper(settings.metadata_fields, fed)
        self._columns = frozenset(
            place.column for sources in (*fed, *self._metadata.sources) for place in places(sources)
        )
        self._plan = lru_cache(PLANS_KEPT)(self._plan_for)
        self._shape = lru_cache(SHAPES_KEPT)(self._shape_of)

    def __call__(
        self, record: Record, *, time_extracted: str | None, now_ms: int, notes: MappingNotes
    ) -> dict[str, Any]:
        """Return the Statsig event of a record, as `encode` takes it.

        Args:
            record: The record, its numbers with a fraction as `Decimal`.
            time_extracted: The RECORD message's own time, ISO 8601: the time of an event that has none.
            now_ms: The present, unix milliseconds: the time of an event where that is missing too.
            notes: Told of what is worth a warning.

        Raises:
            RecordError: `missing_event_name`, `invalid_event_name`, `event_name_too_long`, `missing_identifier`,
                `invalid_time` or `not_encodable`.
        """
        (read_name, read_value, read_time, user_of, metadata_of), metadata_keys = self._shape(tuple(record))
        name = self._event_name if read_name is None else read_name(record)
        event: dict[str, Any] = {"eventName": self._names(name, notes)}
        if read_value is not None and (found := read_value(record)) is not None:
            value = event_value(found)
            if value is not None:
                event["value"] = value
        time = None if read_time is None else read_time(record)
        event["time"] = self._times(time, time_extracted, now_ms, notes)
        event["user"] = user_of(record, notes)
        metadata = metadata_of(record, metadata_keys)
        if metadata:
            event["metadata"] = metadata
        return event

    def _shape_of(self, columns: tuple[str, ...]) -> _Shape:
        plan = self._plan(self._columns.intersection(columns))
        return _Shape(plan, plan.metadata_of.keys_of(columns))

    def _plan_for(self, columns: frozenset[str]) -> _Plan:
        return _Plan(
            read_name=reader(self._name, columns),
            read_value=reader(self._value, columns),
            read_time=reader(self._time, columns),
            user_of=self._users.plan(columns),
            metadata_of=self._metadata.plan(columns),
        )


def to_event(
    record: Record, settings: StreamSettings, *, now_ms: int, time_extracted: str | None = None
) -> dict[str, Any]:
    """Return the Statsig event of a single record; for many of a stream, keep an `EventMapper`.

    Args:
        record: The record.
        settings: Its stream's settings.
        now_ms: The present, unix milliseconds.
        time_extracted: The RECORD message's own time, ISO 8601.

    Raises:
        RecordError: As for `EventMapper`.
    """
    return EventMapper(settings)(record, time_extracted=time_extracted, now_ms=now_ms, notes=MappingNotes())
