"""The first record of each stream as it would be sent, with where its fields come from: for a terminal only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.config.choices import DeletedRows, ObjectType
from target_statsig.config.sources import DESTINATIONS
from target_statsig.events.item_types import ITEM_TYPES
from target_statsig.events.mapper import MappingWarnings
from target_statsig.events.tracking import read_objects
from target_statsig.segments.members import MemberMapper
from target_statsig.singer.fields import deleted_rows, id_destination, listed, places, reads_messages, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_statsig.config.parse import Config
    from target_statsig.config.settings import StreamSettings
    from target_statsig.singer.columns import Columns
    from target_statsig.singer.fields import Faults
    from target_statsig.singer.records import Batch, RecordReader

LOOKED_AT = 100
"""Records of a batch among which one is looked for that would be sent."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class FirstRecords:
    """Keeps what it shows of each stream until the end of the run."""

    def __init__(self, config: Config) -> None:
        """Begin without records."""
        self._config = config
        self._lines: dict[str, list[str]] = {}

    @property
    def lines(self) -> Iterator[str]:
        """The lines to show, stream by stream."""
        for stream, lines in self._lines.items():
            yield f"The first record of stream '{stream}' would be sent so:"
            yield from (f"  {line}" for line in lines)

    def look_at(self, stream: str, batch: Batch, reader: RecordReader, now_ms: int) -> None:
        """Look for the first record of a stream that would be sent, unless there is one already.

        Args:
            stream: The stream's name, after the stream maps.
            batch: The messages.
            reader: Reads their records.
            now_ms: The present, unix milliseconds.
        """
        if stream in self._lines:
            return
        settings = self._config.for_stream(stream)
        columns = reader.read(batch.part(0, min(len(batch), LOOKED_AT))).columns
        gone = {*deleted_rows(columns)} if settings.deleted_rows is DeletedRows.SKIP else set()
        for row in range(len(columns)):
            record = columns.take([row])
            is_segment = settings.object_type is ObjectType.SEGMENT
            if row not in gone or is_segment:
                shown = _change(record, settings) if is_segment else _item(record, settings, now_ms)
                if shown:
                    self._lines[stream] = [*shown, *_read_from(record, settings)]
                    return


def _item(record: Columns, settings: StreamSettings, now_ms: int) -> list[str]:
    faults: Faults = {}
    items = ITEM_TYPES[settings.object_type].mapper(settings)(record, now_ms, MappingWarnings(), faults)
    try:
        text = msgspec.json.format(_ENCODER.encode(items.items[0]), indent=2).decode()
    except (TypeError, ValueError, RecursionError, ArithmeticError):
        return []
    return [] if faults else text.splitlines()


def _change(record: Columns, settings: StreamSettings) -> list[str]:
    """Return who joins which segment, or leaves it."""
    changes = MemberMapper(settings).changes(record, {})
    return [
        f"{'add' if joins else 'remove'} {member} ({segment})"
        for segment, members in changes.items()
        for member, joins in members.items()
    ]


def _read_from(record: Columns, settings: StreamSettings) -> Iterator[str]:
    """Yield which column feeds each destination in a record."""
    if reads_messages(settings):
        record = read_objects(record)
    for destination, sources in _destinations(settings):
        for place in places(sources, record.names):
            if record.at(place)[0] is not None:
                yield f"{destination} \N{LEFTWARDS ARROW} {'.'.join((place.column, *place.path))}"
                break


def _destinations(settings: StreamSettings) -> Iterator[tuple[str, tuple[str, ...]]]:
    mapping, is_message = settings.field_mapping, reads_messages(settings)
    kind = settings.object_type
    for destination in (id_destination(settings),) if kind is ObjectType.SEGMENT else DESTINATIONS[kind]:
        # Of these a setting of the same name holds for every record.
        if getattr(settings, destination, None) is None:
            yield destination, sources_of(destination, mapping, of_messages=is_message)
    if kind in {ObjectType.EVENT, ObjectType.EXPOSURE}:
        named: dict[str, Any] = {**settings.custom_ids, **settings.custom_fields}
        yield from ((name, listed(sources)) for name, sources in named.items())
        yield "environment_tier", listed(settings.environment_tier_field or ())
