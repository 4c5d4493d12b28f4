"""A record of a stream as a Statsig event (`POST /v1/log_event`).

Knows which field of the event stands where, and that a stream's records nearly all have the same columns: where to look
for what is worked out once for each set of them. Refuses to know how an event is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from target_statsig._compat import override
from target_statsig.events.by_column import ByColumn, EventFields
from target_statsig.events.kind import Mapper
from target_statsig.events.metadata import MetadataMapper, MetadataPlan
from target_statsig.events.names import EventNames
from target_statsig.events.notes import LONGEST, MappingNotes
from target_statsig.events.times import CLOCKS_APART_MS, OLD_MS, Times, parse_text
from target_statsig.events.users import UserMapper, UserPlan
from target_statsig.events.values import event_value
from target_statsig.fields import Reader, Record, only_column, places, reader, sources_of
from target_statsig.numbers import is_double

if TYPE_CHECKING:
    from target_statsig.events.kind import ToItem
    from target_statsig.settings import StreamSettings

PLANS_KEPT = 4_096
"""Sets of columns whose plan is kept; only columns that a source names count, so that a stream seldom has ten."""

SHAPES_KEPT = 512
"""Rows of columns for which there is a function; here all columns count, and each record may have others."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The mapping of an event, for records that have the same columns."""

    read_name: Reader
    read_value: Reader
    read_time: Reader
    user_of: UserPlan
    metadata_of: MetadataPlan


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
        self._name = sources_of("event_name", mapping) if settings.event_name is None else ()
        self._value = sources_of("event_value", mapping)
        self._time = sources_of("event_time", mapping)
        fed = [self._name, self._value, self._time, *self._users.sources]
        self._metadata = MetadataMapper(settings.metadata_fields, fed)
        self._columns = frozenset(
            place.column for sources in (*fed, *self._metadata.sources) for place in places(sources)
        )
        self._plan = lru_cache(PLANS_KEPT)(self._plan_for)
        self._function = lru_cache(SHAPES_KEPT)(self._function_for)
        self._by_column = lru_cache(SHAPES_KEPT)(self._by_column_for)

    @override
    def for_columns(self, columns: tuple[str, ...]) -> ToItem:
        return self._function(columns)

    @override
    def by_column(self, columns: tuple[str, ...]) -> ByColumn | None:
        return self._by_column(columns)

    def _by_column_for(self, columns: tuple[str, ...]) -> ByColumn | None:
        try:
            texts, ids = self._users.columns(columns)
            return ByColumn(
                EventFields(
                    name=only_column(self._name, columns),
                    value=only_column(self._value, columns),
                    time=only_column(self._time, columns),
                    texts=texts,
                    ids=ids,
                    metadata=self._metadata.columns(columns),
                ),
                event_name=self._event_name,
                tier=self._users.tier,
                names=self._names,
                times=self._times,
            )
        except (LookupError, ValueError):
            return None

    def _plan_for(self, columns: frozenset[str]) -> _Plan:
        name = reader(self._name, columns)
        return _Plan(
            read_name=name or (lambda _: self._event_name),
            read_value=reader(self._value, columns) or _nothing,
            read_time=reader(self._time, columns) or _nothing,
            user_of=self._users.plan(columns),
            metadata_of=self._metadata.plan(columns),
        )

    def _function_for(self, columns: tuple[str, ...]) -> ToItem:
        """Return what makes an event of a record with these columns.

        It looks for what nearly all records hold, and leaves the rest to those that know everything: a call to one of
        them takes as long as the look at the value.
        """
        plan = self._plan(self._columns.intersection(columns))
        read_name, read_value, read_time = plan.read_name, plan.read_value, plan.read_time
        user_of, read_id = plan.user_of, plan.user_of.user_id or _nothing
        metadata_of = plan.metadata_of.for_columns(columns)
        name_of, clean_names, time_of = self._names, self._names.clean, self._times

        def to_event(record: Record, time_extracted: str | None, now_ms: int, notes: MappingNotes) -> dict[str, Any]:
            source = read_name(record)
            name = clean_names.get(source) if type(source) is str else None
            event: dict[str, Any] = {"eventName": name_of(source, notes) if name is None else name}
            value = read_value(record)
            if value is not None and not (type(value) is Decimal and is_double(value)):
                value = event_value(value)
                if type(value) is str:
                    notes.add_text_values((value,))
            if value is not None:
                event["value"] = value
            time = read_time(record)
            time_ms = parse_text(time) if type(time) is str else None
            if time_ms is None or not -CLOCKS_APART_MS <= now_ms - time_ms <= OLD_MS:
                time_ms = time_of(time, time_extracted, now_ms, notes)
            event["time"] = time_ms
            unit = read_id(record)
            if type(unit) is str and (unit := unit.strip()):
                event["user"] = {"userID": unit}
                if len(unit) > LONGEST:
                    notes.long_user_ids += 1
            else:
                event["user"] = user_of(record, notes)
            metadata = metadata_of(record)
            if metadata:
                event["metadata"] = metadata
            return event

        return to_event


def _nothing(_: Record) -> None:
    """Read nothing: no column can hold it."""


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
    return EventMapper(settings)(record, time_extracted, now_ms, MappingNotes())
