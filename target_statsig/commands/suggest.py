"""`--suggest`: settings for the streams of a tap, from its output or its catalog."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.config.choices import DEFAULT_SOURCES, DESTINATIONS, ObjectType, SyncMode
from target_statsig.errors import InputError
from target_statsig.reports.text import visible
from target_statsig.singer.columns import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LIKE_AN_IDENTIFIER = re.compile(
    r"(user|customer|member|account|client|person|contact|visitor)[_ ]?(id|uuid)?", re.IGNORECASE
)
LIKE_A_TIME = re.compile(r".*([_ ](at|time|on)|date|timestamp|At|Time)")
LIKE_A_VALUE = re.compile(r".*(total|amount|revenue|price|value)", re.IGNORECASE)
LIKE_A_ROW_COUNT = re.compile(r"(row_count|rows|total_rows|rowCount)")
LIKE_A_MEMBERSHIP = re.compile(r"(is_)?(member|active|in_segment|subscribed|enabled)", re.IGNORECASE)
MOST_COLUMNS_OF_AN_AUDIENCE = 4
"""Columns of an audience at most. With more, a stream holds events."""

TIME = "time"

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}


@dataclass
class Stream:
    """What the messages show of a stream; `columns` has their JSON types, and `TIME` if they hold dates or times."""

    name: str
    columns: dict[str, set[str]] = field(default_factory=dict)
    replication_key: str | None = None

    def has(self, sources: Iterable[str]) -> str | None:
        """Return the first of some sources that the stream has."""
        return next((source for source in sources if any(not p.path for p in places((source,), self.columns))), None)

    def like(self, pattern: re.Pattern[str], *types: str) -> str | None:
        """Return the first column whose name fits a pattern, of one of these types, if any are given."""
        names = (name for name, of_column in self.columns.items() if not types or of_column.intersection(types))
        return next((name for name in names if pattern.fullmatch(name)), None)


def suggest(lines: Iterable[bytes]) -> str:
    """Return a `streams` block in YAML, with remarks as comments, for a tap's output or its catalog.

    Raises:
        InputError: The lines are neither.
    """
    streams = read_streams(lines)
    if not streams:
        msg = (
            "The input holds neither a SCHEMA message nor a catalog. Pipe the output of a tap, or of its `--discover`."
        )
        raise InputError(msg)
    blocks = {stream.name: _block(stream) for stream in streams}
    text = "".join(blocks.values())
    result = f"streams:\n{text}" if text else "streams: {}\n"
    if left_out := {name: "__NULL__" for name, block in blocks.items() if not block}:
        result += (
            "# These have no column that looks like an identifier, so they are not sent. To send one, map `user_id`.\n"
            f"stream_maps: {_quoted(left_out)}\n"
        )
    return result


def _block(stream: Stream) -> str:
    """Return the entry of a stream, with remarks; empty if no column looks like an identifier."""
    mapping: dict[str, str] = {}
    remarks: list[str] = []
    if stream.has(source for name in ("user_id", "anonymous_id") for source in DEFAULT_SOURCES[name]) is None:
        identifier = stream.like(LIKE_AN_IDENTIFIER)
        if identifier is None:
            return ""
        mapping["user_id"] = identifier
        remarks.append(f"`{identifier}` is a guess. Is it the id that your application passes to Statsig?")
    object_type = _object_type(stream)
    settings: dict[str, Any] = {"object_type": object_type.value}
    if object_type is ObjectType.SEGMENT:
        settings |= _segment(stream, remarks)
    elif object_type is ObjectType.EVENT:
        settings |= _event(stream, mapping, remarks)
    if mapping:
        settings["field_mapping"] = mapping
    remarks = [*_reads(stream, object_type, settings, mapping), *remarks]
    lines = [
        f"  {_quoted(stream.name)}:",
        *(f"    {name}: {_quoted(value)}" for name, value in settings.items()),
        *(f"    # {visible(remark)}" for remark in remarks),
    ]
    return "\n".join([*lines, ""])


def _quoted(value: Any) -> str:
    """Return a value as JSON, which YAML reads too: it takes a plain `on` for a boolean."""
    return json.dumps(value, ensure_ascii=False)


def _object_type(stream: Stream) -> ObjectType:
    def has(destination: str) -> bool:
        return stream.has(DEFAULT_SOURCES[destination]) is not None

    if (has("experiment_name") and has("group")) or (has("gate_name") and has("passes")):
        return ObjectType.EXPOSURE
    if has("metric_name") and (has("metric_value") or has("numerator")):
        return ObjectType.METRIC
    if has("event_name"):
        return ObjectType.EVENT
    is_short = len(_plain_columns(stream)) <= MOST_COLUMNS_OF_AN_AUDIENCE and _time_of(stream) is None
    return ObjectType.SEGMENT if is_short or _row_count_of(stream) is not None else ObjectType.EVENT


def _event(stream: Stream, mapping: dict[str, str], remarks: list[str]) -> dict[str, Any]:
    settings = {}
    if stream.has(DEFAULT_SOURCES["event_name"]) is None:
        settings["event_name"] = re.split(r"[-.]", stream.name)[-1] or stream.name
        remarks.append("No column names the event, so every record has this name.")
    if stream.has(DEFAULT_SOURCES["event_time"]) is None:
        time = _time_of(stream)
        if time is None:
            remarks.append("No column looks like a time, so the time of extraction is sent.")
        else:
            mapping["event_time"] = time
            if TIME not in stream.columns[time]:
                remarks.append(f"`{time}` is text. A record whose `{time}` is not a time is rejected.")
    if stream.has(DEFAULT_SOURCES["event_value"]) is None:
        value = stream.like(LIKE_A_VALUE, "number", "integer") or stream.like(LIKE_A_VALUE, "string")
        if value is not None:
            mapping["event_value"] = value
    return settings


def _segment(stream: Stream, remarks: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {"segment_id": re.sub(r"\W", "_", re.split(r"[-.]", stream.name)[-1]) or "segment"}
    row_count = _row_count_of(stream)
    if row_count is not None:
        settings |= {"sync_mode": SyncMode.MIRROR.value, "row_count_field": row_count}
        remarks.append("The segment will equal the stream: members that are not in the stream are removed.")
    else:
        settings["sync_mode"] = SyncMode.ADD.value
        remarks.append(
            "`mirror` also removes members. It needs a proof that the tap finished, such as `row_count_field`."
        )
        if membership := stream.like(LIKE_A_MEMBERSHIP, "boolean"):
            settings["membership_field"] = membership
    remarks.append("Create the ID list in Statsig, or set `create_segment: true`.")
    return settings


def _row_count_of(stream: Stream) -> str | None:
    return stream.like(LIKE_A_ROW_COUNT, "integer", "number")


def _time_of(stream: Stream) -> str | None:
    if known := stream.has(DEFAULT_SOURCES["event_time"]):
        return known
    columns = _plain_columns(stream)
    times = [name for name in columns if TIME in stream.columns[name]]
    if stream.replication_key in times:
        return stream.replication_key
    named = [name for name in columns if LIKE_A_TIME.fullmatch(name)]
    in_text = [name for name in named if "string" in stream.columns[name]]  # a tap of CSV has nothing but text
    return next(iter([name for name in named if name in times] or times or in_text), None)


def _plain_columns(stream: Stream) -> list[str]:
    return [name for name in stream.columns if not name.startswith("_sdc_")]


def _reads(
    stream: Stream, object_type: ObjectType, settings: Mapping[str, Any], mapping: Mapping[str, str]
) -> Iterator[str]:
    """Yield the column of each destination, and the columns that become metadata."""
    if object_type is ObjectType.SEGMENT:
        return
    read = dict(mapping)
    for destination in DESTINATIONS[object_type]:
        source = stream.has(DEFAULT_SOURCES[destination])
        if destination not in mapping and destination not in settings and source is not None:
            read[destination] = source
    yield "Read: " + ", ".join(f"{destination} ← {source}" for destination, source in read.items()) + "."
    if object_type is ObjectType.EVENT:
        used = {*read.values(), "context", "traits", "consent"}
        rest = [name for name in _plain_columns(stream) if name not in used]
        yield f"Metadata: {', '.join(rest)}." if rest else "No column is left for metadata."


def read_streams(lines: Iterable[bytes]) -> list[Stream]:
    """Return the streams of a tap's output or catalog, in their order."""
    streams: dict[str, Stream] = {}
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for number, line in numbered:
        try:
            message = msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message = None
        if not streams and not (isinstance(message, dict) and "type" in message):
            return _from_catalog(line + b"".join(more for _, more in numbered))
        try:
            _add_message(message, streams)
        except (KeyError, TypeError, AttributeError):
            msg = f"Line {number} of the input is not a Singer message."
            raise InputError(msg) from None
    return list(streams.values())


