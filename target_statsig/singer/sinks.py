"""What singer-sdk does for a stream: its sink, and stream maps.

singer-sdk replaces a sink when the schema changes. So what a stream has gathered is kept by the run (`streams`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MapExpressionError, StreamMapConfigError
from singer_sdk.mapper import CustomStreamMap, PluginMapper
from singer_sdk.sinks import Sink
from typing_extensions import override

from target_statsig.errors import NO_STATE_PASSES, Heading, InputError, SettingsError
from target_statsig.singer.message import is_too_deep
from target_statsig.singer.records import Batch, Reading, RecordReader

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence

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
        """Take RECORD messages of a tap's stream that feeds this one; the first is on line `number`."""
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
        may_be_deep, adds_metadata = batch.may_be_deep, self.include_sdc_metadata_properties
        for row, message in enumerate(batch.messages or ()):
            record = message["record"]
            # Records that nest too deeply are not mapped. Nor are empty ones, which singer-sdk would drop silently.
            if record and not (may_be_deep and is_too_deep(record)):
                try:
                    record = stream_map.transform(dict(record))
                except (MapExpressionError, StreamMapConfigError) as error:
                    what = f"A stream map of stream '{tap_stream}' failed for the record in line {number + row}"
                    msg = f"{what}: {_message_of(error)} {NO_STATE_PASSES} {REMEDY}"
                    # `from None`, because the evaluator's error may quote the record.
                    raise InputError(msg, heading=Heading.SETTINGS) from None
            if record is not None:
                if adds_metadata and type(record) is dict:
                    self._add_sdc_metadata_to_record(record, message, self._get_context(record))
                rows.append(row)
                mapped.append(record)
        if rows:
            kept = batch.take(rows)
            self.take(tap_stream, number, Batch(kept.lines, kept.messages, mapped))

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Do nothing: log-based taps mark deleted rows by the column `_sdc_deleted_at`."""

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing: records come in batches, by `take`."""

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: the stream sends its batches."""


REMEDY = "Correct `stream_maps`: https://sdk.meltano.com/en/latest/stream_maps.html"

_ABOUT_THE_SETTING = (MapExpressionError, StreamMapConfigError, NotImplementedError)
"""Errors that singer-sdk raises on purpose. Any other error comes from a setting that it did not expect."""


class StreamMaps(PluginMapper):
    """The stream maps of a run."""

    def __init__(self, config: Mapping[str, Any], logger: logging.Logger) -> None:
        """Read the maps from the configuration.

        Raises:
            SettingsError: They cannot be used for any stream.
        """
        present = {name: value for name, value in config.items() if value is not None}
        try:
            super().__init__(present, logger)
        except Exception as error:  # noqa: BLE001 -- anything may stand in a setting
            raise SettingsError([f"{_message_of(error)} {REMEDY}"]) from None

    @override
    def register_raw_stream_schema(
        self, stream_name: str, schema: dict[str, Any], key_properties: Sequence[str] | None
    ) -> None:
        """Create the maps of a stream.

        Raises:
            SettingsError: One of them cannot be used.
        """
        try:
            super().register_raw_stream_schema(stream_name, schema, key_properties)
        except Exception as error:
            if not self.stream_maps_dict:
                raise
            raise SettingsError([f"stream '{stream_name}': {_message_of(error)} {REMEDY}"]) from None
        for stream_map in self.stream_maps[stream_name]:
            if isinstance(stream_map, CustomStreamMap):
                # Only this method is given the expression.
                stream_map._eval = partial(_evaluate, stream_map._eval)  # type: ignore[method-assign]  # noqa: SLF001


def _message_of(error: Exception) -> str:
    """Return singer-sdk's message about a map as a sentence. It names the setting, and no value of a record."""
    text = (
        str(error) if isinstance(error, _ABOUT_THE_SETTING) else f"singer-sdk cannot read it ({type(error).__name__})"
    )
    return text if text.endswith(".") else f"{text}."


def _evaluate(evaluate: Callable[..., Any], expr: str, **arguments: Any) -> Any:
    try:
        return evaluate(expr=expr, **arguments)
    except MapExpressionError:
        raise
    except Exception as error:  # noqa: BLE001 -- an expression may fail in any way
        # singer-sdk's own text for an error in the evaluator.
        msg = f"Failed to evaluate simpleeval expressions {expr} ({type(error).__name__})."
        raise MapExpressionError(msg) from None
