"""Which columns feed which destination, and how a column is found in a record.

Knows the tables of destinations and of their default sources, and the three shapes in which a dotted source can be met.
Refuses to know what becomes of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from target_statsig.settings import IdType, ObjectType, StreamSettings

Record = Mapping[str, Any]
"""A record as it comes to a mapper: decoded JSON, its numbers with a fraction as `Decimal`."""

DELETED_COLUMNS = ("_sdc_deleted_at", "_sdc_lsn_deleted_at")
"""Hold when a row was deleted, in a log-based stream: the second is tap-mssql's. Such a record may have its key and
nothing else, or the whole row as it was."""

Reader = Callable[[Record], object]
"""Takes a value out of a record; None where there is none."""

DEFAULT_SOURCES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("user_id", "userId", "userID"),
    "anonymous_id": ("anonymous_id", "anonymousId", "stable_id", "stableID"),
    "email": ("email", "traits.email", "context.traits.email"),
    "ip": ("ip", "context.ip"),
    "user_agent": ("user_agent", "userAgent", "context.user_agent", "context.userAgent"),
    "locale": ("locale", "context.locale"),
    "country": ("country", "context.location.country"),
    "app_version": ("app_version", "appVersion", "context.app.version"),
    "custom": ("custom",),
    "marketing_consent": ("marketing_consent", "consent.marketing", "context.consent.marketing"),
    "event_name": ("event_name", "eventName", "event"),
    "event_value": ("event_value", "revenue", "properties.revenue", "value"),
    "event_time": ("event_time", "timestamp", "time"),
    "experiment_name": ("experiment_name", "experimentName", "experiment"),
    "gate_name": ("gate_name", "gateName", "gate"),
    "passes": ("passes",),
    "group": ("group", "group_name", "groupName"),
    "rule_id": ("rule_id", "ruleId", "ruleID"),
    "metric_name": ("metric_name", "metricName", "metric"),
    "metric_value": ("metric_value", "metricValue", "value"),
    "numerator": ("numerator",),
    "denominator": ("denominator",),
    "id_type": ("id_type", "idType"),
}
"""Where each destination is read from when `field_mapping` does not say: the first that is present and not null."""

USER_DESTINATIONS = (
    *("user_id", "anonymous_id", "email", "ip", "user_agent", "locale", "country", "app_version"),
    *("custom", "marketing_consent"),
)
"""Where the columns go that make a user."""

DESTINATIONS: Mapping[ObjectType, tuple[str, ...]] = {
    ObjectType.EVENT: (*USER_DESTINATIONS, "event_name", "event_value", "event_time"),
    ObjectType.EXPOSURE: (
        *USER_DESTINATIONS,
        *("experiment_name", "gate_name", "passes", "group", "rule_id", "event_time"),
    ),
    ObjectType.METRIC: (
        *("user_id", "anonymous_id"),
        *("metric_name", "metric_value", "numerator", "denominator", "id_type"),
    ),
}
"""The destinations that `field_mapping` of a stream may name; of metrics, besides, the custom type of id."""

FLATTENED = "__"
"""What flattening puts where a path has a dot: singer-sdk's default separator."""


def sources_of(destination: str, field_mapping: Mapping[str, str]) -> tuple[str, ...]:
    """Return the sources of a destination, the preferred one first.

    Args:
        destination: A name from `DEFAULT_SOURCES`, or a custom ID type, whose default source is the column of its name.
        field_mapping: The stream's setting; its source stands in for all the defaults of the destination.
    """
    mapped = field_mapping.get(destination)
    return DEFAULT_SOURCES.get(destination, (destination,)) if mapped is None else (mapped,)


def id_destination(settings: StreamSettings) -> str:
    """Return the destination that a segment's members are read from."""
    if settings.id_type is IdType.STABLE_ID:
        return "anonymous_id"
    return (settings.custom_id_type or "") if settings.id_type is IdType.CUSTOM_ID else "user_id"


class Place(NamedTuple):
    """One place where a source may be met: a column, and a path into the object that it holds."""

    column: str
    path: tuple[str, ...] = ()

    def read(self, record: Record) -> object:
        """Return the value that a record has here, or None."""
        value: object = record.get(self.column)
        for name in self.path:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value


def places(sources: Iterable[str], present: Container[str] | None = None) -> Iterator[Place]:
    """Yield where the sources may be met, the preferred place first.

    `a.b` is the column of that very name, or `a__b` as flattening leaves it, or the member `b` of the object in
    column `a`.

    Args:
        sources: Columns or dotted paths, the preferred one first.
        present: The columns that there are; None for any.
    """
    for source in sources:
        parts = source.split(".")
        for length in range(len(parts), 0, -1):
            for column in dict.fromkeys((".".join(parts[:length]), FLATTENED.join(parts[:length]))):
                if present is None or column in present:
                    yield Place(column, tuple(parts[length:]))


def only_column(sources: Iterable[str], present: Container[str]) -> str | None:
    """Return the column that holds a value whatever the record; None where no column can.

    Args:
        sources: Columns or dotted paths, the preferred one first.
        present: The columns of every record that will be read.

    Raises:
        LookupError: It depends on the record, or the value is within an object.
    """
    found = [*places(sources, present)]
    if len(found) > 1 or (found and found[0].path):
        msg = "where the value is depends on the record"
        raise LookupError(msg)
    return found[0].column if found else None


def reader(sources: Iterable[str], present: Container[str] | None = None) -> Reader | None:
    """Return what reads the first value that is present and not null; None where no column can hold one.

    Args:
        sources: Columns or dotted paths, the preferred one first.
        present: The columns of every record that will be read; None for any.
    """
    readers: list[Reader] = [
        # Nearly all sources are plain columns, and nothing reads one faster.
        itemgetter(place.column) if present is not None and not place.path else place.read
        for place in places(sources, present)
    ]
    if not readers:
        return None
    return readers[0] if len(readers) == 1 else partial(_first, tuple(readers))


def _first(readers: tuple[Reader, ...], record: Record) -> object:
    for read in readers:
        value = read(record)
        if value is not None:
            return value
    return None


def is_deleted(record: Record) -> bool:
    """Return whether a record says that its row was deleted. A blank is how a CSV file writes null."""
    return any(record.get(column) not in (None, "") for column in DELETED_COLUMNS)


def any_deleted(column: Callable[[str], Sequence[Any]]) -> bool:
    """Return whether any of some records is one of a deleted row, as `is_deleted` does.

    Args:
        column: Returns what the records have in a column, None where they lack it.
    """
    marks = (column(name) for name in DELETED_COLUMNS)
    return any(mark.count(None) < len(mark) and not all(value in (None, "") for value in mark) for mark in marks)
