"""The settings as users see them: each name, type, bound and sentence, declared once.

From here come the JSON schema, `--about`, the README's table and `meltano.yml`. Defaults and allowed values are read
from `settings`, where they stand once. Refuses to know how a configuration is read.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from target_statsig.settings import (
    Choice,
    Compression,
    DeletedRows,
    EventPreset,
    IdType,
    InvalidEventName,
    ObjectType,
    OnIncompleteStream,
    RemovalScope,
    Settings,
    StreamSettings,
    SyncMode,
    Tier,
    TimeUnit,
)

JsonSchema = dict[str, Any]

STRING_MAP: JsonSchema = {"type": "object", "additionalProperties": {"type": "string"}}
STRING_LIST: JsonSchema = {"type": "array", "items": {"type": "string"}}


def _text(**keywords: object) -> JsonSchema:
    return {"type": "string", "minLength": 1, **keywords}


def _number(minimum: int, maximum: int | None = None) -> JsonSchema:
    bounds: JsonSchema = {"type": "integer", "minimum": minimum}
    return bounds if maximum is None else {**bounds, "maximum": maximum}


def _choice(values: type[Choice]) -> JsonSchema:
    return {"type": "string", "enum": [value.value for value in values]}


FLAG: JsonSchema = {"type": "boolean"}

CONNECTION: dict[str, tuple[JsonSchema, str]] = {
    "server_secret_key": (
        _text(secret=True),
        "Server Secret Key (`secret-…`); needed when any stream goes to events, exposures or metrics.",
    ),
    "console_api_key": (
        _text(secret=True),
        "Console API Key (`console-…`); needed when any stream goes to a segment.",
    ),
    "events_url": (_text(), "Base of Statsig's events API: change it for a proxy or the emulator."),
    "console_url": (_text(), "Base of Statsig's Console API."),
    "request_timeout": (_number(1), "Seconds for one HTTP request, all in all."),
    "retry_timeout": (
        _number(0),
        "Seconds that one request may spend on retries altogether, before the run fails.",
    ),
    "max_parallel_requests": (_number(1, 64), "Requests to the events API under way at once."),
    "compression": (_choice(Compression), "Encoding of the bodies of requests to the events API."),
    "batch_size_rows": (_number(1, 3000), "Events (or exposures, or metric values) a request at most."),
    "batch_size_bytes": (_number(1000, 10_000_000), "Uncompressed body bytes a request at most."),
    "segment_batch_size": (
        _number(1, 100_000),
        "Ids a request at most (a list in the user store takes 1,000, whatever this says).",
    ),
    "console_rate_limits": (
        _text(),
        "List mutations: at most N in each period (`s`, `m`, `h`); every pair holds.",
    ),
    "store_url": (
        _text(secret=True),
        (
            "SQLAlchemy URL of the store: `sqlite:///…` or `postgresql+psycopg://…`. Default: "
            "`target-statsig/store.db` under `MELTANO_SYS_DIR_ROOT` if that is set, else `.target-statsig/store.db`."
        ),
    ),
    "dead_letter_path": (
        _text(),
        (
            "Directory, or a `universal-pathlib` URL (`s3://…`), for records that could not be delivered. Default: "
            "`dead-letters/` beside the embedded store, else `.target-statsig/dead-letters/`."
        ),
    ),
    "report_path": (_text(), "Write the run report (JSON) to this file."),
    "dry_run": (FLAG, "Read everything, change nothing, write no STATE, and say what a run would do."),
}

STREAM: dict[str, tuple[JsonSchema, str]] = {
    "object_type": (_choice(ObjectType), "What the stream's records become."),
    "field_mapping": (
        STRING_MAP,
        "`{destination: source}`; a source is a column, or a dotted path into an object column.",
    ),
    "max_rejected_percent": (
        _number(0, 100),
        (
            "The run fails, at its end, when more than this share of a stream's records, and more than 10 of them, "
            "was rejected, or all of them unless this is 100; 0: at the first one."
        ),
    ),
    "environment_tier": (_choice(Tier), "Events, exposures: the tier, sent as `user.statsigEnvironment.tier`."),
    "event_name": (_text(), "Events: one name for every record of the stream."),
    "event_preset": (_choice(EventPreset), "Events: a ready-made set of renames."),
    "event_name_mapping": (STRING_MAP, "Events: `{source name: Statsig name}`; wins over the preset."),
    "invalid_event_name": (
        _choice(InvalidEventName),
        "Events: a name that Statsig would drop: reject the record, or replace the characters by `_`.",
    ),
    "custom_ids": (STRING_MAP, "Events, exposures: `{Statsig ID type: source}`, sent as `user.customIDs`."),
    "metadata_fields": (
        STRING_LIST,
        "Events: the sources that become metadata; `*`: every column that fed no other field; `[]`: none.",
    ),
    "experiment_name": (_text(), "Exposures: the experiment of every record of the stream."),
    "gate_name": (_text(), "Exposures: instead of an experiment, the gate of every record of the stream."),
    "metric_name": (_text(), "Metrics: the metric of every record of the stream."),
    "is_test": (FLAG, "Metrics: mark the values as a test (`isTest`)."),
    "deleted_rows": (
        _choice(DeletedRows),
        "Events, exposures, metrics: skip a record marked `_sdc_deleted_at` or `_sdc_lsn_deleted_at`, or send it.",
    ),
    "time_unit": (_choice(TimeUnit), "Events, exposures: the unit of a numeric time; `auto`: by magnitude."),
    "dedupe": (FLAG, "Events, exposures, metrics: remember what was acknowledged and may be sent again, and skip it."),
    "dedupe_days": (
        _number(0, 3650),
        "Events, exposures, metrics: remember everything for so many days (for FULL_TABLE streams).",
    ),
    "segment_id": (_text(), "Segments: the segment."),
    "segment_id_field": (
        _text(),
        "Segments: instead of `segment_id`, the column that names the segment of each record.",
    ),
    "id_type": (
        _choice(IdType),
        "Segments: the kind of id that the segment holds. Metrics: that of a record without `id_type`.",
    ),
    "custom_id_type": (
        _text(),
        "Segments, metrics: with `id_type: custom_id`, the Statsig ID type's name, and the default id column.",
    ),
    "sync_mode": (
        _choice(SyncMode),
        "Segments (required): `add` the records' ids, `remove` them, or `mirror` the stream.",
    ),
    "membership_field": (
        _text(),
        (
            "Segments: with `add`, a boolean column: true adds, false removes. "
            "`_sdc_deleted_at` set always means “not a member”."
        ),
    ),
    "max_segment_size": (
        _number(1, 10_000_000),
        (
            "Segments: a run that would make the segment larger fails before its first change (over 1,000 is a one-way "
            "door)."
        ),
    ),
    "create_segment": (FLAG, "Segments: create a missing segment, of type `id_list` and the right ID type."),
    "removal_scope": (
        _choice(RemovalScope),
        "Segments: a mirror removes `all` who are not in the audience, or only its `own`: those this target added.",
    ),
    "max_removal_percent": (
        _number(0, 100),
        (
            "Segments: a mirror that would remove more than this share of a segment, and more than 10 members, "
            "removes nobody and fails."
        ),
    ),
    "allow_empty_segment": (
        FLAG,
        "Segments: let a mirror empty a segment; without it an empty stream removes nobody, with a warning.",
    ),
    "row_count_field": (
        _text(),
        (
            "Segments: a column that holds the stream's number of rows (`count(*) over ()`): the stream is complete "
            "when that many records came, and where this is set nothing else proves it."
        ),
    ),
    "on_incomplete_stream": (
        _choice(OnIncompleteStream),
        (
            "Segments: what a mirror does about removals when nothing proves that the tap finished: `hold` them, "
            "`remove` all the same, or `fail`."
        ),
    ),
}


def _defaults(values: type) -> dict[str, object]:
    found = {}
    for field in dataclasses.fields(values):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is not dataclasses.MISSING and default is not None:
            plain = default.value if isinstance(default, Choice) else default
            found[field.name] = list(plain) if isinstance(plain, tuple) else plain
    return found


def _declare(table: dict[str, tuple[JsonSchema, str]], defaults: dict[str, object]) -> JsonSchema:
    properties = {}
    for name, (schema, description) in table.items():
        properties[name] = {**schema, "description": description}
        if name in defaults:
            properties[name]["default"] = defaults[name]
    return properties


def stream_schema() -> JsonSchema:
    """Return the JSON schema of one entry of `streams`.

    It holds no defaults: singer-sdk would fill them in, where they would hide the value at the top level.
    """
    return {"type": "object", "properties": _declare(STREAM, {}), "additionalProperties": False}


def config_schema() -> JsonSchema:
    """Return the closed JSON schema of the whole configuration, singer-sdk's own settings aside."""
    streams = {
        "type": "object",
        "additionalProperties": stream_schema(),
        "description": "`{stream name or glob: its settings}`; an exact name wins, then the glob with the longest "
        "literal part. Every stream setting may also stand at the top level, as the default for all streams.",
    }
    return {
        "type": "object",
        "properties": {
            **_declare(CONNECTION, _defaults(Settings)),
            "streams": streams,
            **_declare(STREAM, _defaults(StreamSettings)),
        },
        "additionalProperties": False,
    }
