"""A record of a stream as one value of a precomputed metric (`POST /v1/log_custom_metric`).

Knows which field of it stands where (https://docs.statsig.com/metrics/precomputed-metrics). Such a value has no user
and no time: Statsig tells a unit by its id and the id's type, and publishes no field for a date. Refuses to know how it
is sent.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from target_statsig._compat import override
from target_statsig.events.kind import Mapper
from target_statsig.events.notes import LONGEST
from target_statsig.events.values import label, number, parse_number
from target_statsig.exceptions import RecordError
from target_statsig.fields import Place, Record, places, sources_of
from target_statsig.settings import IdType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.events.kind import ToItem
    from target_statsig.events.notes import MappingNotes
    from target_statsig.settings import StreamSettings

USER_ID = IdType.USER_ID.value

CONSOLE_NAMES = {"userID": USER_ID, "stableID": IdType.STABLE_ID.value}
"""What Statsig's console calls the two types that every project has, and what this call of the API does."""

ID_DESTINATIONS = {USER_ID: "user_id", IdType.STABLE_ID.value: "anonymous_id"}
"""The destination from which a unit's id is read; that of a custom type is called as the type."""

VALUE, NUMERATOR, DENOMINATOR = "metric_value", "numerator", "denominator"

_TYPES_KEPT = 1_024
"""Types of id whose places are kept; a project seldom has ten."""


class MetricMapper(Mapper):
    """Maps the records of one stream.

    Its reasons: `missing_metric_name`, `missing_identifier`, `missing_metric_value`, `both_value_and_ratio`,
    `missing_numerator`, `missing_denominator`, `invalid_metric_value`, `invalid_numerator`, `invalid_denominator` and
    `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        """Find out the sources of every field."""
        self._mapping = settings.field_mapping
        self._static_name = label(settings.metric_name)
        custom = settings.id_type is IdType.CUSTOM_ID
        self._static_type = str(settings.custom_id_type if custom else settings.id_type)
        self._places_of = lru_cache(_TYPES_KEPT)(self._find_places)

    @override
    def for_columns(self, columns: tuple[str, ...]) -> ToItem:
        return self._map

    def _map(self, record: Record, _time_extracted: str | None, _now_ms: int, notes: MappingNotes) -> dict[str, Any]:
        name = self._static_name or label(self._read("metric_name", record))
        if name is None:
            reason = "missing_metric_name"
            raise RecordError(reason, "metric_name")
        unit = self._unit(record)
        if len(unit["user_id"]) > LONGEST:
            notes.long_user_ids += 1
        return {**unit, "metric_name": name, **self._value(record)}

    def _unit(self, record: Record) -> dict[str, str]:
        """Return whom the value is of.

        A record that names the type itself may be shaped as Statsig's own: then `user_id` holds the id, whatever its
        type. Where it has a column for that type, empty or not, the id is there and nowhere else.
        """
        told = label(self._read("id_type", record))
        id_type = self._static_type if told is None else CONSOLE_NAMES.get(told, told)
        destination = ID_DESTINATIONS.get(id_type, id_type)
        found = self._places_of(destination)
        if told is not None and not any(place.column in record for place in found):
            found = self._places_of(USER_ID)
        unit = label(_first(found, record))
        if unit is None:
            reason = "missing_identifier"
            raise RecordError(reason, destination)
        return {"user_id": unit, "id_type": id_type}

    def _value(self, record: Record) -> dict[str, Any]:
        value, *parts = (self._read(destination, record) for destination in (VALUE, NUMERATOR, DENOMINATOR))
        if parts == [None, None]:
            return {VALUE: _number(value, VALUE)}
        if value is not None:
            reason = "both_value_and_ratio"
            raise RecordError(reason)
        numerator, denominator = parts
        return {NUMERATOR: _number(numerator, NUMERATOR), DENOMINATOR: _number(denominator, DENOMINATOR)}

    def _read(self, destination: str, record: Record) -> object:
        return _first(self._places_of(destination), record)

    def _find_places(self, destination: str) -> tuple[Place, ...]:
        return tuple(places(sources_of(destination, self._mapping)))


def _first(found: Iterable[Place], record: Record) -> object:
    """Return the first value that is there; a blank text is how a CSV file writes null."""
    for place in found:
        value = place.read(record)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            return value
    return None


def _number(value: object, field: str) -> int | Decimal:
    """Return a number, or one that a text holds."""
    if value is None:
        reason = f"missing_{field}"
        raise RecordError(reason, field)
    found: int | Decimal | None = None
    if isinstance(value, str):
        found = parse_number(value)
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        found = number(value)
    if found is None:
        reason = f"invalid_{field}"
        raise RecordError(reason, field)
    return found
