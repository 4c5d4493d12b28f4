"""Records that are prepared elsewhere are prepared as they are here, or not at all."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.events.digest import digest
from target_statsig.events.encoding import encode
from target_statsig.events.mapping import EventMapper
from target_statsig.events.notes import MappingNotes
from target_statsig.events.positions import position
from target_statsig.events.prepare import Preparation
from target_statsig.events.stream import Bounds, ItemStream
from target_statsig.events.worker import ANSWERS, ENCODER, TASKS, Task, answer
from target_statsig.exceptions import RecordError
from target_statsig.object_types import EVENTS
from target_statsig.record import MESSAGES
from target_statsig.settings import Compression, ObjectType, StreamSettings
from target_statsig.validation import RecordCheck

NOW = 1_717_632_000_000
SETTINGS = StreamSettings(ObjectType.EVENT)
SCHEMA = {"properties": {"id": {"type": ["integer", "null"]}}}
PLAIN = {"id": 1, "event": "order", "user_id": "u1", "timestamp": "2024-06-06T00:00:00Z"}


def preparation(*, remembers=True, schema=SCHEMA, size=10_000):
    stream = ItemStream("orders", SETTINGS, EVENTS, Bounds(500, size), replication_key="timestamp")
    return pickle.loads(
        pickle.dumps(Preparation(stream, RecordCheck("orders", schema, ["id"]), remembers, Compression.NONE))
    )


def prepare(lines, **options):
    return preparation(**options)(b"\n".join(lines), len(lines), NOW)


def line(record, **more):
    return json.dumps({"type": "RECORD", "stream": "orders", "record": record, **more}).encode()


def test_plain_records_are_ready_to_be_sent():
    other = {**PLAIN, "id": 2, "event": "refund", "value": 1.50}
    prepared = prepare([line(PLAIN), line(other), line(PLAIN)])
    assert [event["eventName"] for event in json.loads(prepared.body)["events"]] == ["order", "refund", "order"]
    assert (prepared.count, prepared.names) == (3, {"order": 2, "refund": 1})
    assert prepared.digests == digest(PLAIN) + digest(MESSAGES.decode(line(other))["record"]) + digest(PLAIN)
    assert prepared.highest == position(PLAIN["timestamp"])


def test_what_is_not_to_be_remembered_has_no_digest():
    prepared = prepare([line(PLAIN)], remembers=False)
    assert (prepared.count, prepared.digests, prepared.highest) == (1, b"", None)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(line({**PLAIN, "id": "one"}), id="breaks-its-schema"),
        pytest.param(line({"event": "order", "user_id": "u1"}), id="lacks-its-key"),
        pytest.param(line({**PLAIN, "event": "a;b"}), id="cannot-become-an-event"),
        pytest.param(line({**PLAIN, "note": "x" * 10_000}), id="too-large"),
        pytest.param(line({**PLAIN, "note": "\ud800"}), id="half-a-surrogate-pair"),
        pytest.param(line({**PLAIN, "value": float("nan")}), id="not-a-number"),
        pytest.param(line(None), id="no-object"),
        pytest.param(line(PLAIN)[:-1] + b', "stream": "others"}', id="in-truth-of-another-stream"),
        pytest.param(line(PLAIN)[:-1] + b', "type": "STATE"}', id="in-truth-another-message"),
        pytest.param(line(PLAIN)[:-1], id="cut-off"),
        pytest.param(b'{"type": "RECORD", "stream": "orders", "record": ' + b"[" * 100_000, id="too-deep"),
        pytest.param(b"\xff", id="no-utf-8"),
        pytest.param(line(PLAIN) + line(PLAIN), id="two-in-a-line"),
        pytest.param(line(PLAIN)[:-2] + b', "n": 1e99999999999999999999}}', id="a-number-beyond-any"),
    ],
)
def test_what_is_not_plain_is_left_alone_with_all_that_came_with_it(odd):
    assert prepare([line(PLAIN), odd]) is None


VALUES = st.none() | st.integers() | st.booleans() | st.text(max_size=5) | st.decimals(allow_nan=False).map(float)
RECORDS = st.fixed_dictionaries(
    {"id": st.just(1), "event": st.sampled_from(["order", "a;b"]), "user_id": st.text(max_size=3)},
    optional={"value": VALUES, "a": VALUES, "b.c": VALUES, "timestamp": st.sampled_from(["2024-06-06", "never"])},
)


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_a_record_becomes_the_same_item_everywhere(records):
    lines = b"\n".join(map(line, records))
    task = TASKS.decode(ENCODER.encode(Task(1, b"", lines, len(records), NOW)))
    prepared = ANSWERS.decode(ENCODER.encode(answer(preparation(), task.lines, task.count, task.now_ms)))
    notes, mapper = MappingNotes(), EventMapper(SETTINGS)
    try:
        messages = MESSAGES.decode_lines(lines)
        items = [encode(mapper(message["record"], None, NOW, notes)) for message in messages]
    except (RecordError, ValueError):
        assert prepared is None
    else:
        assert (json.loads(prepared.body)["events"], prepared.notes) == ([json.loads(item) for item in items], notes)
        assert prepared.size == len(b",".join(items))


def test_whatever_goes_wrong_the_records_are_left_alone():
    def fail(*_):
        raise MemoryError

    assert answer(fail, b"", 0, NOW) is None
