"""The closed sets of values that settings may have."""

from __future__ import annotations

import enum


class Choice(enum.StrEnum):
    """A closed set of strings; its members are a setting's allowed values."""


class ObjectType(Choice):
    """What a stream's records become in Statsig."""

    EVENT = "event"
    SEGMENT = "segment"
    EXPOSURE = "exposure"
    METRIC = "metric"


class Tier(Choice):
    """The environments of a new project, which may rename them and add others; only production events are billed."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


class EventPreset(Choice):
    """A ready-made set of event renames."""

    NONE = "none"
    DEFAULT = "default"
    RETAIL = "retail"
    SEGMENT = "segment"


class InvalidEventName(Choice):
    """What to do with a name that Statsig would drop without a word."""

    REJECT = "reject"
    SANITIZE = "sanitize"


class DeletedRows(Choice):
    """What to do with a record that says that its row was deleted."""

    SKIP = "skip"
    SEND = "send"


class MetadataTypes(Choice):
    """What the values of metadata are."""

    TEXT = "text"
    TYPED = "typed"


class TimeUnit(Choice):
    """The unit of a numeric time."""

    AUTO = "auto"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class IdType(Choice):
    """The kind of id that a segment holds, or that a metric's value is of."""

    USER_ID = "user_id"
    STABLE_ID = "stable_id"
    CUSTOM_ID = "custom_id"


class SyncMode(Choice):
    """How a stream's records change a segment."""

    ADD = "add"
    REMOVE = "remove"
    MIRROR = "mirror"


class RemovalScope(Choice):
    """Whom a mirror may remove."""

    ALL = "all"
    OWN = "own"


class OnIncompleteStream(Choice):
    """What a mirror does about removals when nothing proves that the tap finished."""

    HOLD = "hold"
    REMOVE = "remove"
    FAIL = "fail"


class Compression(Choice):
    """The encoding of a request's body."""

    GZIP = "gzip"
    NONE = "none"


class NotifyOn(Choice):
    """Which runs are reported to `notify_url`."""

    FAILURE = "failure"
    ALWAYS = "always"
