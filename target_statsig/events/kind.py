"""What delivery knows of an object type whose records go to the events API.

An item is what one record becomes there: an event, or whatever else such an API takes a list of. Refuses to know which
kinds there are; `object_types` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from target_statsig.phrases import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.events import Endpoint
    from target_statsig.columns import Columns
    from target_statsig.events.by_column import Items
    from target_statsig.events.notes import MappingNotes
    from target_statsig.fields import Record
    from target_statsig.settings import ObjectType, StreamSettings

    MapColumns = Callable[[Columns, int, MappingNotes], Items | None]
    ToItem = Callable[[Record, str | None, int, MappingNotes], dict[str, Any]]


class Mapper(Protocol):
    """Maps the records of one stream; cheap to make, and safe to use from several threads."""

    def for_columns(self, columns: tuple[str, ...]) -> ToItem:
        """Return what maps records that have these columns, in this order; to ask again costs nothing.

        What it returns takes what `__call__` takes, in the same order.
        """

    def by_column(self, columns: tuple[str, ...]) -> MapColumns | None:  # noqa: ARG002 -- for those that can
        """Return what maps many records at once that have these columns; None where each must be looked at."""
        return None

    def __call__(self, record: Record, time_extracted: str | None, now_ms: int, notes: MappingNotes) -> dict[str, Any]:
        """Return the item of a record, as `encode` takes it.

        Args:
            record: The record, its numbers with a fraction as `Decimal`.
            time_extracted: The RECORD message's own time, ISO 8601: the time of an item that has none.
            now_ms: The present, unix milliseconds: the time of an item where that is missing too.
            notes: Told of what is worth a warning.

        Raises:
            RecordError: The record cannot become an item.
        """
        return self.for_columns(tuple(record))(record, time_extracted, now_ms, notes)


@dataclass(frozen=True, slots=True)
class ItemKind:
    """One kind of item; it pickles, so that another process can deliver too.

    Attributes:
        object_type: What a stream's settings call it.
        endpoint: Where it goes.
        mapper: Makes what maps a stream's records, from the stream's settings.
        name_of: Returns the name of an item that the mapper made.
        has_tier: Whether it belongs to an environment; what does not is billed in any case.
        flags: Members of a request's body, and the settings of the stream by which they are true.
    """

    object_type: ObjectType
    endpoint: Endpoint
    mapper: Callable[[StreamSettings], Mapper]
    name_of: Callable[[Mapping[str, Any]], str]
    has_tier: bool = True
    flags: tuple[tuple[str, str], ...] = ()

    def count(self, number: int) -> str:
        """Return so many items in words, such as "1 event" or "500 events"."""
        return counted(number, self.object_type, self.endpoint.items)
