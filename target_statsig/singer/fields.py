"""Which columns feed which destination, and how a column is found in a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from target_statsig.config.settings import IdType, StreamSettings
from target_statsig.config.sources import DEFAULT_SOURCES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from target_statsig.config.settings import Sources
    from target_statsig.singer.columns import Column, Columns

DELETED_COLUMNS = ("_sdc_deleted_at", "_sdc_lsn_deleted_at")
"""Hold when a row was deleted, in a log-based stream: the second is tap-mssql's. Such a record may have its key and
nothing else, or the whole row as it was."""

FLATTENED = "__"
"""What flattening puts where a path has a dot: singer-sdk's default separator."""


def sources_of(destination: str, field_mapping: Mapping[str, Sources]) -> tuple[str, ...]:
    """Return the sources of a destination, the preferred one first.

    A destination is a name from `DEFAULT_SOURCES` or a custom ID type, whose default source is the column of its name.
    What `field_mapping` has for it replaces all the defaults.
    """
    mapped = field_mapping.get(destination)
    return DEFAULT_SOURCES.get(destination, (destination,)) if mapped is None else listed(mapped)


def listed(sources: Sources) -> tuple[str, ...]:
    """Return what a setting names as a source: one, or several in the order of preference."""
    return (sources,) if isinstance(sources, str) else sources


def id_destination(settings: StreamSettings) -> str:
    """Return the destination that a segment's members are read from."""
    if settings.id_type is IdType.STABLE_ID:
        return "anonymous_id"
    return (settings.custom_id_type or "") if settings.id_type is IdType.CUSTOM_ID else "user_id"


class Place(NamedTuple):
    """A column, and a path into the object that it holds."""

    column: str
    path: tuple[str, ...] = ()


def places(sources: Iterable[str], present: Container[str] | None = None) -> Iterator[Place]:
    """Yield where the sources may be found, the preferred place first.

    `a.b` is the column of that very name, or `a__b` as flattening leaves it, or the member `b` of the object in column
    `a`. `present` are the columns that there are; None for any.
    """
    for source in sources:
        parts = source.split(".")
        for length in range(len(parts), 0, -1):
            for column in dict.fromkeys((".".join(parts[:length]), FLATTENED.join(parts[:length]))):
                if present is None or column in present:
                    yield Place(column, tuple(parts[length:]))


def first_of(columns: Columns, candidates: Sequence[Place]) -> Column:
    """Return, for each record, the first value that is present and not null; the preferred place comes first."""
    if not candidates:
        return (None,) * len(columns)
    found = columns.at(candidates[0])
    for place in candidates[1:]:
        if None not in found:
            break
        found = overlay(columns.at(place), found)
    return found


def overlay(below: Column, above: Column) -> Column:
    """Return `above`, with the values of `below` where it is null."""
    return [lower if upper is None else upper for lower, upper in zip(below, above, strict=True)]


def deleted_rows(columns: Columns) -> list[int]:
    """Return the records whose row was deleted. A blank is how a CSV file writes null."""
    marks = [columns.get(name) for name in DELETED_COLUMNS if name in columns.names]
    marks = [mark for mark in marks if mark.count(None) < len(mark)]
    return [row for row, each in enumerate(zip(*marks, strict=True)) if any(value not in (None, "") for value in each)]
