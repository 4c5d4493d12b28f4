"""The closed sets of values that settings may have."""

from __future__ import annotations

from enum import StrEnum


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
