"""The metadata of an event: the columns that fed no other field, or those that a setting names, as texts.

Knows what never goes there. Refuses to know what the other fields are made of: it is told their sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from target_statsig.events.encoding import NOT_ENCODABLE
from target_statsig.events.users import PRIVATE_ATTRIBUTES
from target_statsig.events.values import TEXTS, text
from target_statsig.exceptions import RecordError
from target_statsig.fields import FLATTENED, Place, Reader, Record, only_column, places, reader

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Sequence

EVERYTHING = "*"
"""In `metadata_fields`: every column that fed no other field."""

PROPERTIES = "properties"
"""The column whose members are the metadata: what analytics trackers call an event's own fields."""

CONTAINERS = frozenset({"context", "traits", "consent"}) | PRIVATE_ATTRIBUTES
"""Objects about the user and not the event: they never go there, flattened or not."""

SINGER_PREFIX = "_sdc_"
"""How the columns begin that taps and targets add for themselves."""

ToMetadata = Callable[[Record], dict[str, str]]

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

    def columns(self, present: Sequence[str]) -> dict[str, str]:
        """Return the column that each key's value is in.

        Args:
            present: The columns of every record that will be read, in their order.

        Raises:
            LookupError: What the metadata of a record is cannot be told from its columns alone.
        """
        plan = self.plan(present)
        keys = _keys(present, plan.columns) if self._everything else ()
        found = [(key, column) for key, column in zip(keys, present, strict=False) if key is not None]
        for source in self._named:
            column = only_column((source,), present)
            if column is not None:
                found.append((source.replace(".", "_"), column))
        columns = dict(found)
        if plan.contested or plan.unpacks or len(columns) < len(set(found)):
            msg = "what the metadata are depends on the record"
            raise LookupError(msg)
        return columns

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

    def for_columns(self, columns: Iterable[str]) -> ToMetadata:
        """Return what maps the metadata of records that have these columns, in this order.

        It raises a RecordError, `not_encodable`, for a value that JSON has no form for.
        """
        keys = _keys(columns, self.columns) if self.everything else ()
        return self._careful if self.contested or self.unpacks or self.named else partial(_texts, keys)

    def _careful(self, record: Record) -> dict[str, str]:
        """Map the metadata of a record whose values matter for what is in it."""
        columns, members = self._fed(record)
        metadata = _texts(_keys(record, columns), record) if self.everything else {}
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
    """Return what the metadata calls each column, None for those that are out."""
    return tuple(None if column in out else _key(column) for column in columns)


def _texts(keys: Iterable[str | None], record: Record) -> dict[str, str]:
    """Return the values of a record as texts, by their keys; as `text` does, without a call for each of them."""
    metadata: dict[str, str] = {}
    try:
        for key, value in zip(keys, record.values()):  # noqa: B905 -- there are as many keys as columns, or none
            if value is not None and key is not None:
                kind = type(value)
                metadata[key] = value if kind is str else TEXTS[kind](value)
    except (KeyError, ValueError):
        raise RecordError(NOT_ENCODABLE) from None
    return metadata


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
