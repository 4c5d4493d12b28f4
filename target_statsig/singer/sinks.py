"""The Singer side of a stream: its schema, and how its records are read.

A sink comes and goes with the schema of its stream. What the stream has gathered lives with the run (`streams`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk.sinks import Sink

from target_statsig._compat import override
from target_statsig.singer.message import is_too_deep
from target_statsig.singer.records import Batch, Reading, RecordReader
from target_statsig.singer.stream_maps import StreamMapError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.mapper import StreamMap
    from singer_sdk.sinks.core import BaseJSONSchemaValidator

    from target_statsig.singer.message import Message
    from target_statsig.target import TargetStatsig


class StatsigSink(Sink):
    """Hands the records of one stream on, with what reads and validates them.

    Attributes:
        stream: What sends them, or gathers the members that they name.
    """

    def __init__(
        self,
        target: TargetStatsig,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Compile the schema, and make the stream if it is new.

        Raises:
            SettingsError: Nothing says what the stream's records become.
            InputError: The schema cannot be used.
        """
        super().__init__(target, stream_name, schema, key_properties)
        self.stream = target.run.streams.get(stream_name)
        self._run = target.run
        self._readings: dict[str, Reading] = {}

    def expect(self, schema: Message) -> None:
        """Take a SCHEMA message of a stream of the tap that feeds this one.

        Raises:
            InputError: The schema cannot be used: nothing of the stream is read.
        """
        tap_stream = schema["stream"]
        if tap_stream in self._readings and self._readings[tap_stream].schema == schema:
            return
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
        self.record_counter_metric.increment(len(batch))
        reading = self._readings[tap_stream]
        self._run.look_at(self.stream_name, batch, reading.reader)
        self.stream.accept(number, batch, reading)

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
        """Return False: the stream sends what is full by itself, and knows bytes as well as rows."""
        return False

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Keep the columns: `_sdc_deleted_at` is how log-based taps say that a row is gone."""

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing: records come in batches (`take`)."""

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: batches are made and sent by the stream."""
