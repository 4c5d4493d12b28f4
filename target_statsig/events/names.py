"""The name of an event: found, renamed, and checked for what Statsig would drop.

Statsig answers 202 and then drops, without a word, an event whose name holds one of a few characters
(https://docs.statsig.com/metrics/raw-events). Knows nothing of the rest of the event.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from target_statsig.event_names import dropped_characters, sanitized
from target_statsig.events.values import label
from target_statsig.exceptions import RecordError
from target_statsig.settings import EventPreset, InvalidEventName, StreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_statsig.events.notes import MappingNotes

MAX_NAME_LENGTH = 128
"""Characters (https://docs.statsig.com/data-warehouse-ingestion/data_mapping)."""

PRESETS: Mapping[EventPreset, Mapping[str, str]] = MappingProxyType(
    {
        EventPreset.NONE: {},
        EventPreset.DEFAULT: {
            "page": "page_view",
            "Signed Up": "sign_up",
            "Logged In": "login",
            "Products Searched": "search",
        },
        EventPreset.RETAIL: {
            "page": "page_view",
            "Products Searched": "search",
            "Product Viewed": "view_item",
            "Product Added": "add_to_cart",
            "Checkout Started": "begin_checkout",
            "Order Completed": "purchase",
        },
    }
)
"""Statsig's names for what analytics trackers call an event."""

_NAMES_KEPT = 4_096
"""Event names whose outcome is remembered; a stream seldom has a hundred."""


class EventNames:
    """Names the events of one stream.

    Attributes:
        clean: The first names that were met, each with its outcome where there is nothing to note about it.
    """

    def __init__(self, settings: StreamSettings) -> None:
        """Unite the renames: `event_name_mapping` wins over the preset."""
        self._renames = {**PRESETS[settings.event_preset], **settings.event_name_mapping}
        self._sanitizes = settings.invalid_event_name is InvalidEventName.SANITIZE
        self._named = lru_cache(_NAMES_KEPT)(self._name)
        self.clean: dict[object, str] = {}

    def __call__(self, source: object, notes: MappingNotes) -> str:
        """Return the event name for a name from a record.

        Args:
            source: What the record has for a name; None where it has nothing.
            notes: Told of sanitized names.

        Raises:
            RecordError: `missing_event_name`, `invalid_event_name` or `event_name_too_long`.
        """
        before, name = self._named(source if type(source) is str else label(source) or "")
        if before != name:
            notes.add_renamed(before, name)
        elif type(source) is str and len(self.clean) < _NAMES_KEPT:
            self.clean[source] = name
        return name

    def _name(self, source: str) -> tuple[str, str]:
        """Return the name before and after it was sanitized."""
        source = source.strip()
        before = name = self._renames.get(source, source).strip()
        if self._sanitizes:
            name = sanitized(name)
        if fault := _fault(name):
            raise RecordError(fault, "event_name")
        return before, name


def _fault(name: str) -> str | None:
    """Return the reason for which no event can have this name, or None."""
    if not name:
        return "missing_event_name"
    if dropped_characters(name):
        return "invalid_event_name"
    return "event_name_too_long" if len(name) > MAX_NAME_LENGTH else None
