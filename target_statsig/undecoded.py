"""The RECORD messages of one stream as lines that the reader does not decode.

Items are prepared by whoever delivers them (`events.prepare`); members are read column by column, here and now. Knows
how taps write a RECORD message. Refuses to know what becomes of a record.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from target_statsig.events.lane import ItemLane
from target_statsig.events.receipt import Rejection
from target_statsig.exceptions import RecordError
from target_statsig.record import Record, Undecoded
from target_statsig.segments.lane import SegmentLane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.columns import RecordType
    from target_statsig.reader import SingerMessageReader, TakeLines
    from target_statsig.record import Message
    from target_statsig.segments.sources import Sources
    from target_statsig.sinks import StatsigSink
    from target_statsig.validation import RecordCheck

MOST_MISSES = 10
"""Times that lines could not be read column by column, after which the reader decodes those of the stream: a tap that
leaves a column out where it is null does so all the time."""


class UndecodedLines:
    """Hands the lines of one stream to its lane."""

    def __init__(
        self,
        schema: Message,
        sink: StatsigSink,
        sources: Sources,
        reader: SingerMessageReader,
        count: Callable[[int], None],
    ) -> None:
        """Take no lines yet.

        Args:
            schema: The SCHEMA message as the tap sent it.
            sink: The sink that belongs to it.
            sources: Told of all records.
            reader: Reads the input.
            count: Told how many records were taken.
        """
        self._schema = schema
        self._sink = sink
        self._sources = sources
        self._reader = reader
        self._count = count
        self._stream: str = schema["stream"]
        self._heads: list[bytes] = []
        self._misses = 0

    def open(self) -> None:
        """Take lines from now on, where the lane can do with them."""
        if self._heads or self._misses >= MOST_MISSES:
            return
        take = self._takes()
        if take is not None:
            self._heads = _heads(self._stream)
            self._reader.lines_taken.update(dict.fromkeys(self._heads, take))

    def close(self) -> None:
        """Take no more lines."""
        for head in self._heads:
            del self._reader.lines_taken[head]
        self._heads = []

    def _takes(self) -> TakeLines | None:
        lane, check = self._sink.lane, self._sink.check
        if isinstance(lane, ItemLane):
            return self._takes_items(lane, check)
        if isinstance(lane, SegmentLane) and check.record_type is not None:
            return partial(self._take_members, lane, check.record_type)
        return None

    def _takes_items(self, lane: ItemLane, check: RecordCheck) -> TakeLines | None:
        accept = lane.opened_for_lines(check, self._look)
        if accept is None:
            return None

        def take(number: int, lines: list[bytes]) -> None:
            self._sources.count(self._stream, len(lines))
            self._count(len(lines))
            if not accept(number, lines):
                self.close()

        return take

    def _take_members(self, lane: SegmentLane, record_type: RecordType, number: int, lines: list[bytes]) -> None:
        columns = record_type.read(b"".join(lines))
        if columns is not None and len(columns) == len(lines) and lane.accept_columns(columns):
            self._sources.columns(self._stream, columns)
            self._count(len(lines))
            return
        self._misses += 1
        if self._misses >= MOST_MISSES:
            self.close()
        records: list[Record] = []
        try:
            for place, line in enumerate(lines, number):
                found = self._look(place, line)
                if isinstance(found, Rejection):
                    self._hand_over(lane, records)
                    self._hand_over(lane, [found.record], RecordError(found.reason, found.field))
                    records = []
                else:
                    records.append(found)
        finally:
            self._hand_over(lane, records)

    def _hand_over(self, lane: SegmentLane, records: Sequence[Record], error: RecordError | None = None) -> None:
        """Hand over decoded records that follow each other, or one that is kept out."""
        if not records:
            return
        self._sources.records(self._stream, [record.message for record in records])
        self._count(len(records))
        if error is None:
            lane.accept(records)
        else:
            lane.reject(records[0], error)

    def _look(self, number: int, line: bytes) -> Record | Rejection:
        """Return the record of a line, or why it is kept out.

        Raises:
            InputError: The line is no RECORD message after all.
        """
        message = self._reader.decode(line, number)
        data: Any = message.get("record")
        is_ours = message.get("type") == "RECORD" and message.get("stream") == self._stream
        if not is_ours or type(data) not in {dict, Undecoded}:
            msg = f"is no RECORD of '{self._stream}' with an object for a record"
            raise self._reader.error(msg, number)
        record = Record(data, message, self._schema)
        fault = self._sink.check.fault_of(data)
        return record if fault is None else Rejection(record, fault.reason, fault.field)


def _heads(stream: str) -> list[bytes]:
    """Return how the RECORD messages of a stream begin, as singer-sdk, singer-python and other taps write them."""
    names = {json.dumps(stream), json.dumps(stream, ensure_ascii=False)}
    forms = ('{{"type":"RECORD","stream":{},', '{{"type": "RECORD", "stream": {}, ')
    # Half a surrogate pair stands in no line but escaped.
    return [form.format(name).encode(errors="replace") for name in names for form in forms]
