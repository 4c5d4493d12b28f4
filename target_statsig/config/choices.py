"""What settings may hold: closed sets of values, fields and their sources; keys, names and ids that Statsig accepts."""

from __future__ import annotations

import enum
import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from target_statsig.errors import AuthenticationError

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


SHOWN_CHARACTERS = 4
MIN_CHARACTERS = 8
"""The end of a shorter key would reveal too much of it."""

PLACE = "Project Settings > Keys & Environments"
"""Where the Statsig console shows the keys."""

TITLES = {"secret-": "Server Secret Key", "console-": "Console API Key", "client-": "Client SDK Key"}
"""Statsig's name of a key, by its prefix."""


class _KeyUse(NamedTuple):
    """The setting that holds a key, the header that carries it, the setting with the address of its API.

    `size_settings` are the settings that make that API's requests smaller, as text.
    """

    setting: str
    prefix: str
    header: str
    url_setting: str
    size_settings: str


class ApiKeyKind(_KeyUse, enum.Enum):
    """A kind of key that this target needs; see https://docs.statsig.com/access-management/api-keys."""

    SERVER_SECRET = (
        "server_secret_key",
        "secret-",
        "statsig-api-key",
        "events_url",
        "`batch_size_rows` or `batch_size_bytes`",
    )
    CONSOLE = ("console_api_key", "console-", "STATSIG-API-KEY", "console_url", "`segment_batch_size`")

    @property
    def title(self) -> str:
        """Statsig's name of such a key."""
        return TITLES[self.prefix]

    @property
    def wanted(self) -> str:
        """A sentence about the key to use, and where to find it."""
        return f"Use the project's {self.title}, `{self.prefix}…`, from {PLACE} in Statsig."

    def other_prefix(self, key: str) -> str | None:
        """Return the prefix of a key of another kind, else None."""
        return next((prefix for prefix in TITLES if prefix != self.prefix and key.startswith(prefix)), None)

    def check(self, key: str) -> str:
        """Return the key, or raise an AuthenticationError if it is empty or has characters that no key has."""
        if not key:
            msg = f"`{self.setting}` is not set. {self.wanted}"
            raise AuthenticationError(msg)
        if not key.isascii() or not key.isprintable() or " " in key:
            msg = (
                f"`{self.setting}` holds a blank, a line break or another character that no key has. Copy the whole "
                f"key again, and nothing else. {self.wanted}"
            )
            raise AuthenticationError(msg)
        return key

    def describe(self, key: str) -> str:
        """Return a sentence with the last characters of the used key, and whether it is of another kind."""
        end = key[-SHOWN_CHARACTERS:]
        known = f"The key used ends in `…{end}`" if len(key) >= MIN_CHARACTERS else "The key used is very short"
        other = self.other_prefix(key)
        if other is not None:
            return f"{known} and is a {TITLES[other]} (`{other}…`), which cannot be used here."
        if not key.startswith(self.prefix):
            return f"{known} and does not begin with `{self.prefix}`."
        return f"{known}. It may be revoked, or lack a permission."


RESERVED_PREFIX = "statsig::"
"""Prefix of events that Statsig creates, such as exposures."""

DROPPED_CHARACTERS = '\\[]{}<>#=;&$%|"\0\r\n'
"""Statsig answers 202 to an event with such a name, and drops it: https://docs.statsig.com/metrics/raw-events."""

MAX_SEGMENT_ID = 100
"""Most characters of a segment's id: https://docs.statsig.com/console-api/segments."""

_SANITIZED = str.maketrans(dict.fromkeys(DROPPED_CHARACTERS, "_"))

_UNUSABLE_ID = re.compile(r"\s*|\.\.?|.*[\0-\x1f\x7f-\x9f\ud800-\udfff].*", re.DOTALL)
"""Blank, `.` or `..`, or text with a control character or half of a surrogate pair."""


def dropped_characters(name: str) -> str:
    """Return the characters for which Statsig drops an event of this name, as printable text; empty if none."""
    found = [character for character in DROPPED_CHARACTERS if character in name]
    if name.startswith(RESERVED_PREFIX):
        found.append(RESERVED_PREFIX)
    return " ".join(ascii(text)[1:-1] if text < " " else text for text in found)


def sanitized(name: str) -> str:
    """Return the name with `_` in place of each character for which Statsig would drop it."""
    if name.startswith(RESERVED_PREFIX):
        name = RESERVED_PREFIX.replace(":", "_") + name[len(RESERVED_PREFIX) :]
    return name.translate(_SANITIZED)


def is_segment_id(text: str) -> bool:
    """Return whether text can be a segment's id, percent-encoded in the path of a request."""
    return len(text) <= MAX_SEGMENT_ID and _UNUSABLE_ID.fullmatch(text) is None