def _add_message(message: Mapping[str, Any], streams: dict[str, Stream]) -> None:
    kind = message["type"]
    if kind not in {"SCHEMA", "RECORD"}:
        return
    name = str(message["stream"])
    stream = streams.setdefault(name, Stream(name))
    if kind == "SCHEMA":
        stream.replication_key = (message.get("bookmark_properties") or [None])[0]
        _add_columns(stream, message.get("schema"))
        return
    for column, value in message["record"].items():
        stream.columns.setdefault(column, {_JSON_TYPES.get(type(value), "null")})


def _from_catalog(text: bytes) -> list[Stream]:
    try:
        entries = msgspec.json.decode(text)["streams"]
        streams = []
        for entry in entries:
            (root,) = [part["metadata"] for part in entry.get("metadata", []) if not part["breadcrumb"]] or [{}]
            stream = Stream(str(entry.get("stream") or entry["tap_stream_id"]))
            stream.replication_key = root.get("replication-key") or entry.get("replication_key")
            _add_columns(stream, entry["schema"])
            streams.append((stream, root.get("selected", entry.get("selected"))))
    except (msgspec.MsgspecError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
        msg = "The input is neither a tap's output nor a catalog. Pipe the output of a tap, or of its `--discover`."
        raise InputError(msg) from None
    chosen = [stream for stream, selected in streams if selected]
    return chosen or [stream for stream, _ in streams]


def _add_columns(stream: Stream, schema: Any) -> None:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for name, declared in (properties or {}).items():
        says = declared if isinstance(declared, dict) else {}
        types: set[str] = set()
        for choice in (says, *says.get("anyOf", []), *says.get("oneOf", [])):
            kinds = choice.get("type") or []
            types.update([kinds] if isinstance(kinds, str) else kinds)
            if choice.get("format") in {"date-time", "date"}:
                types.add(TIME)
        stream.columns[name] = types
