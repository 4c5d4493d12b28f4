from __future__ import annotations

import io
import json
import os
from decimal import Decimal

import pytest

from target_statsig.errors import InputError, InterruptedRunError
from target_statsig.singer.reader import LINES_AT_ONCE, SingerMessageReader

SECRET = b"jane@example.com"


def record_of(stream="s", **record):
    return {"type": "RECORD", "stream": stream, "record": record}


def schema_line(stream="s"):
    return json.dumps({"type": "SCHEMA", "stream": stream, "schema": {}}).encode() + b"\n"


class Taken:
    """What a reader hands over: batches, and what comes between them."""

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
def taken():
    return Taken()


def test_messages_go_to_the_callback_of_their_type_and_are_counted(taken):
    stats = taken.read(b'{"type":"RECORD","stream":"s","record":{"n":1}}\n{"type":"STATE","n":2}\n', schema_line())
    assert [type(each) for each in taken.order] == [tuple, dict, dict]
    assert taken.order[1] == {"type": "STATE", "n": 2}
    assert stats == {"RECORD": 1, "STATE": 1, "SCHEMA": 1}


def test_numbers_with_a_fraction_stay_exact(taken):
    taken.read(b'{"type":"RECORD","stream":"s","record":{"n":89.90}}\n')
    assert str(taken.records[0]["n"]) == "89.90"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b'{"type":"RECORD","stream":"s","record":', id="as singer-sdk writes it"),
        pytest.param(b'{"type": "RECORD", "stream": "s", "record":', id="as singer-python writes it"),
    ],
)
def test_records_of_a_stream_that_is_known_are_not_decoded(taken, head):
    undecoded = head + b"{\n"
    odd = b'{"stream":"s","type":"RECORD","record":{"n":1}}\n'
    block = b"".join([undecoded, undecoded, b"\n", b'{"type":"STATE"}\n', undecoded, odd])
    stats = taken.read(schema_line(), block, block)
    assert [(stream, number, len(batch), batch.messages is None) for stream, number, batch in taken.batches] == [
        ("s", number, count, undecoded)
        for number, count, undecoded in (
            *((2, 2, True), (6, 1, True), (7, 1, False)),
            *((8, 2, True), (12, 1, True), (13, 1, False)),
        )
    ]
    assert taken.batches[0][2].lines == [undecoded] * 2
    assert taken.batches[2][2].lines == [odd]
    assert taken.batches[2][2].messages == [{"stream": "s", "type": "RECORD", "record": {"n": 1}}]
    assert stats == {"SCHEMA": 1, "RECORD": 8, "STATE": 2}


def test_a_stream_is_known_from_its_schema_on(taken):
    line = b'{"type":"RECORD","stream":"s","record":{}}\n'
    taken.read(line + schema_line() + line)
    assert [batch.messages is None for _, _, batch in taken.batches] == [False, True]


def test_streams_in_turn_are_batches_of_their_own(taken):
    lines = [b'{"type":"RECORD","stream":"%b","record":{}}\n' % stream for stream in (b"s", b"s", b"ss", b"s")]
    taken.read(schema_line("s"), schema_line("ss"), b"".join(lines))
    assert [(stream, number, len(batch)) for stream, number, batch in taken.batches] == [
        *(("s", 3, 2), ("ss", 5, 1), ("s", 6, 1))
    ]


@pytest.mark.parametrize(
    ("name", "ascii_only"),
    [("Zoë", True), ("Zoë", False), ("\ud800", True), ('a"b', True), ("", True)],
)
def test_a_stream_with_an_odd_name_is_known_however_it_is_written(taken, name, ascii_only):
    line = json.dumps(record_of(name), ensure_ascii=ascii_only).encode() + b"\n"
    taken.read(schema_line(name), line * 2)
    assert [(stream, number, len(batch)) for stream, number, batch in taken.batches] == [(name, 2, 2)]


