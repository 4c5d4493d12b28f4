"""The object types: the one place that lists what the records of a stream can become.

Each object type that goes to the events API is a row here: its endpoint and its mapping; batching, delivery, the ledger
and the dead letters are the same for all. What a configuration may say of it stands in `config`. Segments have a way of
their own (`segments`), and `lanes` leads there what is no item.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from target_statsig.client.events import LOG_CUSTOM_EXPOSURE, LOG_CUSTOM_METRIC, LOG_EVENT
from target_statsig.config.settings import ObjectType
from target_statsig.events.event import EventMapper
from target_statsig.events.exposure import ExposureMapper
from target_statsig.events.kind import ItemType
from target_statsig.events.metric import MetricMapper

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS = ItemType(ObjectType.EVENT, LOG_EVENT, EventMapper)

EXPOSURES = ItemType(ObjectType.EXPOSURE, LOG_CUSTOM_EXPOSURE, ExposureMapper)

METRICS = ItemType(
    ObjectType.METRIC,
    LOG_CUSTOM_METRIC,
    MetricMapper,
    has_tier=False,
    flags=(("isTest", "is_test"),),
)

ITEM_TYPES: Mapping[ObjectType, ItemType] = MappingProxyType(
    {kind.object_type: kind for kind in (EVENTS, EXPOSURES, METRICS)}
)
"""What goes to the events API, by object type."""
