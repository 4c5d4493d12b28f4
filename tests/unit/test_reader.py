from __future__ import annotations

import io
import os
from decimal import Decimal

import pytest

from target_statsig.exceptions import InputError, InterruptedRunError
from target_statsig.reader import SingerMessageReader

SECRET = b"jane@example.com"


def read(*lines, reader=None):
    messages = []
    source = io.BytesIO(b"".join(lines))
    reader = reader or SingerMessageReader()
    stats = reader.process_lines(source, {"RECORD": messages.append, "STATE": messages.append})
    return messages, stats


def test_messages_go_to_the_callback_of_their_type_and_are_counted():
    messages, stats = read(b'{"type":"RECORD","n":1}\n', b'{"type":"STATE","n":2}\n', b'{"type":"RECORD","n":3}\n')
    assert [message["n"] for message in messages] == [1, 2, 3]
    assert stats == {"RECORD": 2, "STATE": 1}


def test_numbers_with_a_fraction_stay_exact():
    ((message,), _) = read(b'{"type":"RECORD","n":89.90}\n')
    assert message["n"] == Decimal("89.90")
    assert str(message["n"]) == "89.90"


def test_lines_that_somebody_takes_are_not_decoded():
    taken = []
    reader = SingerMessageReader()
    reader.lines_taken[b'{"type":"RECORD",'] = lambda number, lines: taken.append((number, lines))
    undecoded = b'{"type":"RECORD","record":{\n'
    block = b"".join([undecoded, undecoded, b"\n", b'{"type":"STATE"}\n', undecoded, b'{"type": "RECORD","record":1}'])
    messages = []
    stats = reader.process_lines([block, block], {"RECORD": messages.append, "STATE": messages.append})
    assert taken == [(number, [undecoded] * count) for number, count in ((1, 2), (5, 1), (7, 2), (11, 1))]
    assert [message["type"] for message in messages] == ["STATE", "RECORD"] * 2
    assert stats == {"RECORD": 8, "STATE": 2}


def test_who_takes_a_line_is_asked_when_its_turn_has_come():
    taken = []
    reader = SingerMessageReader()
    reader.lines_taken[b'{"type":"RECORD",'] = lambda _, lines: taken.append(len(lines))
    line = b'{"type":"RECORD","record":{}}'
    messages = []
    callbacks = {"SCHEMA": lambda _: reader.lines_taken.clear(), "RECORD": messages.append}
    reader.process_lines([b"\n".join([line, b'{"type":"SCHEMA"}', line])], callbacks)
    assert (taken, len(messages)) == ([1], 1)


def test_empty_lines_are_passed_over():
    messages, _ = read(b"\n", b'  \n{"type":"RECORD"}\n', b"\r\n")
    assert len(messages) == 1


def test_what_python_writes_and_json_does_not_know_is_still_read():
    ((message,), _) = read(b'{"type":"RECORD","n":NaN,"s":"\\ud800"}\n')
    assert message["n"] != message["n"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(b'{"type":"RECORD","record":{"email":"' + SECRET, r"is not valid JSON\. No STATE", id="no JSON"),
        pytest.param(b'{"type":"RECORD","e":"' + SECRET + b'\xff"}', "is not valid UTF-8", id="not UTF-8"),
        pytest.param(b'{"type":"ROW","e":"' + SECRET + b'"}', "no Singer message of a known type", id="unknown type"),
        pytest.param(b'["' + SECRET + b'"]', "no Singer message of a known type", id="no object"),
        pytest.param(
            b'{"type":"RECORD","record":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply", id="deep"
        ),
        pytest.param(b'{"type":{"a":1}}', "no Singer message of a known type", id="a type that is no word"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_by_number_and_never_quoted(line, words):
    with pytest.raises(InputError, match=words) as caught:
        read(b'{"type":"RECORD"}\n', line + b"\n")
    assert "Line 2 " in str(caught.value)
    assert SECRET.decode() not in str(caught.value)


def test_of_a_line_without_an_end_the_tap_is_said_to_have_been_cut_off():
    with pytest.raises(InputError, match=r"is not valid JSON and has no end.* the tap's log") as caught:
        read(b'{"type":"RECORD"}\n', b'{"type":"RECORD","record":{"email":"' + SECRET)
    assert SECRET.decode() not in str(caught.value)


def test_a_missing_member_is_named_without_the_message():
    reader = SingerMessageReader()
    with pytest.raises(InputError, match="lacks record, stream") as caught:
        reader.assert_line_requires({"type": "RECORD", "x": SECRET}, {"record", "stream"})
    assert "jane" not in str(caught.value)


def test_reading_ends_before_the_next_line_once_it_is_asked_to_stop():
    reader = SingerMessageReader()
    seen = []

    def callback(message):
        seen.append(message)
        reader.stop = True

    with pytest.raises(InterruptedRunError):
        reader.process_lines(io.BytesIO(b'{"type":"RECORD"}\n' * 3), {"RECORD": callback})
    assert len(seen) == 1


def read_pipe(monkeypatch, *chunks, idle=None):
    """Read standard input as it comes from a pipe, chunk by chunk."""
    messages = []
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
        monkeypatch.setattr("target_statsig.blocks.IDLE_SECONDS", 0)
        reader.process_lines(None, {"RECORD": messages.append})
    return messages


def test_lines_that_arrive_in_pieces_are_put_together(monkeypatch):
    messages = read_pipe(
        monkeypatch, b'{"type":"REC', b'ORD","n":1}\n{"type":"RECORD",', b'"n":2}\n', b'{"type":"RECORD","n":3}'
    )
    assert [message["n"] for message in messages] == [1, 2, 3]


def test_the_caller_is_told_how_much_comes():
    sizes = []
    reader = SingerMessageReader()
    reader.between_blocks = sizes.append
    read(b'{"type":"RECORD"}\n', b'{"type":"STATE","value":{}}\n', reader=reader)
    assert sizes == [18, 28]


def test_the_caller_is_told_while_nothing_comes(monkeypatch):
    assert read_pipe(monkeypatch, b'{"type":"RECORD","n":1}\n') == [{"type": "RECORD", "n": 1}]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param({"stream": "s"}, "lacks schema", id="a member is missing"),
        pytest.param(None, "lacks schema, stream", id="no object"),
        pytest.param({"stream": ["s"], "schema": {}}, "names its stream by something that is no text", id="no name"),
    ],
)
def test_a_message_that_lacks_what_its_type_needs_is_named(message, words):
    with pytest.raises(InputError, match=words):
        SingerMessageReader().assert_line_requires(message, {"stream", "schema"})


def test_a_number_beyond_any_is_left_for_its_record_to_be_rejected():
    messages, _ = read(b'{"type":"RECORD","n":1e99999999999999999999}\n', b'{"type":"RECORD","n":1.5}\n')
    assert str(messages[0]["n"]) == "NaN"
    assert messages[1]["n"] == Decimal("1.5")


def test_blank_lines_between_undecoded_ones_are_counted():
    numbers = []
    reader = SingerMessageReader()
    reader.lines_taken[b'{"type":"RECORD",'] = lambda number, _: numbers.append(number)
    reader.process_lines([b'{"type":"STATE"}\n\n{"type":"RECORD","record":{}}\n\n'], {"STATE": lambda _: None})
    assert numbers == [3]
    assert reader.line_number == 4
