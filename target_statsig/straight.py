"""A straight way from the reader to a sink, past singer-sdk's, for a stream that nothing maps and nothing flattens.

singer-sdk copies each record, asks a stream map that changes nothing, and counts it one by one: more work than
validating and mapping it. This follows `Target._process_record_message` of singer-sdk 0.54 for that case alone, and
can be taken out by deleting this module and its two mentions in `target`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.mapper import SameRecordTransform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.mapper import StreamMap

    from target_statsig.reader import Message
    from target_statsig.sinks import StatsigSink

COUNTED_AT_ONCE = 1_000
"""Records after which singer-sdk's record counter is told; it looks at the clock each time."""


class StraightWay:
    """Hands the records of one stream to its sink."""

    def __init__(self, sink: StatsigSink) -> None:
        """Take the sink; a new schema has a new sink, and so a new way."""
        self._sink = sink
        self._uncounted = 0

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

    def take(self, message: Message) -> None:
        """Take a RECORD message."""
        self._sink.take(message["record"], message)
        self._uncounted += 1
        if self._uncounted == COUNTED_AT_ONCE:
            self.count()

    def count(self) -> None:
        """Tell singer-sdk's record counter about the records since the last time."""
        self._sink.record_counter_metric.increment(self._uncounted)
        self._uncounted = 0


class StraightWays:
    """The straight ways that are open, by the tap's stream.

    Attributes:
        get: Returns the way of a stream, or None.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._ways: dict[str, StraightWay] = {}
        self.get = self._ways.get

    def renew(self, stream: str, stream_maps: Sequence[StreamMap], sink: StatsigSink | None) -> None:
        """Open the way of a stream after its SCHEMA, or close it.

        Args:
            stream: The tap's name.
            stream_maps: Its maps.
            sink: The sink of that name, if there is one.
        """
        if stream in self._ways:
            self._ways.pop(stream).count()
        if sink is not None and StraightWay.is_open(stream_maps, sink):
            self._ways[stream] = StraightWay(sink)

    def count(self) -> None:
        """Tell singer-sdk's record counters about the records since the last time."""
        for way in self._ways.values():
            way.count()
