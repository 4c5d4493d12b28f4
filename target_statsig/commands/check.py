"""`--check`: whether a run can work, as a table. Its calls only read, and it creates no store."""

from __future__ import annotations

import enum
import os
import textwrap
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from target_statsig.client.console import ConsoleClient, Segment
from target_statsig.client.http import HttpTransport
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.client.sender import Sender
from target_statsig.commands.replay import waiting_letters
from target_statsig.config import paths
from target_statsig.config.checks import nearest
from target_statsig.config.choices import ApiKeyKind, ObjectType, SyncMode, Tier
from target_statsig.config.load import replay_command
from target_statsig.config.settings import parse_rate_windows
from target_statsig.errors import FatalRunError, RequestError, SettingsError, StoreError, TargetStatsigError
from target_statsig.reports.text import counted, visible
from target_statsig.segments.segment import (
    STATSIG_ID_TYPES,
    misfit,
    missing,
    other_feeder,
    size_class,
    statsig_id_type,
)
from target_statsig.store.readonly import StoreStatus, read_store_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.client.http import Transport
    from target_statsig.clock import Clock
    from target_statsig.commands.replay import WaitingLetters
    from target_statsig.commands.run import Run
    from target_statsig.config.parse import Config
    from target_statsig.config.settings import Settings, StreamSettings

PATIENCE = 15
"""Seconds after which a call counts as failed: a user who checks does not wait for `retry_timeout`."""

EVERY_STREAM = "*"
"""Stands for all streams that no entry of `streams` matches."""

BUILT_IN = frozenset(STATSIG_ID_TYPES.values())
"""ID types that every project has, whether or not they are listed."""


WIDTH, MARK_WIDTH, NAME_WIDTH = 80, 4, 20
"""Characters of a line and its columns. A longer name gets its own line."""


