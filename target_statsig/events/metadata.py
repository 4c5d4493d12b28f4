"""The metadata of an event: the columns that fed no other field, or those that a setting names, as texts.

Knows what never goes there. Refuses to know what the other fields are made of: it is told their sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from target_statsig.events.encoding import NOT_ENCODABLE
from target_statsig.events.users import PRIVATE_ATTRIBUTES
from target_statsig.events.values import TEXTS, text
from target_statsig.exceptions import RecordError
from target_statsig.fields import FLATTENED, Place, Reader, Record, places, reader

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable

EVERYTHING = "*"
"""In `metadata_fields`: every column that fed no other field."""

PROPERTIES = "properties"
"""The column whose members are the metadata: what analytics trackers call an event's own fields."""

CONTAINERS = frozenset({"context", "traits", "consent"}) | PRIVATE_ATTRIBUTES
"""Objects about the user and not the event: they never go there, flattened or not."""

SINGER_PREFIX = "_sdc_"
"""How the columns begin that taps and targets add for themselves."""

_KEYS_KEPT = 16_384
"""Columns whose key is remembered."""


class MetadataMapper:
    """Maps the metadata of the records of one stream."""

    def __init__(self, metadata_fields: Collection[str], fed: Iterable[tuple[str, ...]]) -> None:
        """Take the setting and what is not for the metadata.

        Args:
            metadata_fields: Sources, or `*`.
            fed: The sources of every other field, each in the order of preference.
        """
        self._everything = EVERYTHING in metadata_fields
        self._unpacks = self._everything or PROPERTIES in metadata_fields
        self._named = [source for source in metadata_fields if _may_be_named(source)]
        self._fed = tuple(fed)

    @property
    def sources(self) -> list[tuple[str, ...]]:
        """The sources of the metadata."""
        return [(PROPERTIES,), *((source,) for source in self._named)]

    def plan(self, columns: Container[str]) -> MetadataPlan:
        """Return what maps the metadata of records that have just these columns, as far as the sources name any."""
        certain, contested = _claims(self._fed, columns)
        named = ((source.replace(".", "_"), reader((source,), columns)) for source in self._named)
        return MetadataPlan(
            everything=self._everything,
            unpacks=self._unpacks and PROPERTIES in columns,
            columns=frozenset(place.column for place in certain if not _is_member(place)),
            members=frozenset(place.path[0] for place in certain if _is_member(place)) | PRIVATE_ATTRIBUTES,
            contested=contested,
            named=tuple((key, read) for key, read in named if read is not None),
        )


def _may_be_named(source: str) -> bool:
    container = source.partition(".")[0]
    never = source in {EVERYTHING, PROPERTIES, *CONTAINERS} or container in PRIVATE_ATTRIBUTES
    return not never and not source.startswith(SINGER_PREFIX)


def _is_member(place: Place) -> bool:
    return place.column == PROPERTIES and bool(place.path)


def _claims(
    fed: Iterable[tuple[str, ...]], columns: Container[str]
) -> tuple[list[Place], tuple[tuple[Place, ...], ...]]:
    """Return the places that are never for the metadata, and the fields of which each record must be asked.

    The place that a field prefers is out for certain: either it feeds the field, or it is null, and a null is left out
    anyhow. Only for what comes after it does it depend on the record which one feeds the field.
    """
    certain = []
    contested = []
    for sources in fed:
        candidates = tuple(place for place in places(sources, columns) if place.column not in CONTAINERS)
        if not candidates:
            continue
        preferred = candidates[0]
        is_one_key = len(preferred.path) == (1 if _is_member(preferred) else 0)
        if is_one_key:
            certain.append(preferred)
        if len(candidates) > 1 or not is_one_key:
            contested.append(candidates)
    return certain, tuple(contested)


@dataclass(frozen=True, slots=True)
class MetadataPlan:
    """The mapping of the metadata, for records that have the same columns.

    Attributes:
        everything: Whether each column goes there that fed nothing else.
        unpacks: Whether the members of `properties` do.
        columns: Columns that are out.
        members: Members of `properties` that are out.
        contested: The places of fields of which any may feed the field, and is then out too.
        named: Keys and readers of the sources that the setting names.
    """

    everything: bool
    unpacks: bool
    columns: frozenset[str]
    members: frozenset[str]
    contested: tuple[tuple[Place, ...], ...]
    named: tuple[tuple[str, Reader], ...]

    def keys_of(self, columns: Iterable[str]) -> tuple[str | None, ...]:
        """Return the key of each column, None where it is out in every record that the plan is for."""
        return _keys(columns, self.columns) if self.everything else ()

    def __call__(self, record: Record, keys: tuple[str | None, ...]) -> dict[str, str]:
        """Return the metadata of a record that has the columns that the plan is for.

        Args:
            record: The record.
            keys: What `keys_of` returned for its columns, in their order.

        Raises:
            RecordError: `not_encodable`: a value that JSON has no form for.
        """
        columns, members = self.columns, self.members
        if self.contested:
            columns, members = self._fed(record)
            keys = _keys(record, columns) if self.everything else ()
        metadata: dict[str, str] = {}
        try:
            for key, value in zip(keys, record.values()):  # noqa: B905 -- there are as many keys as columns, or none
                if value is not None and key is not None:
                    kind = type(value)
                    # As `text` does, without a call for each column of each record.
                    metadata[key] = value if kind is str else TEXTS[kind](value)
        except (KeyError, ValueError):
            raise RecordError(NOT_ENCODABLE) from None
        if self.unpacks and PROPERTIES not in columns:
            metadata |= _unpacked(record[PROPERTIES], members)
        for key, read in self.named:
            value = read(record)
            if value is not None:
                metadata[key] = text(value)
        return metadata

    def _fed(self, record: Record) -> tuple[frozenset[str], frozenset[str]]:
        """Return the columns, and the members of `properties`, that are out in this record."""
        columns, members = self.columns, self.members
        for candidates in self.contested:
            feeding = next((place for place in candidates if place.read(record) is not None), None)
            if feeding is None:
                continue
            if _is_member(feeding):
                members |= {feeding.path[0]}
            else:
                columns |= {feeding.column}
        return columns, members


def _keys(columns: Iterable[str], out: frozenset[str]) -> tuple[str | None, ...]:
    return tuple(None if column in out else _key(column) for column in columns)


def _unpacked(properties: object, members: frozenset[str]) -> dict[str, str]:
    if not isinstance(properties, dict):
        return {} if properties is None else {PROPERTIES: text(properties)}
    return {
        name.replace(".", "_"): value if type(value) is str else text(value)
        for name, value in properties.items()
        if value is not None and name not in members
    }


@lru_cache(_KEYS_KEPT)
def _key(column: str) -> str | None:
    """Return the key of a column, or None where it is not for the metadata, or not in one piece.

    Statsig takes a dot in a key for a path, at whose end it may find nothing.
    """
    container, _, member = column.partition(FLATTENED)
    if column == PROPERTIES or column.startswith(SINGER_PREFIX) or container.partition(".")[0] in CONTAINERS:
        return None
    return (member if container == PROPERTIES and member else column).replace(".", "_")