def test_many_lines_are_handed_over_in_parts_so_that_a_signal_is_heeded(taken):
    taken.read(schema_line(), b'{"type":"RECORD","stream":"s","record":{}}\n' * (2 * LINES_AT_ONCE + 1))
    assert [len(batch) for _, _, batch in taken.batches] == [LINES_AT_ONCE, LINES_AT_ONCE, 1]
    assert [number for _, number, _ in taken.batches] == [2, LINES_AT_ONCE + 2, 2 * LINES_AT_ONCE + 2]


def test_empty_lines_are_passed_over(taken):
    taken.read(b"\n", b'  \n{"type":"RECORD","stream":"s","record":{}}\n', b"\r\n")
    assert [number for _, number, _ in taken.batches] == [3]


def test_what_python_writes_and_json_does_not_know_is_still_read(taken):
    taken.read(b'{"type":"RECORD","stream":"s","record":{"n":NaN,"s":"\\ud800"}}\n')
    (record,) = taken.records
    assert record["n"] != record["n"]
    assert record["s"] == "\ud800"


def test_a_record_that_is_nested_too_deeply_to_be_decoded_is_left_as_it_is(taken):
    record = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    taken.read(b'{"type":"RECORD","stream":"s","record":' + record + b"}\n")
    assert [bytes(each) for each in taken.records] == [record]


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
        pytest.param(b'{"type":{"a":1}}', "not a Singer message of a known type", id="a type that is no word"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_by_number_and_never_quoted(taken, line, words):
    with pytest.raises(InputError, match=words) as caught:
        taken.read(b'{"type":"STATE"}\n', line + b"\n")
    assert "Line 2 " in str(caught.value)
    assert SECRET.decode() not in str(caught.value)


def test_of_a_line_without_an_end_the_tap_is_said_to_have_been_cut_off(taken):
    with pytest.raises(InputError, match=r"is not valid JSON and has no end.* the tap's log") as caught:
        taken.read(b'{"type":"STATE"}\n', b'{"type":"RECORD","record":{"email":"' + SECRET)
    assert SECRET.decode() not in str(caught.value)


def test_a_missing_member_is_named_without_the_message():
    reader = SingerMessageReader()
    with pytest.raises(InputError, match="lacks record, stream") as caught:
        reader.assert_line_requires({"type": "RECORD", "x": SECRET}, {"record", "stream"})
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize("known", [b"", schema_line()])
def test_reading_ends_before_the_next_line_once_it_is_asked_to_stop(taken, known):
    def take(*batch):
        taken.order.append(batch)
        taken.reader.stop = True

    taken.reader.take_records = take
    with pytest.raises(InterruptedRunError):
        taken.read(known, b'{"type":"RECORD","stream":"s","record":{}}\n{"type":"STATE"}\n' * 3)
    assert taken.order[-1] in taken.batches
    assert len(taken.batches) == 1


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


def test_the_caller_is_told_how_much_comes(taken):
    sizes = []
    taken.reader.between_blocks = sizes.append
    taken.read(b'{"type":"STATE"}\n', b'{"type":"STATE","value":{}}\n')
    assert sizes == [17, 28]


def test_the_caller_is_told_while_nothing_comes(monkeypatch):
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
def test_a_message_that_lacks_what_its_type_needs_is_named(message, words):
    with pytest.raises(InputError, match=words):
        SingerMessageReader().assert_line_requires(message, {"stream", "schema"})


def test_a_number_beyond_any_is_left_for_its_record_to_be_rejected(taken):
    taken.read(b'{"type":"RECORD","stream":"s","record":{"n":1e99999999999999999999}}\n')
    taken.read(b'{"type":"RECORD","stream":"s","record":{"n":1.5}}\n')
    assert str(taken.records[0]["n"]) == "NaN"
    assert taken.records[1]["n"] == Decimal("1.5")


def test_blank_lines_between_undecoded_ones_are_counted(taken):
    taken.read(schema_line() + b'\n{"type":"RECORD","stream":"s","record":{}}\n\n')
    assert [number for _, number, _ in taken.batches] == [3]
    assert taken.reader.line_number == 4
