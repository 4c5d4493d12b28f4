"""The object types whose records go to the events API, each with its endpoint and its mapper.

Batching, delivery, the ledger and the dead letters are the same for all. Their settings are in `config`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from target_statsig.client.events import LOG_CUSTOM_EXPOSURE, LOG_CUSTOM_METRIC, LOG_EVENT
from target_statsig.config.choices import ObjectType
from target_statsig.events.event import EventMapper, ExposureMapper
from target_statsig.events.metric import MetricMapper
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.events import Endpoint
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.values import Mapper


@dataclass(frozen=True, slots=True)
class ItemType:
    """A type of items. Picklable.

    Attributes:
        object_type: Its name in a stream's settings.
        endpoint: The endpoint of the events API.
        mapper: Creates the mapper of a stream, given the stream's settings.
    """

    object_type: ObjectType
    endpoint: Endpoint
    mapper: Callable[[StreamSettings], Mapper]

    def count(self, number: int) -> str:
        """Return a number of items in words, such as "1 event" or "500 events"."""
        return counted(number, self.object_type, self.endpoint.items)


EVENTS = ItemType(ObjectType.EVENT, LOG_EVENT, EventMapper)

EXPOSURES = ItemType(ObjectType.EXPOSURE, LOG_CUSTOM_EXPOSURE, ExposureMapper)

METRICS = ItemType(ObjectType.METRIC, LOG_CUSTOM_METRIC, MetricMapper)

ITEM_TYPES: Mapping[ObjectType, ItemType] = MappingProxyType(
    {item_type.object_type: item_type for item_type in (EVENTS, EXPOSURES, METRICS)}
)
"""The types by their object type."""
