"""Records of Segment and RudderStack: messages, or rows of the tables in a warehouse.

The fields of a message: https://segment.com/docs/connections/spec/common/. What Statsig reads from `properties`:
https://docs.statsig.com/integrations/data-connectors/segment and `/rudderstack`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import JSON_COLUMNS
from target_statsig.events.values import json_value

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_statsig.singer.columns import Column, Columns

TYPE = "type"
"""The column with the kind of call."""

EVENT_TEXT = "event_text"
"""The column with the name of an event in a warehouse, where `event` is the name of its table."""

VIEWS = ("page", "screen")
"""Kinds of calls that are no event. For these, RudderStack's mobile SDKs put the name of the screen into `event`."""

STATSIG_IDS = "properties.statsigCustomIDs"
STATSIG_TIER = "properties.statsigEnvironment.tier"
STATSIG_MEMBERS = frozenset({"statsigCustomIDs", "statsigCustom", "statsigEnvironment"})
"""Members of `properties` that describe the user, not the event."""

TRANSPORT = frozenset(
    {
        *("event", EVENT_TEXT, "originalTimestamp", "original_timestamp", "sentAt", "sent_at"),
        *("receivedAt", "received_at", "uuid_ts", "loaded_at"),
    }
)
"""Columns about the transport of a message. They become metadata only if `metadata_fields` names them."""

OF_MESSAGES = frozenset({TYPE, "channel", "version", "integrations", "writeKey", "projectId", "_metadata"})
"""Further columns about the transport, of messages only: in a warehouse, they may be properties."""

CONTEXT_PREFIX = "context_"
"""The prefix of the columns in a warehouse that were members of `context`."""


def read_objects(columns: Columns) -> Columns:
    """Return the columns with JSON texts of objects decoded; other texts stay as they are."""
    parsed = {name: _parsed(columns.get(name)) for name in JSON_COLUMNS if str in set(map(type, columns.get(name)))}
    return columns.replaced(parsed) if parsed else columns


def _parsed(column: Column) -> Column:
    decoded = [json_value(value) if type(value) is str else value for value in column]
    return [new if type(new) is dict else old for new, old in zip(decoded, column, strict=True)]


def views_named(columns: Columns, names: Column) -> Column:
    """Return the names of events; for calls of page and screen, the kind of the call."""
    return [kind if kind in VIEWS else name for kind, name in zip(columns.get(TYPE), names, strict=True)]


def members_of(value: object) -> dict[str, Any] | None:
    """Return an object, a list of alternating names and values, or a JSON text of either as an object; else None."""
    if isinstance(value, str):
        value = json_value(value)
    if isinstance(value, list):
        pairs = zip(value[::2], value[1::2], strict=False)
        return {name: member for name, member in pairs if isinstance(name, str) and name.strip()}
    return value if isinstance(value, dict) else None


def is_transport(name: str, present: Collection[str]) -> bool:
    """Return whether a column of a record with the columns `present` is about a message's transport, or its user."""
    return name in TRANSPORT or name.startswith(CONTEXT_PREFIX) or (name in OF_MESSAGES and "properties" in present)
