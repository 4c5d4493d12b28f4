"""The Singer side of a stream: its schema, and how its records are read.

singer-sdk replaces a sink when the schema changes. So what a stream has gathered is kept by the run (`streams`).
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
    """Passes the records of one stream on, together with the reader that decodes and validates them.

    Attributes:
        stream: The stream that sends the records, or gathers members from them.
    """

    def __init__(
        self,
        target: TargetStatsig,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Create the sink, and the stream if it is new.

        Raises:
            SettingsError: The stream has no `object_type`.
            InputError: The schema cannot be used.
        """
        super().__init__(target, stream_name, schema, key_properties)
        self.stream = target.run.streams.get(stream_name)
        self._run = target.run
        self._readings: dict[str, Reading] = {}

    def take_schema(self, schema: Message) -> None:
        """Take a SCHEMA message of a tap's stream that feeds this one.

        Raises:
            InputError: The schema cannot be used.
        """
        tap_stream = schema["stream"]
        if tap_stream in self._readings and self._readings[tap_stream].schema == schema:
            return
        reader = RecordReader(
            tap_stream, self.stream_name, self.schema, self._key_properties, validates=self.validate_schema
        )
        _ = reader.is_sound  # compiles the schema now, so that a bad one fails here
        self._readings[tap_stream] = Reading(reader, schema)

    def take(self, tap_stream: str, number: int, batch: Batch) -> None:
        """Take RECORD messages of a tap's stream that feeds this one.

        Args:
            tap_stream: The stream's name in the tap.
            number: The line number of the first message.
            batch: The messages.
        """
        self.record_counter_metric.increment(len(batch))
        reading = self._readings[tap_stream]
        self._run.look_at(self.stream_name, batch, reading.reader)
        self.stream.accept(number, batch, reading)

    def take_mapped(self, stream_map: StreamMap, tap_stream: str, number: int, batch: Batch) -> None:
        """Apply a stream map to decoded RECORD messages, and take the results.

        Raises:
            InputError: The map cannot be evaluated for a record.
        """
        rows, mapped = [], []
        may_be_deep = batch.may_be_deep
        for row, message in enumerate(batch.messages or ()):
            record = message["record"]
            # Records that nest too deeply are not mapped. Nor are empty ones, which singer-sdk would drop silently.
            if record and not (may_be_deep and is_too_deep(record)):
                try:
                    record = stream_map.transform(dict(record))
                except StreamMapError as error:
                    raise error.at(number + row) from None
            if record is not None:
                if self.include_sdc_metadata_properties and type(record) is dict:
                    self._add_sdc_metadata_to_record(record, message, self._get_context(record))
                rows.append(row)
                mapped.append(record)
        if rows:
            kept = batch.take(rows)
            self.take(tap_stream, number, Batch(kept.lines, kept.messages, mapped))

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None

    @property
    @override
    def is_full(self) -> bool:
        """Return False: the stream itself sends a full batch."""
        return False

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Do nothing: log-based taps mark deleted rows by the column `_sdc_deleted_at`."""

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing: records come in batches, by `take`."""

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: the stream sends its batches."""
