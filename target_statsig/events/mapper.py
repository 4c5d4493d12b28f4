"""What maps the records of a stream to items, and what it warns of: counts, and names of events."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.fields import Faults

RENAMED_LISTED = 100
"""New names listed at most: where every record has a name of its own, the list must not grow with the stream."""

LONGEST = 128
"""Characters of a value or of a user's id past which Statsig may cut or drop it without a word: so has its Node SDK."""

LARGEST = 4_096
"""Bytes of metadata, or of a user, past which the same holds."""


class _Parts(msgspec.Struct, gc=False):
    """The parts of an encoded item that may be too large."""

    user: msgspec.Raw = msgspec.Raw(b"")
    metadata: msgspec.Raw = msgspec.Raw(b"")


_parts_of = msgspec.json.Decoder(_Parts).decode


@dataclass(slots=True)
class MappingWarnings:
    """Filled by the mapping of some records.

    Attributes:
        behind_bookmark: Records from before the bookmark of the STATE that an earlier run wrote last.
        time_defaulted: Events without a time of their own; they have that of their extraction, or of now.
        custom_ignored: Records whose `custom` is no object.
        consent_ignored: Records whose marketing consent says neither yes nor no.
        tier_ignored: Records whose tier is no text.
        renamed: Sanitized event names, by the name before; the first ones only.
        old_times: Events of over 60 days ago.
        future_times: Events of a time to come.
        placeholder_times: Events of a time that stands for none.
        text_values: Values of events that are texts and no numbers.
        long_values: Those of over `LONGEST` characters.
        long_user_ids: Ids of users of over `LONGEST` characters.
        large_metadata: Items whose metadata take over `LARGEST` bytes.
        large_users: Items whose user takes over `LARGEST` bytes.
    """

    behind_bookmark: int = 0
    time_defaulted: int = 0
    custom_ignored: int = 0
    consent_ignored: int = 0
    tier_ignored: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    old_times: int = 0
    future_times: int = 0
    placeholder_times: int = 0
    text_values: int = 0
    long_values: int = 0
    long_user_ids: int = 0
    large_metadata: int = 0
    large_users: int = 0

    def add_renamed(self, old: str, new: str) -> None:
        """Note that an event name was sanitized."""
        if len(self.renamed) < RENAMED_LISTED:
            self.renamed[old] = new

    def add_text_values(self, values: Sequence[str]) -> None:
        """Note values that are texts and no numbers."""
        self.text_values += len(values)
        self.long_values += count_long(values)

    def add_sizes(self, bodies: Sequence[bytes]) -> None:
        """Note what is large in encoded items."""
        # At once first, here and below: nearly always nothing is.
        if max(map(len, bodies), default=0) <= LARGEST:
            return
        for body in bodies:
            if len(body) > LARGEST:
                parts = _parts_of(body)
                self.large_users += len(bytes(parts.user)) > LARGEST
                self.large_metadata += len(bytes(parts.metadata)) > LARGEST


COUNTS = tuple(each.name for each in fields(MappingWarnings) if each.name != "renamed")
"""The names of the counts, which the report has too."""


def count_long(texts: Sequence[str | None]) -> int:
    """Return how many texts are of over `LONGEST` characters; null is none."""
    present = [*filter(None, texts)]
    return sum(len(text) > LONGEST for text in present) if max(map(len, present), default=0) > LONGEST else 0


class Items(NamedTuple):
    """Items of a request, ready to be encoded; what stands for a record with a fault means nothing.

    Attributes:
        items: The items.
        names: The name of each.
        tiers: The environment of each, null where it names none; None where items of this type have none.
        times: The time of each, unix milliseconds; of events only.
    """

    items: Column
    names: Column
    tiers: Column | None = None
    times: Column = ()


class Mapper(Protocol):
    """Maps the records of one stream; cheap to make, and safe to use from several threads."""

    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        """Return the item of each record.

        Args:
            columns: The records, their numbers with a fraction as `Decimal`.
            now_ms: The present, unix milliseconds: the time of an item that has none, nor one of its extraction.
            warnings: Gets what is worth a warning.
            faults: Gets the reasons of records that cannot become an item.
        """
