"""What was found out, as rows of a table: whether it is well, what was found, and the remedy where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from target_statsig.client.keys import ApiKeyKind
from target_statsig.commands.check.row import Mark, Row, Section
from target_statsig.config.checks import nearest
from target_statsig.config.settings import ObjectType, SyncMode
from target_statsig.errors import Heading
from target_statsig.reports.text import counted
from target_statsig.segments.feeders import SEPARATE_FEEDERS, other_feeder
from target_statsig.segments.fit import STATSIG_ID_TYPES, Misfit, misfit, missing, statsig_id_type
from target_statsig.segments.sizes import size_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.client.console import Segment
    from target_statsig.config.settings import Settings, StreamSettings
    from target_statsig.store.readonly import StoreLook
    from target_statsig.store.values import SegmentFacts

EVERY_STREAM = "*"
"""The name of the streams that no entry of `streams` names."""

UNASKED = "not looked at, since the Console API cannot be read (see above)"

BUILT_IN = frozenset(STATSIG_ID_TYPES.values())
"""ID types that every project has, whether or not they are listed."""


@dataclass(frozen=True, slots=True)
class Found:
    """What Statsig and the store said.

    Attributes:
        console: Why the Console API could not be read; None where it was read, or nobody asked it.
        id_types: The project's ID types; None where they are not known.
        segments: What became of reading each segment: the segment, Statsig's words where there is none, or an error.
        store: What a look at the store showed, or why it cannot be used.
        now: When that was, in seconds since 1970.
    """

    console: str | None
    id_types: Sequence[str] | None
    segments: Mapping[str, Segment | NotFound | str]
    store: StoreLook | str
    now: float

    @property
    def remembered(self) -> Mapping[str, SegmentFacts]:
        """What the store remembers of segments."""
        return {} if isinstance(self.store, str) else self.store.segments


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such segment; `words` are Statsig's own."""

    words: str


def sections(settings: Settings, streams: Mapping[str, StreamSettings], found: Found) -> list[Section]:
    """Return all rows that there is something to say in.

    Args:
        settings: The run's settings.
        streams: The streams' settings by their key in `streams`.
        found: What was found out.
    """
    made = [
        Section("Keys", list(key_rows(settings, streams, found))),
        Section("Segments", list(segment_rows(streams, found))),
        Section("ID types", list(id_type_rows(streams, found))),
        Section("Store", [store_row(found.store)]),
    ]
    return [section for section in made if section.rows]


def key_rows(settings: Settings, streams: Mapping[str, StreamSettings], found: Found) -> Iterator[Row]:
    """Yield a row for each key that is set."""
    types = {stream.object_type for stream in streams.values()}
    if settings.server_secret_key:
        kind, key = ApiKeyKind.SERVER_SECRET, settings.server_secret_key
        if key.startswith(kind.prefix):
            yield Row(
                Mark.UNTOLD,
                kind.setting,
                f"a Server Secret Key by its form, ends in …{key[-4:]}. Whether Statsig accepts it cannot be tested "
                f"without sending something: the first request of a run tells.",
            )
        else:
            yield Row(Mark.UNTOLD, kind.setting, kind.describe(key), kind.wanted)
    if settings.console_api_key:
        kind, key = ApiKeyKind.CONSOLE, settings.console_api_key
        if found.console is not None:
            yield Row(Mark.FAIL, kind.setting, found.console)
        else:
            unneeded = "" if ObjectType.SEGMENT in types else "; no stream goes to a segment, so only checks use it"
            yield Row(Mark.OK, kind.setting, f"accepted by Statsig, ends in …{key[-4:]}{unneeded}")


def segment_rows(streams: Mapping[str, StreamSettings], found: Found) -> Iterator[Row]:
    """Yield a row for each segment that is configured, and for each stream whose records name theirs."""
    fed: dict[tuple[str, str], list[str]] = {}
    for name, settings in streams.items():
        if settings.segment_id is not None:
            fed.setdefault((settings.segment_id, statsig_id_type(settings)), []).append(name)
    for (segment_id, _), names in fed.items():
        feeders = ", ".join(f"{_stream(name)} ({streams[name].sync_mode})" for name in names)
        yield _segment_row(segment_id, names[0], streams[names[0]], f"Fed by {feeders}.", found)
    for name, settings in streams.items():
        if settings.segment_id_field is not None:
            before = sorted(
                segment for segment, facts in found.remembered.items() if fnmatchcase(facts.fed_by or "", name)
            )
            known = f" It fed {len(before):,} before: {_few(before)}." if before else ""
            yield Row(
                Mark.UNTOLD,
                f"({settings.segment_id_field})",
                f"{_stream(name)} ({settings.sync_mode}) names its segments in this column: they are known when its "
                f"records come.{known}",
            )


