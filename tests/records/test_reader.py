from __future__ import annotations

import io
import json
import os
from decimal import Decimal

import pytest

from target_statsig.errors import InputError, InterruptedRunError
from target_statsig.singer.message import Undecoded
from target_statsig.singer.reader import LINES_AT_ONCE, SingerMessageReader

SECRET = b"jane@example.com"


def record_of(stream="s", **record):
    return {"type": "RECORD", "stream": stream, "record": record}


def schema_line(stream="s"):
    return json.dumps({"type": "SCHEMA", "stream": stream, "schema": {}}).encode() + b"\n"


class Received:
    """What a reader hands over: batches, and the messages between them."""

    def __init__(self):
        self.reader = SingerMessageReader()
        self.reader.take_records = lambda stream, number, batch: self.order.append((stream, number, batch))
        self.order = []

    def read(self, *blocks):
        others = ("SCHEMA", "STATE")
        return self.reader.process_lines([*blocks], dict.fromkeys(others, self.order.append))

    @property
    def batches(self):
        return [each for each in self.order if isinstance(each, tuple)]

    @property
    def records(self):
        """The records of the messages that were decoded."""
        return [message["record"] for _, _, batch in self.batches for message in batch.messages]


@pytest.fixture
def received():
    return Received()


def test_messages_go_to_the_callback_of_their_type_and_are_counted(received):
    stats = received.read(b'{"type":"RECORD","stream":"s","record":{"n":1}}\n{"type":"STATE","n":2}\n', schema_line())
    assert [type(each) for each in received.order] == [tuple, dict, dict]
    assert received.order[1] == {"type": "STATE", "n": 2}
    assert stats == {"RECORD": 1, "STATE": 1, "SCHEMA": 1}


def test_numbers_with_a_fraction_stay_exact(received):
    received.read(b'{"type":"RECORD","stream":"s","record":{"n":89.90}}\n')
    assert str(received.records[0]["n"]) == "89.90"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b'{"type":"RECORD","stream":"s","record":', id="as singer-sdk writes it"),
        pytest.param(b'{"type": "RECORD", "stream": "s", "record":', id="as singer-python writes it"),
    ],
)
def test_records_of_a_known_stream_are_not_decoded(received, head):
    undecoded = head + b"{\n"
    odd = b'{"stream":"s","type":"RECORD","record":{"n":1}}\n'
    block = b"".join([undecoded, undecoded, b"\n", b'{"type":"STATE"}\n', undecoded, odd])
    stats = received.read(schema_line(), block, block)
    assert [(stream, number, len(batch), batch.messages is None) for stream, number, batch in received.batches] == [
        ("s", number, count, undecoded)
        for number, count, undecoded in (
            *((2, 2, True), (6, 1, True), (7, 1, False)),
            *((8, 2, True), (12, 1, True), (13, 1, False)),
        )
    ]
    assert received.batches[0][2].lines == [undecoded] * 2
    assert received.batches[2][2].lines == [odd]
    assert received.batches[2][2].messages == [{"stream": "s", "type": "RECORD", "record": {"n": 1}}]
    assert stats == {"SCHEMA": 1, "RECORD": 8, "STATE": 2}


def test_a_stream_is_known_after_its_schema(received):
    line = b'{"type":"RECORD","stream":"s","record":{}}\n'
    received.read(line + schema_line() + line)
    assert [batch.messages is None for _, _, batch in received.batches] == [False, True]


def test_records_of_alternating_streams_are_separate_batches(received):
    lines = [b'{"type":"RECORD","stream":"%b","record":{}}\n' % stream for stream in (b"s", b"s", b"ss", b"s")]
    received.read(schema_line("s"), schema_line("ss"), b"".join(lines))
    assert [(stream, number, len(batch)) for stream, number, batch in received.batches] == [
        *(("s", 3, 2), ("ss", 5, 1), ("s", 6, 1))
    ]


