"""The Singer lifecycle of a stream, and which streams the records of the tap's go to; nothing else.

A sink comes and goes with the schema of its stream. What a stream has gathered lives in a lane, which lives with the
run; the sink hands records to it, with what reads and validates them. It is the same for every object type: the lane is
not (`events.item_types`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from singer_sdk.sinks import Sink

from target_statsig._compat import override
from target_statsig.errors import missing_schema
from target_statsig.singer.message import is_too_deep
from target_statsig.singer.reader import unreadable
from target_statsig.singer.records import Batch, Reading, RecordReader, decode_records
from target_statsig.singer.stream_maps import StreamMapError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.mapper import StreamMap
    from singer_sdk.sinks.core import BaseJSONSchemaValidator

    from target_statsig.singer.message import Message
    from target_statsig.target import TargetStatsig


class Lane(Protocol):
    """One stream's way to Statsig."""

    def accept(self, number: int, batch: Batch, reading: Reading) -> None:
        """Take RECORD messages.

        Args:
            number: The number of the first line, in the input.
            batch: The messages.
            reading: What reads their records.
        """


class StatsigSink(Sink):
    """Hands the records of one stream to its lane.

    Attributes:
        lane: The stream's lane.
    """

    def __init__(
        self,
        target: TargetStatsig,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Compile the stream's schema and find its lane.

        Raises:
            SettingsError: Nothing says what the stream's records become.
            InputError: The schema cannot be used.
        """
        super().__init__(target, stream_name, schema, key_properties)
        self._schemas = target.schemas
        self.lane: Lane = target.run.streams.get(stream_name)
        self._readings: dict[str, Reading] = {}

    def expect(self, schema: Message) -> None:
        """See a SCHEMA message of a stream of the tap that feeds this one.

        Raises:
            InputError: The schema cannot be used: nothing of the stream is read.
        """
        tap_stream = schema["stream"]
        reader = RecordReader(
            tap_stream, self.stream_name, self.schema, self._key_properties, validates=self.validate_schema
        )
        _ = reader.is_sound
        self._readings[tap_stream] = Reading(reader, schema)

    def take(self, tap_stream: str, number: int, batch: Batch) -> None:
        """Take RECORD messages of one of these streams.

        Args:
            tap_stream: The tap's name for the stream.
            number: The number of the first line, in the input.
            batch: The messages.
        """
        if tap_stream not in self._readings:
            # Another stream of the tap that feeds this one has another schema, and with that came a new sink.
            self.expect(self._schemas[tap_stream])
        self.record_counter_metric.increment(len(batch))
        self.lane.accept(number, batch, self._readings[tap_stream])

    def take_mapped(self, stream_map: StreamMap, tap_stream: str, number: int, batch: Batch) -> None:
        """Take what a stream map makes of RECORD messages that are decoded.

        Raises:
            InputError: The map cannot be evaluated for one of them.
        """
        rows, mapped = [], []
        may_be_deep, adds_metadata = batch.may_be_deep, self.include_sdc_metadata_properties
        for row, message in enumerate(batch.messages or ()):
            record = message["record"]
            # One that no map can take: too deep a one; or without members, which singer-sdk would drop unseen.
            if record and not (may_be_deep and is_too_deep(record)):
                try:
                    record = stream_map.transform(dict(record))
                except StreamMapError as error:
                    raise error.at(number + row) from None
            if record is not None:
                if adds_metadata and type(record) is dict:
                    self._add_sdc_metadata_to_record(record, message, self._get_context(record))
                rows.append(row)
                mapped.append(record)
        if rows:
            kept = batch.take(rows)
            self.take(tap_stream, number, Batch(kept.lines, kept.messages, mapped))

    @property
    def passes_lines(self) -> bool:
        """Whether its records come as the tap sent them, where no stream map changes them."""
        return not self.include_sdc_metadata_properties

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None

    @property
    @override
    def is_full(self) -> bool:
        """Return False: a lane sends what is full by itself, and knows bytes as well as rows."""
        return False

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Keep the columns: `_sdc_deleted_at` is how log-based taps say that a row is gone."""

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing: records come in batches (`take`)."""

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: batches are made and sent by the lane."""


def hand_over(target: TargetStatsig, tap_stream: str, number: int, batch: Batch) -> None:
    """Hand RECORD messages of a stream of the tap to the sinks that it feeds.

    Args:
        target: The target.
        tap_stream: The tap's name for the stream.
        number: The number of the first line, in the input.
        batch: The messages.

    Raises:
        InputError: They come before the SCHEMA of their stream.
        InputError: One is no RECORD message after all.
    """
    stream_maps = target.mapper.stream_maps.get(tap_stream)
    if stream_maps is None:
        raise missing_schema(str(unreadable(number, f"is a RECORD of '{tap_stream}' before its SCHEMA")))
    if len(stream_maps) == 1 and type(stream_maps[0]) is SameRecordTransform and not stream_maps[0].flattening_enabled:
        sink = cast("StatsigSink", target.get_sink(tap_stream))
        if sink.passes_lines:
            if tap_stream in target.run.streams.events:
                target.run.sources.count(tap_stream, len(batch))
            sink.take(tap_stream, number, batch)
            return
    messages, fault = decode_records(tap_stream, batch)
    target.run.sources.records(tap_stream, messages)
    decoded = Batch(batch.lines[: len(messages)], messages)
    for stream_map in stream_maps:
        if not isinstance(stream_map, RemoveRecordTransform):
            sink = cast("StatsigSink", target.get_sink(stream_map.stream_alias))
            sink.take_mapped(stream_map, tap_stream, number, decoded)
    if fault is not None:
        raise unreadable(number + len(messages), fault)