def _segment_row(segment_id: str, stream: str, settings: StreamSettings, feeders: str, found: Found) -> Row:
    segment = found.segments.get(segment_id, UNASKED)
    if isinstance(segment, str):
        mark = Mark.UNTOLD if segment == UNASKED else Mark.FAIL
        return Row(mark, segment_id, f"{segment}. {feeders}")
    if not isinstance(segment, NotFound):
        unfit = misfit(segment, settings) or _shared(segment_id, stream, settings, found)
        if unfit is None:
            return Row(Mark.OK, segment_id, f"{_described(segment)}. {feeders}{_last_sync(found, segment_id)}")
    elif settings.create_segment:
        text = f"does not exist yet: the first run creates it, an ID list of {statsig_id_type(settings)}"
        return Row(Mark.OK, segment_id, f"{text}. {feeders}")
    else:
        unfit = missing(settings, segment.words)
    return Row(Mark.FAIL, segment_id, f"{unfit.what}. {feeders}", unfit.remedy)


def _shared(segment_id: str, stream: str, settings: StreamSettings, found: Found) -> Misfit | None:
    facts = found.remembered.get(segment_id)
    if facts is None or settings.sync_mode is not SyncMode.MIRROR:
        return None
    other = other_feeder(facts, stream, found.now)
    return None if other is None else Misfit(Heading.SHARED_SEGMENT, other, SEPARATE_FEEDERS)


def _described(segment: Segment) -> str:
    members = counted(segment.count, "member")
    return f"{segment.type} of {segment.id_type}, {members} ({size_class(segment.count)})"


def _stream(name: str) -> str:
    return "every other stream" if name == EVERY_STREAM else f"stream '{name}'"


def _last_sync(found: Found, segment_id: str) -> str:
    facts = found.remembered.get(segment_id)
    if facts is None or facts.last_sync_at is None:
        return ""
    when = datetime.fromtimestamp(facts.last_sync_at, tz=UTC)
    changes = f"{facts.last_added or 0:,} added, {facts.last_removed or 0:,} removed"
    return f" Last synced {when:%Y-%m-%d %H:%M} UTC from stream '{facts.fed_by}' ({facts.last_status}: {changes})."


def id_type_rows(streams: Mapping[str, StreamSettings], found: Found) -> Iterator[Row]:
    """Yield a row for each ID type that the settings name."""
    named: dict[str, list[str]] = {}
    for name, settings in streams.items():
        for id_type in settings.custom_ids:
            named.setdefault(id_type, []).append(f"`custom_ids` of {_stream(name)}")
        if settings.custom_id_type is not None:
            named.setdefault(settings.custom_id_type, []).append(f"`custom_id_type` of {_stream(name)}")
    for id_type, places in named.items():
        yield _id_type_row(id_type, f"Named in {_few(places)}.", found.id_types)


def _id_type_row(id_type: str, places: str, known: Sequence[str] | None) -> Row:
    if id_type in BUILT_IN or (known is not None and id_type in known):
        return Row(Mark.OK, id_type, f"is an ID type of the project. {places}")
    if known is None:
        text = "cannot be told without an accepted `console_api_key`; case matters"
        return Row(Mark.UNTOLD, id_type, f"{text}. {places}")
    near = nearest(id_type, [*known, *BUILT_IN.difference(known)])
    if near is not None:
        hint = f"Did you mean `{near}`?" + (" Case matters." if near.lower() == id_type.lower() else "")
    else:
        hint = "Create it in the Statsig console, or name one that is there."
    return Row(Mark.FAIL, id_type, f"is no ID type of the project, which has {_few(known)}. {places}", hint)


def store_row(store: StoreLook | str) -> Row:
    """Return the store's row."""
    if isinstance(store, str):
        return Row(Mark.FAIL, "store_url", store)
    if store.version is None:
        if store.writable:
            return Row(Mark.OK, "store_url", f"{store.place}: not there yet, the first run that needs it creates it")
        remedy = "Let this user write there, or set `store_url` to a place that it may write."
        return Row(Mark.FAIL, "store_url", f"{store.place}: not there yet, and cannot be created there", remedy)
    version = f"{store.place}: version {store.version}"
    if store.version > store.newest:
        remedy = "Upgrade target-statsig, or point `store_url` at another store."
        return Row(Mark.FAIL, "store_url", f"{version}, of a newer target-statsig (this one: {store.newest})", remedy)
    if not store.writable:
        return Row(Mark.FAIL, "store_url", f"{version}, cannot be written", "Let this user write it.")
    if store.version < store.newest:
        version += f", which the next run brings to {store.newest}"
    busy = ", in use by another run" if store.busy else ""
    return Row(Mark.OK, "store_url", f"{version}, writable{busy}")


def _few(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
