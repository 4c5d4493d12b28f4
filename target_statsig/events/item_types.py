"""The object types whose records go to the events API: the one place that lists them.

Each is a row here: its endpoint and its mapper. Batching, delivery, the ledger and the dead letters are the same for
all. What a configuration may say of it stands in `config`; segments have a room of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from target_statsig.client.events import LOG_CUSTOM_EXPOSURE, LOG_CUSTOM_METRIC, LOG_EVENT
from target_statsig.config.choices import ObjectType
from target_statsig.events.event import EventMapper
from target_statsig.events.exposure import ExposureMapper
from target_statsig.events.metric import MetricMapper
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.events import Endpoint
    from target_statsig.config.settings import StreamSettings
    from target_statsig.events.mapper import Mapper


@dataclass(frozen=True, slots=True)
class ItemType:
    """One kind of item; it pickles, so that another process can prepare it.

    Attributes:
        object_type: What a stream's settings call it.
        endpoint: Where it goes.
        mapper: Makes what maps a stream's records, from the stream's settings.
        flags: Members of a request's body, and the settings of the stream by which they are true.
    """

    object_type: ObjectType
    endpoint: Endpoint
    mapper: Callable[[StreamSettings], Mapper]
    flags: tuple[tuple[str, str], ...] = ()

    def count(self, number: int) -> str:
        """Return so many items in words, such as "1 event" or "500 events"."""
        return counted(number, self.object_type, self.endpoint.items)


EVENTS = ItemType(ObjectType.EVENT, LOG_EVENT, EventMapper)

EXPOSURES = ItemType(ObjectType.EXPOSURE, LOG_CUSTOM_EXPOSURE, ExposureMapper)

METRICS = ItemType(
    ObjectType.METRIC,
    LOG_CUSTOM_METRIC,
    MetricMapper,
    flags=(("isTest", "is_test"),),
)

ITEM_TYPES: Mapping[ObjectType, ItemType] = MappingProxyType(
    {item_type.object_type: item_type for item_type in (EVENTS, EXPOSURES, METRICS)}
)
"""What goes to the events API, by object type."""
