"""What settings may hold: closed sets of values, and the destinations of `field_mapping` with their default sources."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ObjectType(StrEnum):
    """What a stream's records become in Statsig."""

    EVENT = "event"
    SEGMENT = "segment"
    EXPOSURE = "exposure"
    METRIC = "metric"


class Tier(StrEnum):
    """The environments of a new project, which may rename them and add others; only production events are billed."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


class EventPreset(StrEnum):
    """A ready-made set of event renames."""

    NONE = "none"
    DEFAULT = "default"
    RETAIL = "retail"
    SEGMENT = "segment"


class InvalidEventName(StrEnum):
    """What to do with a name that Statsig would drop silently."""

    REJECT = "reject"
    SANITIZE = "sanitize"


class DeletedRows(StrEnum):
    """What to do with a record of a deleted row."""

    SKIP = "skip"
    SEND = "send"


class MetadataTypes(StrEnum):
    """The types of values of metadata."""

    TEXT = "text"
    TYPED = "typed"


class TimeUnit(StrEnum):
    """The unit of a numeric time."""

    AUTO = "auto"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class IdType(StrEnum):
    """The ID type of a segment, or of a metric's value."""

    USER_ID = "user_id"
    STABLE_ID = "stable_id"
    CUSTOM_ID = "custom_id"


class SyncMode(StrEnum):
    """How a stream's records change a segment."""

    ADD = "add"
    REMOVE = "remove"
    MIRROR = "mirror"


class RemovalScope(StrEnum):
    """Which members a mirror may remove."""

    ALL = "all"
    OWN = "own"


class OnIncompleteStream(StrEnum):
    """What a mirror does with removals if nothing proves that the tap finished."""

    HOLD = "hold"
    REMOVE = "remove"
    FAIL = "fail"


class Compression(StrEnum):
    """The encoding of a request's body."""

    GZIP = "gzip"
    NONE = "none"


class NotifyOn(StrEnum):
    """Which runs are reported to `notify_url`."""

    FAILURE = "failure"
    ALWAYS = "always"


# Destinations and sources

DEFAULT_SOURCES: Mapping[str, tuple[str, ...]] = {
    "user_id": ("user_id", "userId", "userID"),
    "anonymous_id": ("anonymous_id", "anonymousId", "stable_id", "stableID"),
    "email": ("email", "traits.email", "context.traits.email"),
    "ip": ("ip", "context.ip"),
    "user_agent": ("user_agent", "userAgent", "context.user_agent", "context.userAgent"),
    "locale": ("locale", "context.locale"),
    "country": ("country", "context.location.country"),
    "app_version": ("app_version", "appVersion", "context.app.version"),
    "custom": ("custom",),
    "marketing_consent": ("marketing_consent", "consent.marketing", "context.consent.marketing"),
    "event_name": ("event_name", "eventName", "event"),
    "event_value": ("event_value", "revenue", "properties.revenue", "value"),
    "event_time": ("event_time", "timestamp", "time"),
    "experiment_name": ("experiment_name", "experimentName", "experiment"),
    "gate_name": ("gate_name", "gateName", "gate"),
    "passes": ("passes",),
    "group": ("group", "group_name", "groupName"),
    "rule_id": ("rule_id", "ruleId", "ruleID"),
    "metric_name": ("metric_name", "metricName", "metric"),
    "metric_value": ("metric_value", "metricValue", "value"),
    "numerator": ("numerator",),
    "denominator": ("denominator",),
    "id_type": ("id_type", "idType"),
}
"""The default sources of each destination: the first that is present and not null counts."""

SEGMENT_SOURCES: Mapping[str, tuple[str, ...]] = {
    "email": (*DEFAULT_SOURCES["email"], "context_traits_email"),
    "ip": (*DEFAULT_SOURCES["ip"], "context_ip"),
    "user_agent": (*DEFAULT_SOURCES["user_agent"], "context_user_agent"),
    "locale": (*DEFAULT_SOURCES["locale"], "context_locale"),
    "country": (*DEFAULT_SOURCES["country"], "context_location_country"),
    "app_version": (*DEFAULT_SOURCES["app_version"], "context_app_version"),
    "custom": (*DEFAULT_SOURCES["custom"], "properties.statsigCustom"),
    "event_name": ("event_text", *DEFAULT_SOURCES["event_name"], "type"),
    "event_value": (*DEFAULT_SOURCES["event_value"], "properties.value"),
    "event_time": (
        *DEFAULT_SOURCES["event_time"],
        *("originalTimestamp", "original_timestamp", "sentAt", "sent_at", "receivedAt", "received_at"),
    ),
}
"""Those that differ with `event_preset: segment`."""

JSON_COLUMNS = ("properties", "context", "traits")
"""Columns of objects that `event_preset: segment` also reads as JSON text."""

PRIVATE_ATTRIBUTES = frozenset({"privateAttributes", "private_attributes"})
"""Of a user, for evaluation only: never sent (https://docs.statsig.com/server/concepts/user)."""

USER_DESTINATIONS = (
    *("user_id", "anonymous_id", "email", "ip", "user_agent", "locale", "country", "app_version"),
    *("custom", "marketing_consent"),
)
"""The destinations of a user."""

DESTINATIONS: Mapping[ObjectType, tuple[str, ...]] = {
    ObjectType.EVENT: (*USER_DESTINATIONS, "event_name", "event_value", "event_time"),
    ObjectType.EXPOSURE: (
        *USER_DESTINATIONS,
        *("experiment_name", "gate_name", "passes", "group", "rule_id", "event_time"),
    ),
    ObjectType.METRIC: (
        *("user_id", "anonymous_id"),
        *("metric_name", "metric_value", "numerator", "denominator", "id_type"),
    ),
}
"""The destinations that `field_mapping` may name; for metrics also the custom ID type."""
