"""Every setting, declared once: its type, default, bounds and sentence; and the JSON schema made of the declarations.

`--about`, the page of settings, `meltano.yml` and the entries for the Meltano Hub come from that schema. All values can
be pickled for other processes.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from target_statsig.config import choices

if TYPE_CHECKING:
    from collections.abc import Mapping

Sources = str | tuple[str, ...]
"""One source or several; for each record the first that is present and not null counts."""

EVENTS_URL = "https://events.statsigapi.net/v1"
"""Base of the events API: https://docs.statsig.com/http-api."""

CONSOLE_URL = "https://statsigapi.net/console/v1"
"""Base of the Console API: https://docs.statsig.com/console-api/introduction."""


REQUIRED: Any = dataclasses.MISSING
"""The default of a setting that must be given."""


def setting(
    sentence: str, *, default: Any = None, bounds: tuple[int, int | None] | None = None, secret: bool = False
) -> Any:
    """Declare a setting, described by a sentence, as a field of a dataclass; its JSON type comes from the annotation.

    `default` may be `REQUIRED`, or None if leaving it out has its own meaning. A number is within its `bounds`. A
    `secret` stays out of logs and of `repr`.
    """
    least, most = bounds or (None, None)
    schema = {"secret": secret or None, "minimum": least, "maximum": most, "description": sentence}
    metadata = {name: value for name, value in schema.items() if value is not None}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """One stream's settings, with the top level's defaults filled in."""

    object_type: choices.ObjectType = setting("What the stream's records become.", default=REQUIRED)
    field_mapping: dict[str, Sources] = setting(
        "`{destination: source}`. A source is a column, a dotted path into an object column, or a list of those; "
        "the first that is present and not null counts.",
        default={},
    )
    max_rejected_percent: int = setting(
        "The run fails at its end if more than this share of a stream's records, and more than 10, were "
        "rejected. It also fails if all were rejected (unless this is 100). With 0 it fails at the first "
        "rejected record.",
        default=10,
        bounds=(0, 100),
    )
    environment_tier: str | None = setting(
        "Events, exposures: the tier, sent as `user.statsigEnvironment.tier`: `production`, `staging`, "
        "`development`, or another environment of the project."
    )
    environment_tier_field: str | None = setting(
        "Events, exposures: the column with the tier of each record. If it is null, `environment_tier` is used."
    )
    event_name: str | None = setting("Events: one name for every record of the stream.")
    event_preset: choices.EventPreset = setting(
        "Events: a set of renames. `segment` reads rows as Segment and RudderStack write them.",
        default=choices.EventPreset.NONE,
    )
    event_name_mapping: dict[str, str] = setting(
        "Events: `{source name: Statsig name}`. Overrides the preset.", default={}
    )
    invalid_event_name: choices.InvalidEventName = setting(
        "Events: what to do with a name that Statsig would drop: reject the record, or replace the characters by `_`.",
        default=choices.InvalidEventName.REJECT,
    )
    custom_ids: dict[str, Sources] = setting(
        "Events, exposures: `{Statsig ID type: source}`, sent as `user.customIDs`.", default={}
    )
    custom_fields: dict[str, Sources] = setting(
        "Events, exposures: `{attribute: source}`, sent as `user.custom` with their types. Overrides members of "
        "`custom`.",
        default={},
    )
    metadata_fields: tuple[str, ...] = setting(
        "Events: the columns that become metadata. `*`: every column that fills no other field; `[]`: none.",
        default=("*",),
    )
    metadata_types: choices.MetadataTypes = setting(
        "Events: send metadata as `text`, or `typed`: numbers, booleans, objects and lists as they are.",
        default=choices.MetadataTypes.TEXT,
    )
    experiment_name: str | None = setting("Exposures: the experiment of every record of the stream.")
    gate_name: str | None = setting("Exposures: the gate of every record of the stream, instead of an experiment.")
    metric_name: str | None = setting("Metrics: the metric of every record of the stream.")
    is_test: bool = setting("Metrics: mark the values as a test (`isTest`).", default=False)
    deleted_rows: choices.DeletedRows = setting(
        "Events, exposures, metrics: skip a record marked `_sdc_deleted_at` or `_sdc_lsn_deleted_at`, or send it.",
        default=choices.DeletedRows.SKIP,
    )
    time_unit: choices.TimeUnit = setting(
        "Events, exposures: the unit of a numeric time. `auto` guesses it from the size.", default=choices.TimeUnit.AUTO
    )
    dedupe: bool = setting(
        "Events, exposures, metrics: remember what was delivered and may come again, and skip it.", default=True
    )
    dedupe_days: int = setting(
        "Events, exposures, metrics: remember everything for this many days (for FULL_TABLE streams).",
        default=0,
        bounds=(0, 3650),
    )
    segment_id: str | None = setting("Segments: the segment's id.")
    segment_id_field: str | None = setting(
        "Segments: the column that names the segment of each record, instead of `segment_id`."
    )
    id_type: choices.IdType = setting(
        "Segments: the ID type of the segment. Metrics: the ID type of a record without `id_type`.",
        default=choices.IdType.USER_ID,
    )
    custom_id_type: str | None = setting(
        "Segments, metrics: with `id_type: custom_id`, the name of the Statsig ID type, and the default id column."
    )
    sync_mode: choices.SyncMode | None = setting(
        "Segments (required): `add` the records' ids, `remove` them, or `mirror` the stream."
    )
    membership_field: str | None = setting(
        "Segments: with `add`, a boolean column: true adds, false removes. A record with `_sdc_deleted_at` "
        "always means “not a member”."
    )
    max_segment_size: int | None = setting(
        "Segments: a run that would make the segment larger fails before its first change. (Growing over 1,000 "
        "members cannot be undone.)",
        bounds=(1, 10_000_000),
    )
    full_check_days: int = setting(
        "Segments: a mirror reads Statsig's whole list at least this often, even if its count and version are as "
        "expected. 0: in every run.",
        default=7,
        bounds=(0, 3650),
    )
    create_segment: bool = setting(
        "Segments: create a missing segment, as an ID list of the right ID type.", default=False
    )
    segment_description: str | None = setting(
        "Segments: the description of a segment that `create_segment` creates, at most 1,000 characters."
    )
    segment_tags: tuple[str, ...] = setting(
        "Segments: the tags of a segment that `create_segment` creates.", default=()
    )
    removal_scope: choices.RemovalScope = setting(
        "Segments: a mirror removes `all` members that are not in the stream, or only its `own`, which this "
        "target added.",
        default=choices.RemovalScope.ALL,
    )
    max_removal_percent: int = setting(
        "Segments: a mirror that would remove more than this share of a segment, and more than 10 members, "
        "removes none and fails.",
        default=20,
        bounds=(0, 100),
    )
    allow_empty_segment: bool = setting(
        "Segments: let a mirror empty a segment. Without it, an empty stream removes no members and logs a warning.",
        default=False,
    )
    row_count_field: str | None = setting(
        "Segments: a column with the number of rows of the stream (`count(*) over ()`). The stream is complete "
        "if that many records came. If this is set, nothing else proves it."
    )
    on_incomplete_stream: choices.OnIncompleteStream = setting(
        "Segments: what a mirror does if nothing proves that the tap finished: `hold` the removals, `remove` "
        "anyway, or `fail`.",
        default=choices.OnIncompleteStream.HOLD,
    )


