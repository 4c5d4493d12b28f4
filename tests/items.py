"""Every object type that goes to the events API, for the tests that hold for all of them.

An object type that joins is one more row of `ITEM_SAMPLES`.
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
    """How an object type looks on either side.

    Attributes:
        object_type: The setting.
        call: The last part of the path that its requests go to.
        columns: What a record has besides its user.
        arrived: The items that an emulator has.
        unit: Tells whose an item is.
    """

    object_type: str
    call: str
    columns: Mapping[str, Any]
    arrived: Callable[[StatsigEmulator], list[dict[str, Any]]]
    unit: Callable[[Mapping[str, Any]], str]

    def row(self, number: int, **columns: Any) -> dict[str, Any]:
        """Return a record whose user is of this number."""
        return {"user_id": f"u{number}", **self.columns, **columns}

    def units(self, statsig: StatsigEmulator) -> list[str]:
        """Return whose items arrived, in order."""
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
"""Runs a test once for each, as its argument `items`."""
