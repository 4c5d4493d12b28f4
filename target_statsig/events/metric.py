"""Records of a stream as values of precomputed metrics (`POST /v1/log_custom_metric`).

Such a value has no user and no time. It belongs to a unit, given by an id and the id's type. Statsig documents no field
for a date (https://docs.statsig.com/metrics/precomputed-metrics).
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from target_statsig.config.choices import IdType
from target_statsig.errors import RecordError
from target_statsig.events.values import (
    Items,
    Mapper,
    count_long,
    label,
    labels,
    number,
    objects,
    parse_number,
    printable,
)
from target_statsig.singer.columns import ID_DESTINATIONS, convert_one, overlay, places, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns, Faults, Place

CONSOLE_NAMES = {"userID": IdType.USER_ID.value, "stableID": IdType.STABLE_ID.value}
"""The two ID types of every project: their names in Statsig's console, and in this API."""

VALUE, NUMERATOR, DENOMINATOR = "metric_value", "numerator", "denominator"


class MetricMapper(Mapper):
    """Maps the records of one stream.

    Its faults: `missing_metric_name`, `missing_identifier`, `missing_metric_value`, `both_value_and_ratio`,
    `missing_numerator`, `missing_denominator`, `invalid_metric_value`, `invalid_numerator`, `invalid_denominator` and
    `not_encodable`.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._mapping = settings.field_mapping
        self._static_name = label(settings.metric_name)
        custom = settings.id_type is IdType.CUSTOM_ID
        self._static_type = str(settings.custom_id_type if custom else settings.id_type)

    @override
    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        names: Column = (self._static_name,) * len(columns)
        if self._static_name is None:
            names = labels(self._read(columns, "metric_name"), faults)
            for row in [row for row, name in enumerate(names) if name is None]:
                faults.setdefault(row, RecordError("missing_metric_name", "metric_name"))
        types, units = self._units(columns, faults)
        warnings.long_user_ids += count_long(units)
        value, numerator, denominator = (self._read(columns, field) for field in (VALUE, NUMERATOR, DENOMINATOR))
        is_ratio = [parts != (None, None) for parts in zip(numerator, denominator, strict=True)]
        is_value = [not each for each in is_ratio]
        for row, (single, has_ratio) in enumerate(zip(value, is_ratio, strict=True)):
            if single is not None and has_ratio:
                faults.setdefault(row, RecordError("both_value_and_ratio"))
        metric = {
            "user_id": units,
            "id_type": types,
            "metric_name": names,
            VALUE: _numbers(value, is_value, VALUE, faults),
            NUMERATOR: _numbers(numerator, is_ratio, NUMERATOR, faults),
            DENOMINATOR: _numbers(denominator, is_ratio, DENOMINATOR, faults),
        }
        return Items(objects(metric, len(columns)), names)

    def _units(self, columns: Columns, faults: Faults) -> tuple[Column, Column]:
        """Return the ID type and the id of each unit.

        A record that names its ID type may have the shape of Statsig's API, in which `user_id` holds ids of any type.
        But if it has a column for that type, even an empty one, only that column counts.
        """
        named = labels(self._read(columns, "id_type"), faults)
        types = [self._static_type if each is None else str(CONSOLE_NAMES.get(each, each)) for each in named]
        units: list[str | None] = [None] * len(columns)
        for id_type in dict.fromkeys(types):
            destination = ID_DESTINATIONS.get(id_type, id_type)
            found, others = self._read(columns, destination), self._read(columns, "user_id")
            has_own = self._has(columns, destination)
            for row in [row for row, each in enumerate(types) if each == id_type]:
                value = found[row] if named[row] is None or has_own[row] else others[row]
                units[row] = convert_one(label, value, row, faults)
                if units[row] is None:
                    faults.setdefault(row, RecordError("missing_identifier", destination))
        return types, units

    def _read(self, columns: Columns, destination: str) -> Column:
        """Return the first value that is not null. A blank text counts as null, which is how a CSV file writes it."""
        found: Column = (None,) * len(columns)
        for place in self._places(destination, columns):
            values = columns.at(place)
            if values is None:
                continue
            if str in set(map(type, values)):
                values = [None if type(value) is str and not value.strip() else value for value in values]
            found = overlay(values, found)
        return found

    def _has(self, columns: Columns, destination: str) -> Column:
        """Return for each record whether it has a column for a destination, null or not."""
        known = [columns.has(place.column) for place in self._places(destination, columns)]
        return [any(each) for each in zip(*known, strict=True)] if known else (False,) * len(columns)

    def _places(self, destination: str, columns: Columns) -> Iterator[Place]:
        return places(sources_of(destination, self._mapping), columns.names)


def _numbers(values: Column, wanted: Column, field: str, faults: Faults) -> Column:
    """Return the number, or the number in a text, of each record in `wanted`; null for the others."""
    return [
        convert_one(partial(_number, field=field), value, row, faults) if needed else None
        for row, (value, needed) in enumerate(zip(values, wanted, strict=True))
    ]


def _number(value: object, field: str) -> object:
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
    return printable(found)
