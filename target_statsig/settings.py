"""The settings as values: closed sets as enums, one frozen dataclass each, every default once.

Knows what a setting may be. Refuses to know where it came from (`config` parses) and what is done with it.
Everything here pickles, so that a unit of work can be handed to another process.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from target_statsig._compat import override

EVENTS_URL = "https://events.statsigapi.net/v1"
"""Base of the events API: https://docs.statsig.com/http-api."""

CONSOLE_URL = "https://statsigapi.net/console/v1"
"""Base of the Console API: https://docs.statsig.com/console-api/introduction."""


class Choice(str, enum.Enum):
    """A closed set of strings; its members are a setting's allowed values."""

    @override
    def __str__(self) -> str:
        """Return the value as it is written in a configuration."""
        return str(self.value)


class ObjectType(Choice):
    """What a stream's records become in Statsig."""

    EVENT = "event"
    SEGMENT = "segment"
    EXPOSURE = "exposure"
    METRIC = "metric"


class Tier(Choice):
    """Statsig's environments; only production events are billed."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


class EventPreset(Choice):
    """A ready-made set of event renames."""

    NONE = "none"
    DEFAULT = "default"
    RETAIL = "retail"


class InvalidEventName(Choice):
    """What to do with a name that Statsig would drop without a word."""

    REJECT = "reject"
    SANITIZE = "sanitize"


class DeletedRows(Choice):
    """What to do with a record that says that its row was deleted."""

    SKIP = "skip"
    SEND = "send"


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


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """One stream's settings, the top level's defaults already filled in.

    The meaning of each is documented where it is declared for users, in `config.schema`.
    """

    object_type: ObjectType
    field_mapping: dict[str, str] = field(default_factory=dict)
    max_rejected_percent: int = 10
    environment_tier: Tier | None = None
    event_name: str | None = None
    event_preset: EventPreset = EventPreset.NONE
    event_name_mapping: dict[str, str] = field(default_factory=dict)
    invalid_event_name: InvalidEventName = InvalidEventName.REJECT
    custom_ids: dict[str, str] = field(default_factory=dict)
    metadata_fields: tuple[str, ...] = ("*",)
    experiment_name: str | None = None
    gate_name: str | None = None
    metric_name: str | None = None
    is_test: bool = False
    deleted_rows: DeletedRows = DeletedRows.SKIP
    time_unit: TimeUnit = TimeUnit.AUTO
    dedupe: bool = True
    dedupe_days: int = 0
    segment_id: str | None = None
    segment_id_field: str | None = None
    id_type: IdType = IdType.USER_ID
    custom_id_type: str | None = None
    sync_mode: SyncMode | None = None
    membership_field: str | None = None
    max_segment_size: int | None = None
    create_segment: bool = False
    removal_scope: RemovalScope = RemovalScope.ALL
    max_removal_percent: int = 20
    allow_empty_segment: bool = False
    row_count_field: str | None = None
    on_incomplete_stream: OnIncompleteStream = OnIncompleteStream.HOLD


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most `limit` requests in each `seconds`."""

    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a run that belong to no stream."""

    server_secret_key: str | None = field(default=None, repr=False)
    console_api_key: str | None = field(default=None, repr=False)
    events_url: str = EVENTS_URL
    console_url: str = CONSOLE_URL
    request_timeout: int = 30
    retry_timeout: int = 1800
    max_parallel_requests: int = 8
    compression: Compression = Compression.GZIP
    batch_size_rows: int = 500
    batch_size_bytes: int = 1_000_000
    segment_batch_size: int = 10_000
    console_rate_limits: str = "10/10s, 850/15m"
    store_url: str | None = field(default=None, repr=False)
    dead_letter_path: str | None = None
    report_path: str | None = None
    dry_run: bool = False