@pytest.mark.parametrize(
    ("name", "ascii_only"),
    [("Zoë", True), ("Zoë", False), ("\ud800", True), ('a"b', True), ("", True)],
)
def test_an_odd_stream_name_is_known_however_it_is_encoded(received, name, ascii_only):
    line = json.dumps(record_of(name), ensure_ascii=ascii_only).encode() + b"\n"
    received.read(schema_line(name), line * 2)
    assert [(stream, number, len(batch)) for stream, number, batch in received.batches] == [(name, 2, 2)]


def test_many_lines_are_handed_over_in_parts(received):
    # So that a signal can be handled between them.
    received.read(schema_line(), b'{"type":"RECORD","stream":"s","record":{}}\n' * (2 * LINES_AT_ONCE + 1))
    assert [len(batch) for _, _, batch in received.batches] == [LINES_AT_ONCE, LINES_AT_ONCE, 1]
    assert [number for _, number, _ in received.batches] == [2, LINES_AT_ONCE + 2, 2 * LINES_AT_ONCE + 2]


def test_empty_lines_are_skipped(received):
    received.read(b"\n", b'  \n{"type":"RECORD","stream":"s","record":{}}\n', b"\r\n")
    assert [number for _, number, _ in received.batches] == [3]


def test_nan_and_lone_surrogates_of_python_taps_are_read(received):
    received.read(b'{"type":"RECORD","stream":"s","record":{"n":NaN,"s":"\\ud800"}}\n')
    (record,) = received.records
    assert record["n"] != record["n"]
    assert record["s"] == "\ud800"


def test_a_record_that_is_nested_too_deeply_is_not_decoded(received):
    record = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    received.read(b'{"type":"RECORD","stream":"s","record":' + record + b"}\n")
    assert [type(each) for each in received.records] == [Undecoded]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(b'{"type":"RECORD","record":{"email":"' + SECRET, r"is not valid JSON\. No STATE", id="no JSON"),
        pytest.param(b'{"type":"RECORD","e":"' + SECRET + b'\xff"}', "is not valid UTF-8", id="not UTF-8"),
        pytest.param(
            b'{"type":"ROW","e":"' + SECRET + b'"}', "not a Singer message of a known type", id="unknown type"
        ),
        pytest.param(b'["' + SECRET + b'"]', "not a Singer message of a known type", id="no object"),
        pytest.param(b'{"type":"RECORD","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply", id="deep"),
        pytest.param(
            b'{"type":"RECORD","stream":"s","record":["' + SECRET + b'"]}',
            "whose record is not an object",
            id="no record",
        ),
        pytest.param(b'{"type":"RECORD","stream":"s","e":"' + SECRET + b'"}', "lacks record", id="without a record"),
        pytest.param(
            b'{"type":"RECORD","stream":["' + SECRET + b'"],"record":{}}',
            "a stream name that is not text",
            id="no name",
        ),
        pytest.param(b'{"type":{"a":1}}', "not a Singer message of a known type", id="a type that is no text"),
    ],
)
def test_an_unusable_line_is_named_by_number_and_not_quoted(received, line, words):
    with pytest.raises(InputError, match=words) as caught:
        received.read(b'{"type":"STATE"}\n', line + b"\n")
    assert "Line 2 " in str(caught.value)
    assert SECRET.decode() not in str(caught.value)


def test_the_error_for_a_line_without_an_end_names_the_taps_log(received):
    with pytest.raises(InputError, match=r"is not valid JSON and has no end.* the tap's log") as caught:
        received.read(b'{"type":"STATE"}\n', b'{"type":"RECORD","record":{"email":"' + SECRET)
    assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize("line", [b"id,name\n", b'{"id":1}\n'], ids=["CSV", "JSON lines"])
def test_the_error_for_a_file_that_no_tap_wrote_asks_for_a_tap(received, line):
    with pytest.raises(InputError, match=r"Line 1 .* A file of CSV or JSON lines needs a tap"):
        received.read(line)


