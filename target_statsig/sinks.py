"""The Singer lifecycle of a stream, and nothing else.

A sink comes and goes with the schema of its stream. What a stream has gathered lives in a lane, which lives with the
run; the sink hands records to it, and says which of them break their schema. It is the same for every object type: the
lane is not (`object_types`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from singer_sdk.sinks import Sink

from target_statsig._compat import override
from target_statsig.record import Record
from target_statsig.validation import RecordCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.sinks.core import BaseJSONSchemaValidator

    from target_statsig.exceptions import RecordError
    from target_statsig.target import TargetStatsig


class Lane(Protocol):
    """One stream's way to Statsig."""

    def accept(self, records: Sequence[Record]) -> None:
        """Take records that keep to their schema."""

    def reject(self, record: Record, error: RecordError) -> None:
        """Keep a record out: count it, and write it to the dead letters."""


class StatsigSink(Sink):
    """Hands the records of one stream to its lane."""

    _target: TargetStatsig

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
        self._target = target
        self.lane: Lane = target.run.lanes.get(stream_name)
        self.check = RecordCheck(stream_name, self.schema, self._key_properties, validates=self.validate_schema)
        # Asked for now, so that a schema of no use is told before anything of the stream is sent.
        self.is_sound = self.check.is_sound

    @override
    def get_validator(self) -> BaseJSONSchemaValidator | None:
        return None

    @property
    @override
    def is_full(self) -> bool:
        """Return False: a lane sends what is full by itself, and knows bytes as well as rows."""
        return False

    @override
    def _validate_and_parse(self, record: dict[str, Any]) -> dict[str, Any]:
        """Leave the record as it came: `process_record` validates it, and times are parsed where they are used."""
        return record

    @override
    def _singer_validate_message(self, record: dict[str, Any]) -> None:
        """Leave key properties to `process_record`: one record that lacks one is no reason to end the run."""

    @override
    def _remove_sdc_metadata_from_schema(self) -> None:
        """Keep the columns: `_sdc_deleted_at` is how log-based taps say that a row is gone."""

    @override
    def _remove_sdc_metadata_from_record(self, record: dict[str, Any]) -> None:
        """Keep the columns, as in the schema."""

    @override
    def _after_process_record(self, context: dict[str, Any]) -> None:
        """Log nothing for each record."""

    @override
    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        message = self._target.message
        arrived = Record(record, message, self._target.schemas[message["stream"]])
        fault = self.check.fault_of(record)
        if fault is None:
            self.lane.accept((arrived,))
        else:
            self.lane.reject(arrived, fault)

    @override
    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing: batches are made and sent by the lane."""
