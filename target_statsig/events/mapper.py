"""The interface of the mappers, which map a stream's records to items, and what they warn of."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.fields import Faults

RENAMED_LISTED = 100
"""Renamed events to list at most, because every record may have a name of its own."""

LONGEST = 128
"""Characters of a value or a user's id. Statsig may cut or drop a longer one silently; its Node SDK has this limit."""

LARGEST = 4_096
"""Bytes of an item's metadata or user, with the same effect."""


class _Parts(msgspec.Struct, gc=False):
    """The members of an encoded item that may be too large."""

    user: msgspec.Raw = msgspec.Raw(b"")
    metadata: msgspec.Raw = msgspec.Raw(b"")


_parts_of = msgspec.json.Decoder(_Parts).decode


@dataclass(slots=True)
class MappingWarnings:
    """What the mapping of a batch warns of.

    Attributes:
        behind_bookmark: Records below the bookmark of the last STATE of an earlier run.
        time_defaulted: Events without a time; they get the time of their extraction, or the present.
        custom_ignored: Records whose `custom` is not an object.
        consent_ignored: Records whose marketing consent is neither yes nor no.
        tier_ignored: Records whose tier is not a text.
        renamed: The sanitized names of events, by their original names; the first `RENAMED_LISTED` only.
        old_times: Events over 60 days old.
        future_times: Events in the future.
        placeholder_times: Events with a time that is a placeholder, such as 1970-01-01.
        text_values: Values of events that are texts, not numbers.
        long_values: Values of over `LONGEST` characters.
        long_user_ids: User ids of over `LONGEST` characters.
        large_metadata: Items with over `LARGEST` bytes of metadata.
        large_users: Items with over `LARGEST` bytes of user.
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
        """Add an event name that was sanitized."""
        if len(self.renamed) < RENAMED_LISTED:
            self.renamed[old] = new

    def add_text_values(self, values: Sequence[str]) -> None:
        """Add values that are texts, not numbers."""
        self.text_values += len(values)
        self.long_values += count_long(values)

    def add_sizes(self, bodies: Sequence[bytes]) -> None:
        """Add the large members of encoded items."""
        # All at once first, here and below, because large ones are rare.
        if max(map(len, bodies), default=0) <= LARGEST:
            return
        for body in bodies:
            if len(body) > LARGEST:
                parts = _parts_of(body)
                self.large_users += len(bytes(parts.user)) > LARGEST
                self.large_metadata += len(bytes(parts.metadata)) > LARGEST


COUNTS = tuple(each.name for each in fields(MappingWarnings) if each.name != "renamed")
"""The names of the counts, which are also in the report."""


def count_long(texts: Sequence[str | None]) -> int:
    """Return how many texts have over `LONGEST` characters."""
    present = [*filter(None, texts)]
    return sum(len(text) > LONGEST for text in present) if max(map(len, present), default=0) > LONGEST else 0


class Items(NamedTuple):
    """Items that are ready to be encoded, one for each record. Those of records with a fault are meaningless.

    Attributes:
        items: The items.
        names: The name of each item.
        tiers: The environment tier of each item, or null; None if items of this type have no environment.
        times: The time of each event, unix milliseconds; empty for other types.
    """

    items: Column
    names: Column
    tiers: Column | None = None
    times: Column = ()


class Mapper(Protocol):
    """Maps the records of one stream. Thread-safe."""

    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        """Return the item of each record.

        Args:
            columns: The records. Numbers with a fraction are `Decimal`.
            now_ms: The time for items with neither a time nor a time of extraction, unix milliseconds.
            warnings: Receives warnings.
            faults: Receives the faults of records that cannot become items.
        """