def test_the_error_for_a_faulty_message_of_a_tap_does_not_ask_for_a_tap(received):
    with pytest.raises(InputError, match="Line 1 ") as caught:
        received.read(b'{"type":"RECORD","stream":"s","record":1}\n')
    assert "needs a tap" not in str(caught.value)


def test_a_missing_member_is_named_without_the_message():
    reader = SingerMessageReader()
    with pytest.raises(InputError, match="lacks record, stream") as caught:
        reader.assert_line_requires({"type": "RECORD", "x": SECRET}, {"record", "stream"})
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize("known", [b"", schema_line()])
def test_reading_stops_before_the_next_line_when_asked_to(received, known):
    def take(*batch):
        received.order.append(batch)
        received.reader.stop = True

    received.reader.take_records = take
    with pytest.raises(InterruptedRunError):
        received.read(known, b'{"type":"RECORD","stream":"s","record":{}}\n{"type":"STATE"}\n' * 3)
    assert received.order[-1] in received.batches
    assert len(received.batches) == 1


def read_pipe(monkeypatch, *chunks):
    """Read standard input as it comes from a pipe, chunk by chunk."""
    records = []
    outlet, inlet = os.pipe()
    reader = SingerMessageReader()
    with os.fdopen(outlet, "rb") as source, os.fdopen(inlet, "wb", buffering=0) as sink:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(source))
        waiting = list(chunks)

        def feed(_):
            if waiting:
                sink.write(waiting.pop(0))
            else:
                sink.close()

        reader.between_blocks = feed
        monkeypatch.setattr("target_statsig.singer.reader.IDLE_SECONDS", 0)
        reader.take_records = lambda _stream, _number, batch: records.extend(batch.messages)
        reader.process_lines(None, {})
    return records


def test_lines_that_arrive_in_pieces_are_put_together(monkeypatch):
    messages = read_pipe(
        monkeypatch,
        b'{"type":"REC',
        b'ORD","stream":"s","record":{"n":1}}\n{"type":"RECORD",',
        b'"stream":"s","record":{"n":2}}\n',
        b'{"type":"RECORD","stream":"s","record":{"n":3}}',
    )
    assert [message["record"]["n"] for message in messages] == [1, 2, 3]


def test_the_callback_receives_the_size_of_each_block(received):
    sizes = []
    received.reader.between_blocks = sizes.append
    received.read(b'{"type":"STATE"}\n', b'{"type":"STATE","value":{}}\n')
    assert sizes == [17, 28]


def test_the_callback_is_called_while_no_input_comes(monkeypatch):
    line = b'{"type":"RECORD","stream":"s","record":{"n":1}}\n'
    assert read_pipe(monkeypatch, line) == [record_of(n=1)]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param({"stream": "s"}, "lacks schema", id="a member is missing"),
        pytest.param(None, "lacks schema, stream", id="no object"),
        pytest.param({"stream": ["s"], "schema": {}}, "has a stream name that is not text", id="no name"),
    ],
)
def test_the_missing_members_of_a_message_are_named(message, words):
    with pytest.raises(InputError, match=words):
        SingerMessageReader().assert_line_requires(message, {"stream", "schema"})


def test_a_number_that_is_too_large_is_read_as_nan(received):
    received.read(b'{"type":"RECORD","stream":"s","record":{"n":1e99999999999999999999}}\n')
    received.read(b'{"type":"RECORD","stream":"s","record":{"n":1.5}}\n')
    assert str(received.records[0]["n"]) == "NaN"
    assert received.records[1]["n"] == Decimal("1.5")


def test_blank_lines_between_undecoded_ones_are_counted(received):
    received.read(schema_line() + b'\n{"type":"RECORD","stream":"s","record":{}}\n\n')
    assert [number for _, number, _ in received.batches] == [3]
    assert received.reader.line_number == 4