@dataclass(frozen=True, slots=True)
class RateWindow:
    """At most `limit` requests in each `seconds`."""

    limit: int
    seconds: int


_RATE = re.compile(r"([1-9]\d{0,8}) */ *([1-9]\d{0,8}) *([smh])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_rate_windows(text: str) -> tuple[RateWindow, ...]:
    """Read comma-separated pairs of a number and a period, or raise a ValueError that says what is wrong.

    `10/10s, 850/15m` is at most 10 requests in 10 seconds, and 850 in 15 minutes; `h` are hours.
    """
    windows = []
    for part in text.split(","):
        match = _RATE.fullmatch(part.strip())
        if match is None:
            msg = f"'{part.strip()}' is not a number of requests and a period, such as `10/10s` or `850/15m`"
            raise ValueError(msg)
        number, period, unit = match.groups()
        windows.append(RateWindow(int(number), int(period) * _SECONDS[unit]))
    return tuple(windows)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a run that belong to no stream."""

    server_secret_key: str | None = setting(
        "Server Secret Key (`secret-…`). Needed if any stream goes to events, exposures or metrics.", secret=True
    )
    console_api_key: str | None = setting(
        "Console API Key (`console-…`). Needed if any stream goes to a segment.", secret=True
    )
    events_url: str = setting(
        "Base URL of Statsig's events API. Change it for a proxy or the emulator.", default=EVENTS_URL
    )
    console_url: str = setting("Base URL of Statsig's Console API.", default=CONSOLE_URL)
    request_timeout: int = setting("Seconds for one HTTP request in total.", default=30, bounds=(1, None))
    retry_timeout: int = setting(
        "Seconds that one request may spend on all its retries before the run fails.", default=1800, bounds=(0, None)
    )
    max_parallel_requests: int = setting(
        "Largest number of requests to the events API at the same time.", default=8, bounds=(1, 64)
    )
    compression: choices.Compression = setting(
        "Encoding of request bodies to the events API.", default=choices.Compression.GZIP
    )
    batch_size_rows: int = setting(
        "Largest number of events, exposures or metric values in a request.", default=500, bounds=(1, 3000)
    )
    batch_size_bytes: int = setting(
        "Largest number of uncompressed body bytes in a request.", default=1_000_000, bounds=(1000, 10_000_000)
    )
    segment_batch_size: int = setting(
        "Largest number of ids in a request. (A list in the user store takes 1,000, whatever this says.)",
        default=10_000,
        bounds=(1, 100_000),
    )
    console_rate_limits: str = setting(
        "Changes of ID lists: at most N in each period (`s`, `m`, `h`). All pairs apply.", default="10/10s, 850/15m"
    )
    respect_review_settings: bool = setting(
        "Ask Statsig to refuse changes of a segment that must be reviewed (`x-respect-review-settings`).", default=False
    )
    store_url: str | None = setting(
        "URL of the store, in SQLAlchemy's form: `sqlite:///…` or `postgresql+psycopg://…`. Default: "
        "`target-statsig/store.db` under `MELTANO_SYS_DIR_ROOT` if that is set, else `.target-statsig/store.db`.",
        secret=True,
    )
    dead_letter_path: str | None = setting(
        "Directory, or a `universal-pathlib` URL (`s3://…`), for records that could not be delivered. Default: "
        "`dead-letters/` beside the embedded store, else `.target-statsig/dead-letters/`."
    )
    report_path: str | None = setting("Write the run report (JSON) to this file.")
    metrics_path: str | None = setting("Write the report's counts to this file, as OpenMetrics text.")
    notify_url: str | None = setting(
        "POST the run report (JSON, with a sentence in `text`) to this address at the end of a run.", secret=True
    )
    notify_on: choices.NotifyOn = setting(
        "Which runs to report to `notify_url`: those that failed or were interrupted, or all.",
        default=choices.NotifyOn.FAILURE,
    )
    dry_run: bool = setting(
        "Read everything, change nothing, write no STATE, and show what a run would do.", default=False
    )


_JSON_TYPES: Mapping[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string", "minLength": 1},
    dict[str, str]: {"type": "object", "additionalProperties": {"type": "string"}},
    dict[str, Sources]: {
        "type": "object",
        "additionalProperties": {
            "type": ["string", "array"],
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
        },
    },
    tuple[str, ...]: {"type": "array", "items": {"type": "string"}},
}
"""By the type of a value; every other type is a closed set."""


def _types(declarations: type) -> dict[str, Any]:
    hints = get_type_hints(declarations)
    return {name: get_args(hint)[0] if isinstance(hint, UnionType) else hint for name, hint in hints.items()}


STREAM_TYPES = _types(StreamSettings)
"""The types of a stream's settings, by name."""

MAPPINGS = tuple(name for name, kind in STREAM_TYPES.items() if kind in {dict[str, str], dict[str, Sources]})
"""The settings whose keys are a user's own names."""


def config_schema() -> dict[str, Any]:
    """Return the closed JSON schema of the whole configuration, singer-sdk's own settings aside.

    An entry of `streams` has no defaults: singer-sdk would fill them in and hide the value of the top level.
    """
    closed = {"type": "object", "additionalProperties": False}
    streams = {
        "type": "object",
        "additionalProperties": closed | {"properties": _properties(StreamSettings, defaults=False)},
        "description": "`{stream name or glob: its settings}`. An exact name wins, then the glob with the longest "
        "literal text. Every stream setting may also stand at the top level, as the default for all streams.",
    }
    return closed | {"properties": {**_properties(Settings), "streams": streams, **_properties(StreamSettings)}}


def _properties(declarations: type[Settings | StreamSettings], *, defaults: bool = True) -> dict[str, Any]:
    types = _types(declarations)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(declarations):
        kind = types[field.name]
        allowed = _JSON_TYPES.get(kind) or {"type": "string", "enum": [choice.value for choice in kind]}
        schema = {**allowed, **field.metadata}
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if defaults and default is not None and default is not REQUIRED:
            schema["default"] = _to_json(default)
        properties[field.name] = schema
    return properties


def _to_json(default: Any) -> Any:
    if isinstance(default, StrEnum):
        return default.value
    return list(default) if isinstance(default, tuple) else default
