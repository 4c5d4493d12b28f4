"""A straight way from the reader to a lane, past singer-sdk's, for a stream that nothing maps and nothing flattens.

singer-sdk copies each record, asks a stream map that changes nothing, and counts it one by one: more work than
validating and mapping it. This follows `Target._process_record_message` of singer-sdk 0.54 for that case alone, many
records at a time. It can be taken out by deleting this module and `undecoded`, and their mentions in `target`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from singer_sdk.mapper import SameRecordTransform

from target_statsig.record import Record
from target_statsig.segments.lane import SegmentLane
from target_statsig.undecoded import UndecodedLines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.mapper import StreamMap

    from target_statsig.reader import SingerMessageReader
    from target_statsig.record import Message
    from target_statsig.segments.sources import Sources
    from target_statsig.sinks import StatsigSink

AT_ONCE = 500
"""Records taken together at most; between two times a signal is heeded, and the lane's batch may be full."""

UNDECODED_AFTER = 5_000
"""Records of a stream of items after which they are not decoded here any more, and workers are started: some 50 ms of
work, half as long as it takes to start one."""


class StraightWay:
    """Hands the records of one stream to its lane.

    Attributes:
        schema: The SCHEMA message as the tap sent it.
        sink: The sink that belongs to it.
        taken: How many records were taken so far.
    """

    def __init__(
        self, schema: Message, sink: StatsigSink, sources: Sources, reader: SingerMessageReader, taken: int
    ) -> None:
        """Open the way.

        Args:
            schema: The SCHEMA message; a new one has a new sink, and so a new way.
            sink: The sink.
            sources: Told of all records.
            reader: Reads the input.
            taken: How many records of the stream were taken before.
        """
        self.schema = schema
        self.sink = sink
        self.taken = taken
        self._stream: str = schema["stream"]
        self._sources = sources
        self._lines = UndecodedLines(schema, sink, sources, reader, self._count)
        self._consider_lines()

    @staticmethod
    def is_open(stream_maps: Sequence[StreamMap], sink: StatsigSink) -> bool:
        """Return whether singer-sdk would hand the records on as they come.

        Args:
            stream_maps: The maps of the tap's stream.
            sink: The stream's sink.
        """
        return (
            len(stream_maps) == 1
            and type(stream_maps[0]) is SameRecordTransform
            and not stream_maps[0].flattening_enabled
            and not sink.include_sdc_metadata_properties
        )

    def take(self, messages: Sequence[Message], place: int) -> int:
        """Take the stream's RECORD messages that follow each other at a place, up to one with a fault.

        Returns:
            The place of the first message that was not taken; if it has a fault, singer-sdk's way will find it again.
        """
        stream, schema, is_sound = self._stream, self.schema, self.sink.is_sound
        records: list[Record] = []
        for message in islice(messages, place, place + AT_ONCE):
            if message.get("type") != "RECORD" or message.get("stream") != stream:
                break
            data = message.get("record")
            if type(data) is not dict or not is_sound(data):
                break
            records.append(Record(data, message, schema))
        if records:
            self._sources.records(stream, messages[place : place + len(records)])
            self._count(len(records))
            self.sink.lane.accept(records)
            self._consider_lines()
        return place + len(records)

    def close(self) -> None:
        """Take no more lines."""
        self._lines.close()

    def _consider_lines(self) -> None:
        """Take undecoded lines from now on, if that is worth while."""
        if self.taken >= UNDECODED_AFTER or isinstance(self.sink.lane, SegmentLane):
            self._lines.open()

    def _count(self, records: int) -> None:
        self.taken += records
        self.sink.record_counter_metric.increment(records)


class StraightWays:
    """The straight ways that are open, by the tap's stream."""

    def __init__(self, sources: Sources, reader: SingerMessageReader) -> None:
        """Take who is told of all records, and who reads them."""
        self._ways: dict[object, StraightWay] = {}
        self._sources = sources
        self._reader = reader

    def renew(self, schema: Message, stream_maps: Sequence[StreamMap], sink: StatsigSink | None) -> None:
        """Open the way of a stream after its SCHEMA, or close it.

        Args:
            schema: The SCHEMA message as the tap sent it.
            stream_maps: The stream's maps.
            sink: The sink of that name, if there is one.
        """
        before = self._ways.get(schema["stream"])
        if before is not None and before.sink is sink and before.schema == schema:
            return
        if before is not None:
            self._ways.pop(schema["stream"]).close()
        if sink is not None and StraightWay.is_open(stream_maps, sink):
            taken = before.taken if before else 0
            self._ways[schema["stream"]] = StraightWay(schema, sink, self._sources, self._reader, taken)

    def take(self, messages: Sequence[Message], place: int) -> int:
        """Take the records at a place in a list of messages if their way is open, and return the place behind them."""
        stream = messages[place].get("stream")
        way = self._ways.get(stream) if type(stream) is str else None
        return place if way is None else way.take(messages, place)
