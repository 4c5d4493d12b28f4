"""Errors of a configuration: against its schema, and between settings.

Each function gives texts, so that all errors are reported at once. No text quotes a value that may be a secret.
"""

from __future__ import annotations

import copy
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jsonschema import Draft7Validator

from target_statsig.config.choices import (
    DEFAULT_SOURCES,
    DESTINATIONS,
    MAX_SEGMENT_ID,
    PLACE,
    PRIVATE_ATTRIBUTES,
    SHOWN_CHARACTERS,
    TITLES,
    ApiKeyKind,
    IdType,
    InvalidEventName,
    ObjectType,
    SyncMode,
    dropped_characters,
    is_segment_id,
)
from target_statsig.config.paths import file_system_error
from target_statsig.config.settings import (
    CONSOLE_URL,
    EVENTS_URL,
    STREAM_TYPES,
    Settings,
    StreamSettings,
    parse_rate_windows,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from jsonschema.exceptions import ValidationError

NOT_IN_A_BASE = re.compile(r"[?#\s\0-\x1f\x7f-\x9f]")
"""Characters after which a path cannot be appended to an address."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to a given one, ignoring case; None if none is near."""
    import difflib  # noqa: PLC0415 -- takes six milliseconds, and few configurations hold a mistake

    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def fit(config: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that fit the schema, and a text for each error."""
    rest = copy.deepcopy(dict(config))
    faults = [fault for error in Draft7Validator(schema).iter_errors(config) for fault in _faults(error, schema)]
    for (*way, name), _ in faults:
        holder = rest
        for step in way:
            holder = holder.get(step, {})
        holder.pop(name, None)
    return rest, [text for _, text in faults]


def _faults(error: ValidationError, schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each setting at fault, and the text about it."""
    path = tuple(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        instance: Any = error.instance
        known = STREAM_TYPES if path else schema["properties"]
        where = f"streams.{path[1]}: " if path else ""
        for name in sorted(instance.keys() - known.keys()):
            near = nearest(name, known)
            hint = f"; did you mean `{near}`?" if near else "."
            if name == "load_method":
                hint = ": use `sync_mode` for segments; events are always appended."
            yield (*path, name), f"{where}`{name}` is not a setting{hint}"
    elif error.validator in {"anyOf", "oneOf"}:
        # singer-sdk's settings; of several alternatives the last is the most specific.
        ways = [*(error.context or ())]
        yield from _faults(max(reversed(ways), key=lambda fault: len(fault.absolute_path)), schema)
    else:
        at_fault = path[:3] if path[0] == "streams" else path[:1]
        where, setting = (f"streams.{path[1]}: ", path[2:]) if at_fault[2:] else ("", path)
        yield at_fault, f"{where}`{'.'.join(setting)}` {_wrong(error)}."


def _wrong(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            return f"must be {_described(wanted)}"
        case "enum":
            return f"must be one of {', '.join(wanted)}"
        case "minimum":
            return f"must be at least {wanted}"
        case "maximum":
            return f"must be at most {wanted}"
        case "minLength" | "minItems":
            return "must not be empty: leave it out, or give it a value"
    return f"does not fit its schema ({error.validator})"


def _described(types: str | Sequence[str]) -> str:
    """Return the type that a value must have; singer-sdk's settings may also be null, and a source may be a list."""
    kinds = [types] if isinstance(types, str) else [kind for kind in types if kind != "null"]
    if len(kinds) > 1:
        return "a string or a list of strings"
    return f"{'an' if kinds[0] in {'integer', 'object', 'array'} else 'a'} {kinds[0]}"


def run_errors(settings: Settings, used: Collection[str]) -> Iterator[str]:
    """Yield the errors of the run's settings; `used` are the object types of the streams."""
    segments = {ObjectType.SEGMENT}.intersection(used)
    # A dry run sends no events, so it needs no key for them; but it reads segments.
    events = set() if settings.dry_run else set(used) - segments
    yield from _key_errors(ApiKeyKind.SERVER_SECRET, settings.server_secret_key, events)
    yield from _key_errors(ApiKeyKind.CONSOLE, settings.console_api_key, segments)
    yield from _address_errors("events_url", settings.events_url, EVENTS_URL)
    yield from _address_errors("console_url", settings.console_url, CONSOLE_URL)
    notify = settings.notify_url
    if notify is not None and not _is_valid(notify):
        yield "`notify_url` must be a complete address, such as https://hooks.example.com/…."
    if settings.dead_letter_path is not None and (problem := file_system_error(settings.dead_letter_path)):
        yield f"`dead_letter_path` cannot be used: {problem}"
    try:
        parse_rate_windows(settings.console_rate_limits)
    except ValueError as error:
        yield f"`console_rate_limits`: {error}."


def _is_valid(url: str) -> bool:
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and parts.hostname is not None and parts.port != 0
    return False


def _address_errors(setting: str, url: str, own: str) -> Iterator[str]:
    """Yield the error of an API's address, if any; at Statsig's host it must have Statsig's path."""
    if not _is_valid(url) or NOT_IN_A_BASE.search(url):
        yield f"`{setting}` must be an address such as {own}, without `?`, `#` and blanks: the target appends to it."
    else:
        given, statsig = urlsplit(url), urlsplit(own)
        if given.netloc == statsig.netloc and given.path.rstrip("/") != statsig.path:
            yield f"`{setting}` must end in {statsig.path} at this host: {own}"


def _key_errors(kind: ApiKeyKind, key: str | None, purposes: Collection[str]) -> Iterator[str]:
    where = f"Find it in the Statsig console under {PLACE}."
    if key is None and purposes:
        streams = " or ".join(f"{purpose}s" for purpose in sorted(purposes))
        text = f"a stream goes to {streams} and needs a {kind.title} ({kind.prefix}…)"
        yield f"`{kind.setting}` is missing: {text}. {where}"
    if key is not None and (other := kind.other_prefix(key)):
        yield (
            f"`{kind.setting}` holds a {TITLES[other]} ({other}…, ends in {key[-SHOWN_CHARACTERS:]}); it must be a "
            f"{kind.title} ({kind.prefix}…). {where}"
        )


def stream_errors(stream: StreamSettings) -> Iterator[str]:
    """Yield the errors of one stream's settings."""
    yield from _destination_errors(stream)
    if stream.object_type is ObjectType.SEGMENT:
        yield from _segment_errors(stream)
        return
    if stream.object_type is ObjectType.METRIC:
        yield from _id_type_errors(stream)
        return
    yield from _attribute_errors(stream)
    if stream.object_type is ObjectType.EVENT:
        dropped = dropped_characters(stream.event_name or "")
        if dropped and stream.invalid_event_name is not InvalidEventName.SANITIZE:
            yield (
                f"`event_name` holds characters for which Statsig silently drops an event ({dropped}). Remove them, or "
                "set `invalid_event_name` to sanitize."
            )
    elif stream.experiment_name is not None and stream.gate_name is not None:
        yield (
            "`experiment_name` and `gate_name` exclude each other. Keep one. (A stream may hold both kinds in columns.)"
        )


def _segment_errors(stream: StreamSettings) -> Iterator[str]:
    if (stream.segment_id is None) is (stream.segment_id_field is None):
        yield "`segment_id` or `segment_id_field`, the column that holds it, must be set, and not both."
    if stream.segment_id is not None and not is_segment_id(stream.segment_id):
        yield (
            "`segment_id` is not a valid segment id. Copy it from the segment's page in the Statsig console. An id "
            f"has at most {MAX_SEGMENT_ID} characters, no control characters, and is neither blank nor `.` nor `..`."
        )
    if stream.sync_mode is None:
        yield f"`sync_mode` is missing. Set it to one of {', '.join(SyncMode)}."
    yield from _id_type_errors(stream)
    if stream.membership_field is not None and stream.sync_mode in {SyncMode.REMOVE, SyncMode.MIRROR}:
        yield "`membership_field` needs `sync_mode: add`. (True adds, false removes.)"


def _destination_errors(stream: StreamSettings) -> Iterator[str]:
    is_segment = stream.object_type is ObjectType.SEGMENT
    known = ("user_id", "anonymous_id") if is_segment else DESTINATIONS[stream.object_type]
    if stream.object_type in {ObjectType.SEGMENT, ObjectType.METRIC} and stream.custom_id_type is not None:
        known = (*known, stream.custom_id_type)
    # A segment does without the other destinations, which the top level may map for other streams.
    ignored = DEFAULT_SOURCES.keys() if is_segment else set()
    for destination in sorted(stream.field_mapping.keys() - {*known} - ignored):
        near = nearest(destination, known)
        hint = f"did you mean `{near}`?" if near else f"choose from {', '.join(known)}."
        yield f"`field_mapping` has no destination `{destination}`: {hint}"


def _attribute_errors(stream: StreamSettings) -> Iterator[str]:
    for name, sources in stream.custom_fields.items():
        for source in [sources] if isinstance(sources, str) else sources:
            if source.partition(".")[0] in PRIVATE_ATTRIBUTES:
                yield (
                    f"`custom_fields.{name}` names private attributes, which are only for evaluation and never sent. "
                    "Remove it."
                )


def _id_type_errors(stream: StreamSettings) -> Iterator[str]:
    custom = stream.id_type is IdType.CUSTOM_ID
    if custom and stream.custom_id_type is None:
        yield "`custom_id_type` is missing. `id_type` is custom_id, so name the Statsig ID type."
    if not custom and stream.custom_id_type is not None:
        yield "`custom_id_type` needs `id_type: custom_id`."


def segment_conflicts(streams: Mapping[str, StreamSettings]) -> list[str]:
    """Return a text for each segment that one stream mirrors and another stream feeds too.

    The mirror would remove what the other stream added. Streams are given by name, or by key of `streams`.
    """
    fed: dict[str, list[str]] = {}
    for name, settings in streams.items():
        if settings.segment_id is not None:
            fed.setdefault(settings.segment_id, []).append(name)
    return [
        f"segment '{segment}' is fed by {', '.join(repr(name) for name in names)}, and one of them mirrors it. A "
        "mirror would remove what the others added. Give each its own `segment_id`, unite them in one stream, or set "
        "`sync_mode` to add or remove."
        for segment, names in fed.items()
        if len(names) > 1 and any(streams[name].sync_mode is SyncMode.MIRROR for name in names)
    ]
