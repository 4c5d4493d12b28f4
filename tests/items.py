"""The object types that go to the events API, for tests that apply to all of them.

A new object type needs a row in `ITEM_SAMPLES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.emulator import StatsigEmulator


@dataclass(frozen=True)
class ItemSample:
    """Sample records and items of an object type.

    Attributes:
        object_type: The value of the setting `object_type`.
        call: The last part of the path of its requests.
        columns: The columns of a record besides its user.
        arrived: Returns the items that an emulator has.
        unit: Returns the user or unit of an item.
    """

    object_type: str
    call: str
    columns: Mapping[str, Any]
    arrived: Callable[[StatsigEmulator], list[dict[str, Any]]]
    unit: Callable[[Mapping[str, Any]], str]

    def row(self, number: int, **columns: Any) -> dict[str, Any]:
        """Return a record of the user with this number."""
        return {"user_id": f"u{number}", **self.columns, **columns}

    def units(self, statsig: StatsigEmulator) -> list[str]:
        """Return the users or units of the items that arrived, in order."""
        return [self.unit(item) for item in self.arrived(statsig)]


def user_of(item: Mapping[str, Any]) -> str:
    return item["user"]["userID"]


ITEM_SAMPLES = (
    ItemSample("event", "log_event", {"event": "order"}, lambda statsig: statsig.state.events, user_of),
    ItemSample(
        "exposure",
        "log_custom_exposure",
        {"experiment": "checkout", "group": "Test"},
        lambda statsig: statsig.state.items("exposures"),
        user_of,
    ),
    ItemSample(
        "metric",
        "log_custom_metric",
        {"metric": "net_revenue", "value": 89.99},
        lambda statsig: statsig.state.items("metrics"),
        lambda metric: metric["user_id"],
    ),
)

item_types = pytest.mark.parametrize("items", [pytest.param(one, id=one.object_type) for one in ITEM_SAMPLES])
"""Runs a test once for each object type, as its argument `items`."""
