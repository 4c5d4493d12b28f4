"""What delivery knows of an object type whose records go to the events API.

An item is what one record becomes there: an event, or whatever else such an API takes a list of. `object_types` lists
the kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.client.events import Endpoint
    from target_statsig.config.settings import ObjectType, StreamSettings
    from target_statsig.events.notes import MappingWarnings
    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.faults import Faults


class Items(NamedTuple):
    """Items of a request, ready to be encoded; what stands for a record with a fault means nothing.

    Attributes:
        items: The items.
        names: The name of each.
    """

    items: Column
    names: Column


class Mapper(Protocol):
    """Maps the records of one stream; cheap to make, and safe to use from several threads."""

    def __call__(self, columns: Columns, now_ms: int, warnings: MappingWarnings, faults: Faults) -> Items:
        """Return the item of each record.

        Args:
            columns: The records, their numbers with a fraction as `Decimal`.
            now_ms: The present, unix milliseconds: the time of an item that has none, nor one of its extraction.
            warnings: Told of what is worth a warning.
            faults: Told why a record cannot become an item.
        """


@dataclass(frozen=True, slots=True)
class ItemType:
    """One kind of item; it pickles, so that another process can prepare it.

    Attributes:
        object_type: What a stream's settings call it.
        endpoint: Where it goes.
        mapper: Makes what maps a stream's records, from the stream's settings.
        has_tier: Whether it belongs to an environment; what does not is billed in any case.
        flags: Members of a request's body, and the settings of the stream by which they are true.
    """

    object_type: ObjectType
    endpoint: Endpoint
    mapper: Callable[[StreamSettings], Mapper]
    has_tier: bool = True
    flags: tuple[tuple[str, str], ...] = ()

    def count(self, number: int) -> str:
        """Return so many items in words, such as "1 event" or "500 events"."""
        return counted(number, self.object_type, self.endpoint.items)
