"""The interface of the mappers, which map a stream's records to items, and the counts of large values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.reports.report import MappingWarnings
    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.fields import Faults

LONGEST = 128
"""Characters of a value or a user's id. Statsig may cut or drop a longer one silently; its Node SDK has this limit."""

LARGEST = 4_096
"""Bytes of an item's metadata or user, with the same effect."""


class _Parts(msgspec.Struct, gc=False):
    """The members of an encoded item that may be too large."""

    user: msgspec.Raw = msgspec.Raw(b"")
    metadata: msgspec.Raw = msgspec.Raw(b"")


_parts_of = msgspec.json.Decoder(_Parts).decode


def count_long(texts: Sequence[str | None]) -> int:
    """Return how many texts have over `LONGEST` characters."""
    present = [*filter(None, texts)]
    return sum(len(text) > LONGEST for text in present) if max(map(len, present), default=0) > LONGEST else 0


def count_large(bodies: Sequence[bytes]) -> tuple[int, int]:
    """Return how many encoded items have over `LARGEST` bytes of user, and of metadata."""
    # All at once first, as above, because large ones are rare.
    if max(map(len, bodies), default=0) <= LARGEST:
        return 0, 0
    parts = [_parts_of(body) for body in bodies if len(body) > LARGEST]
    users = sum(len(bytes(each.user)) > LARGEST for each in parts)
    return users, sum(len(bytes(each.metadata)) > LARGEST for each in parts)


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
