"""A straight way from the reader to a lane, past singer-sdk's, for a stream that nothing maps and nothing flattens.

singer-sdk copies each record, asks a stream map that changes nothing, and counts it one by one: more work than
validating and mapping it. This follows `Target._process_record_message` of singer-sdk 0.54 for that case alone, many
records at a time. It can be taken out by deleting this module and its mentions in `target`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from singer_sdk.mapper import SameRecordTransform

from target_statsig.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from singer_sdk.mapper import StreamMap

    from target_statsig.reader import Message
    from target_statsig.sinks import StatsigSink

    See = Callable[[str, Sequence[Mapping[str, Any]]], None]

AT_ONCE = 500
"""Records taken together at most; between two times a signal is heeded, and the lane's batch may be full."""


class StraightWay:
    """Hands the records of one stream to its lane."""

    def __init__(self, schema: Message, sink: StatsigSink, see: See) -> None:
        """Take the SCHEMA message and the sink; a new schema has a new sink, and so a new way."""
        self._schema = schema
        self._sink = sink
        self._see = see

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
        schema, fault_of = self._schema, self._sink.fault_of
        stream = schema["stream"]
        records: list[Record] = []
        for message in islice(messages, place, place + AT_ONCE):
            if message.get("type") != "RECORD" or message.get("stream") != stream:
                break
            data = message.get("record")
            if type(data) is not dict or fault_of(data) is not None:
                break
            records.append(Record(data, message, schema))
        if records:
            self._see(stream, [record.data for record in records])
            self._sink.record_counter_metric.increment(len(records))
            self._sink.lane.accept(records)
        return place + len(records)


class StraightWays:
    """The straight ways that are open, by the tap's stream."""

    def __init__(self, see: See) -> None:
        """Take who is told of a stream's records before they are handed on."""
        self._ways: dict[object, StraightWay] = {}
        self._see = see

    def renew(self, schema: Message, stream_maps: Sequence[StreamMap], sink: StatsigSink | None) -> None:
        """Open the way of a stream after its SCHEMA, or close it.

        Args:
            schema: The SCHEMA message as the tap sent it.
            stream_maps: The stream's maps.
            sink: The sink of that name, if there is one.
        """
        self._ways.pop(schema["stream"], None)
        if sink is not None and StraightWay.is_open(stream_maps, sink):
            self._ways[schema["stream"]] = StraightWay(schema, sink, self._see)

    def take(self, messages: Sequence[Message], place: int) -> int:
        """Take the records at a place in a list of messages if their way is open, and return the place behind them."""
        stream = messages[place].get("stream")
        way = self._ways.get(stream) if type(stream) is str else None
        return place if way is None else way.take(messages, place)