class Mark(enum.Enum):
    """The result of a check."""

    OK = "ok"
    UNKNOWN = "?"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Row:
    """One check: its subject, what was found, and what to do."""

    mark: Mark
    name: str
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What the checks found.

    Attributes:
        console: Why the Console API could not be read; None if it was read or not asked.
        id_types: The project's ID types; None if unknown.
        segments: Each segment as Statsig has it, or why it could not be read.
        store: The state of the store, or why it cannot be used.
        now: Time of the check, in seconds since 1970.
    """

    console: str | None
    id_types: Sequence[str] | None
    segments: Mapping[str, Segment | RequestError]
    store: StoreStatus | str
    letters: WaitingLetters
    now: float


def sections(settings: Settings, streams: Mapping[str, StreamSettings], found: Found) -> dict[str, list[Row]]:
    """Return the rows by the title of their section; `streams` are by their key in the setting of that name."""
    made = {
        "Keys": [*_key_rows(settings, streams, found)],
        "Segments": [*_segment_rows(streams, found)],
        "ID types": [*_id_type_rows(streams, found.id_types)],
        "Environments": [*_tier_rows(streams)],
        "Store": [_store_row(found.store)],
        "Dead letters": [_letters_row(found.letters)],
    }
    return {title: rows for title, rows in made.items() if rows}


def _key_rows(settings: Settings, streams: Mapping[str, StreamSettings], found: Found) -> Iterator[Row]:
    if key := settings.server_secret_key:
        kind = ApiKeyKind.SERVER_SECRET
        text = f"{kind.describe(key)} Only a run can test it, because every such request sends something."
        yield Row(Mark.UNKNOWN, kind.setting, text, "" if key.startswith(kind.prefix) else kind.wanted)
    if key := settings.console_api_key:
        kind = ApiKeyKind.CONSOLE
        text = f"accepted by Statsig, ends in …{key[-4:]}"
        if not any(stream.object_type is ObjectType.SEGMENT for stream in streams.values()):
            text += "; only checks use it, because no stream goes to a segment"
        yield Row(Mark.FAIL if found.console else Mark.OK, kind.setting, found.console or text)


def _segment_rows(streams: Mapping[str, StreamSettings], found: Found) -> Iterator[Row]:
    fed: dict[tuple[str, str], list[str]] = {}
    for name, settings in streams.items():
        if settings.segment_id is not None:
            fed.setdefault((settings.segment_id, statsig_id_type(settings)), []).append(name)
    for (segment_id, _), names in fed.items():
        feeders = ", ".join(f"{_stream(name)} ({streams[name].sync_mode})" for name in names)
        yield _segment_row(segment_id, names[0], streams[names[0]], f"Fed by {feeders}.", found)
    for name, settings in streams.items():
        if settings.segment_id_field is not None:
            text = (
                f"{_stream(name)} ({settings.sync_mode}) names its segments in this column, so they are known only "
                "when its records come."
            )
            yield Row(Mark.UNKNOWN, f"({settings.segment_id_field})", text)


def _segment_row(segment_id: str, stream: str, settings: StreamSettings, feeders: str, found: Found) -> Row:
    segment = found.segments.get(segment_id)
    known = {} if isinstance(found.store, str) else found.store.segments
    if segment is None:
        text = "not checked, because the Console API cannot be read (see above)"
        return Row(Mark.UNKNOWN, segment_id, f"{text}. {feeders}")
    if isinstance(segment, Segment):
        unfit = misfit(segment, settings)
        if unfit is None and segment_id in known and settings.sync_mode is SyncMode.MIRROR:
            unfit = other_feeder(known[segment_id], stream, found.now)
        if unfit is None:
            text = f"{segment.type} of {segment.id_type}, {counted(segment.count, 'member')}"
            return Row(Mark.OK, segment_id, f"{text} ({size_class(segment.count)}). {feeders}")
    elif segment.status != HTTPStatus.NOT_FOUND:
        return Row(Mark.FAIL, segment_id, f"{segment} {feeders}")
    elif settings.create_segment:
        text = f"does not exist yet. The first run creates it as an ID list of {statsig_id_type(settings)}"
        return Row(Mark.OK, segment_id, f"{text}. {feeders}")
    else:
        unfit = missing(settings, segment.message)
    return Row(Mark.FAIL, segment_id, f"{unfit.what}. {feeders}", unfit.remedy)


def _stream(name: str) -> str:
    return "every other stream" if name == EVERY_STREAM else f"stream '{name}'"


def _id_type_rows(streams: Mapping[str, StreamSettings], known: Sequence[str] | None) -> Iterator[Row]:
    named: dict[str, list[str]] = {}
    for name, settings in streams.items():
        for id_type in settings.custom_ids:
            named.setdefault(id_type, []).append(f"`custom_ids` of {_stream(name)}")
        if settings.custom_id_type is not None:
            named.setdefault(settings.custom_id_type, []).append(f"`custom_id_type` of {_stream(name)}")
    for id_type, places in named.items():
        where = f"Named in {', '.join(places)}."
        if id_type in BUILT_IN or (known is not None and id_type in known):
            yield Row(Mark.OK, id_type, f"exists in the project. {where}")
        elif known is None:
            text = "cannot be checked without a valid `console_api_key`; case matters"
            yield Row(Mark.UNKNOWN, id_type, f"{text}. {where}")
        else:
            hint = "Create it in the Statsig console, or use one of these."
            if near := nearest(id_type, [*known, *BUILT_IN.difference(known)]):
                hint = f"Did you mean `{near}`? Case matters."
            text = f"is not an ID type of the project, which has {', '.join(known)}. {where}"
            yield Row(Mark.FAIL, id_type, text, hint)


def _tier_rows(streams: Mapping[str, StreamSettings]) -> Iterator[Row]:
    for name, settings in streams.items():
        tier = settings.environment_tier
        if tier is not None and tier not in [*Tier]:
            text = f"is not one of {', '.join(Tier)}, so the project must have an environment of this name"
            yield Row(Mark.UNKNOWN, tier, f"{text}. Named in `environment_tier` of {_stream(name)}.")


def _store_row(store: StoreStatus | str) -> Row:
    if isinstance(store, str):
        return Row(Mark.FAIL, "store_url", store)
    text = f"{store.place}: " + ("does not exist yet" if store.version is None else f"version {store.version}")
    if not store.writable:
        remedy = "Let this user write there, or set `store_url` to a place that it can write to."
        return Row(Mark.FAIL, "store_url", f"{text}, and cannot be written", remedy)
    text += ". The first run that needs it creates it" if store.version is None else ", writable"
    return Row(Mark.OK, "store_url", text)


def _letters_row(letters: WaitingLetters) -> Row:
    name, place = "dead_letter_path", letters.directory
    if letters.unreadable is not None or letters.writable is False:
        cannot = "be written" if letters.unreadable is None else f"be read ({letters.unreadable})"
        remedy = "Let this user read and write there, or set `dead_letter_path` to a place that it may write."
        return Row(Mark.FAIL, name, f"{place}: cannot {cannot}", remedy)
    access = "writable" if letters.writable else "whether it is writable shows at the first dead letter"
    if not letters.reasons:
        return Row(Mark.OK, name, f"{place}: {access}; none is waiting")
    waiting = ", ".join(f"{reason} {count:,}" for reason, count in letters.reasons.most_common())
    remedy = f"Once the cause is fixed, send them again: {replay_command(os.environ)}"
    text = f"{place}: {access}; {counted(letters.reasons.total(), 'record')} waiting ({waiting})"
    return Row(Mark.UNKNOWN, name, text, remedy)


def table_row(run: Run, url: str) -> Row:
    """Return the row about a table of prepared requests."""
    from target_statsig.engine.files import NO_ROWS, open_table
    from target_statsig.engine.send import check_table

    try:
        table = open_table(url)
        if table is None:
            return Row(Mark.OK, "--send", NO_ROWS)
        check_table(run, table)
    except TargetStatsigError as error:
        return Row(Mark.FAIL, "--send", str(error))
    found = (
        f"{counted(table.records, 'record')} of stream '{table.stream}' in {counted(table.requests, 'request')}, "
        f"{table.rejections.total():,} rejected during preparation."
    )
    return Row(Mark.OK, "--send", found)


def check(config: Config, clock: Clock) -> dict[str, list[Row]]:
    """Check everything that a run with this configuration needs; `clock` waits between tries."""
    settings, streams = config.settings, _streams_of(config)
    failure: str | None = None
    id_types: list[str] | None = None
    segments: dict[str, Segment | RequestError] = {}
    ids = dict.fromkeys(stream.segment_id for stream in streams.values() if stream.segment_id is not None)
    store: StoreStatus | str
    if settings.console_api_key:
        try:
            with closing(HttpTransport()) as transport:
                console = open_console(settings, transport, clock)
                id_types = console.unit_id_types()
                for segment_id in ids:
                    try:
                        segments[segment_id] = console.segment(segment_id)
                    except RequestError as error:
                        segments[segment_id] = error
        except (FatalRunError, RequestError) as error:
            failure, id_types = f"{error.heading.value}: {error}", None
    try:
        store = read_store_status(paths.store_url(settings), project=paths.project_identity(settings))
    except StoreError as error:
        store = str(error)
    found = Found(failure, id_types, segments, store, waiting_letters(settings), clock.time())
    return sections(settings, streams, found)


def _streams_of(config: Config) -> dict[str, StreamSettings]:
    """Return the settings of each entry of `streams`, and under `*` those of other streams, if any."""
    streams = {name: config.for_stream(name) for name in config.entries}
    if "object_type" in config.defaults and EVERY_STREAM not in streams:
        with suppress(SettingsError):  # the top level alone may not be enough for a stream
            streams[EVERY_STREAM] = config.for_stream(EVERY_STREAM)
    return streams


def open_console(settings: Settings, transport: Transport, clock: Clock, patience: int = PATIENCE) -> ConsoleClient:
    """Return a client of the Console API whose calls count as failed after `patience` seconds."""
    sender = Sender(transport, clock, retry_timeout=min(settings.retry_timeout, patience))
    limiter = RateLimiter(parse_rate_windows(settings.console_rate_limits), clock)
    within = replace(settings, request_timeout=min(settings.request_timeout, patience))
    return ConsoleClient(sender, within, limiter, clock)


def failed(sections: Mapping[str, Sequence[Row]]) -> int:
    """Return how many rows failed."""
    return sum(row.mark is Mark.FAIL for rows in sections.values() for row in rows)


def render(sections: Mapping[str, Sequence[Row]]) -> str:
    """Return the table, with a summary as its last line."""
    lines: list[str] = []
    for title, rows in sections.items():
        lines += [title, *(line for row in rows for line in _row_lines(row)), ""]
    checks = sum(map(len, sections.values()))
    lines.append(f"{failed(sections) or 'None'} of {checks} checks failed. Nothing was sent or changed.")
    return "\n".join(lines) + "\n"


def _row_lines(row: Row) -> Iterator[str]:
    title = f"  {row.mark.value:{MARK_WIDTH}}  {visible(row.name):{NAME_WIDTH}}  "
    margin = " " * (2 + MARK_WIDTH + 2 + NAME_WIDTH + 2)
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)
    if len(title) > len(margin):
        yield title.rstrip()
        title = margin
    for text in [row.found, f"→ {row.remedy}"] if row.remedy else [row.found]:
        yield from wrapper.wrap(title + visible(text))
        title = margin
