"""A stream accepts many records at once, and changes the same members as for each record alone."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from types import SimpleNamespace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import InputError, RejectionsError, SegmentError
from target_statsig.reports.report import MemberCounts
from target_statsig.segments.stream import SegmentStream
from target_statsig.singer.records import Batch, Reading, RecordReader

STREAMS = {
    "rows add": {"segment_id": "vips"},
    "rows remove": {"segment_id": "vips", "sync_mode": SyncMode.REMOVE},
    "membership in a column": {"segment_id": "vips", "membership_field": "active"},
    "segment in a column": {"segment_id_field": "list"},
    "both in columns": {"segment_id_field": "list", "membership_field": "active"},
    "from a path": {"segment_id": "vips", "field_mapping": {"user_id": "user.id"}},
}

texts = st.sampled_from(["u1", "u2", "u3", " u1 ", "u\u00a01", "7", "", " ", "u,1", "u\n1", "u\0", "\ud83d", "\ude00"])
ids = texts | st.sampled_from([7, 8, True, None, Decimal("7.0"), Decimal("7.5"), [], {}, 10**400])
plain_ids = st.sampled_from(["u1", "u2", "u3", " u1 ", "u\u00a01", "7"])
deletions = st.sampled_from([None, "", "2026-11-22", 0, False])
records = st.fixed_dictionaries(
    {},
    optional={
        "user_id": ids,
        "userId": ids,
        "user.id": ids,
        "user": st.fixed_dictionaries({}, optional={"id": ids}),
        "active": st.sampled_from([True, False, "yes", " NO ", 1, Decimal(0), None, "perhaps", []]),
        "list": st.sampled_from(["vips", "staff", " vips ", "", " ", None, 7]),
        "_sdc_deleted_at": deletions,
    },
)
plain_records = st.fixed_dictionaries(
    {
        "user_id": plain_ids,
        "user.id": st.integers(7, 9),
        "active": st.sampled_from([True, False, "yes", " NO ", 1]),
        "list": st.sampled_from(["vips", "staff", " vips "]),
    },
    optional={"_sdc_deleted_at": st.sampled_from([None, ""])},
)


def settings(**values):
    return StreamSettings(**{"object_type": ObjectType.SEGMENT, "sync_mode": SyncMode.MIRROR} | values)


class Sync:
    """Keeps the changes that it is given; may fail at the first of them."""

    def __init__(self, segment_id, *, fails=False):
        self.changes = {}
        self.failed = False
        self._error = SegmentError(segment_id) if fails else None

    def begin(self):
        pass

    def add_changes(self, changes):
        self.changes.update(changes)
        if self._error is not None:
            raise self._error

    def fail(self):
        self.failed = True


class Rejections:
    """Keeps what is rejected; raises at the first where none is allowed."""

    def __init__(self, *, allows_none=False):
        self.reasons = []
        self.allows_none = allows_none

    def add(self, line, schema, error):
        assert schema["stream"] == "tap_people"
        self.reasons.append((json.loads(line)["record"], error.reason, error.field))
        if self.allows_none:
            msg = "too many"
            raise RejectionsError(msg)


def stream_of(stream_settings, *, rejections=None, failing=()):
    """Return a stream, and what its fakes saw."""
    seen = SimpleNamespace(
        counts=MemberCounts(), rejections=rejections or Rejections(), syncs={}, failures=[], begun=[], observed=[]
    )

    class Stream(SegmentStream):
        def make_sync(self, segment_id):
            seen.begun.append(segment_id)
            return seen.syncs.setdefault(segment_id, Sync(segment_id, fails=segment_id in failing))

    def observe(tap_stream, read):
        seen.observed.append((tap_stream, len(read.columns)))

    sources, streams = SimpleNamespace(read=observe), SimpleNamespace(syncs=defaultdict(list))
    run = SimpleNamespace(fail=seen.failures.append, sources=sources, streams=streams, store=None)
    return Stream("people", stream_settings, seen.counts, seen.rejections, run), seen


def reading(schema):
    message = {"type": "SCHEMA", "stream": "tap_people", "schema": schema}
    return Reading(RecordReader("tap_people", "people", schema, (), validates=True), message)


READING = reading({})


def line(row):
    return json.dumps({"type": "RECORD", "stream": "tap_people", "record": row}, default=float).encode() + b"\n"


def accept(stream, rows, number=1, reading=READING):
    stream.accept(number, Batch([row if isinstance(row, bytes) else line(row) for row in rows]), reading)


def changes(seen):
    return {segment_id: list(sync.changes.items()) for segment_id, sync in seen.syncs.items()}


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in STREAMS.items()])
@hypothesis.settings(max_examples=40)
@given(rows=st.lists(records | plain_records, max_size=20), allows_none=st.booleans())
def test_many_records_change_the_same_members_as_one_by_one(stream, rows, allows_none):
    together, seen_together = stream_of(settings(**stream), rejections=Rejections(allows_none=allows_none))
    singly, seen_singly = stream_of(settings(**stream), rejections=Rejections(allows_none=allows_none))
    stopped = []
    for accepting in (lambda: accept(together, rows), lambda: [accept(singly, [row]) for row in rows]):
        try:
            accepting()
        except RejectionsError:
            stopped.append(accepting)
    assert changes(seen_together) == changes(seen_singly)
    assert seen_together.begun == seen_singly.begun
    assert seen_together.rejections.reasons == seen_singly.rejections.reasons
    assert seen_together.counts == seen_singly.counts
    assert len(stopped) != 1


COLUMNS = ("user_id", "userId", "user.id", "user", "active", "list", "_sdc_deleted_at")
OF_A_TABLE = reading({"properties": {name: {} for name in COLUMNS}})


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in STREAMS.items()])
@hypothesis.settings(max_examples=40)
@given(rows=st.lists(plain_records, min_size=1) | st.lists(records, min_size=1, max_size=4))
def test_rows_change_the_same_members_by_column_and_by_record(stream, rows):
    rows = [dict.fromkeys(COLUMNS) | row for row in rows]
    by_column, seen_by_column = stream_of(settings(**stream))
    by_record, seen_by_record = stream_of(settings(**stream))
    accept(by_column, rows, reading=OF_A_TABLE)
    accept(by_record, rows)
    assert changes(seen_by_column) == changes(seen_by_record)
    assert seen_by_column.rejections.reasons == seen_by_record.rejections.reasons
    assert seen_by_column.counts == seen_by_record.counts
    assert seen_by_column.observed == seen_by_record.observed == [("tap_people", len(rows))]


@pytest.mark.parametrize(
    ("row", "stream", "change"),
    [
        pytest.param({"userId": "u1"}, {}, {"u1": True}, id="another default column"),
        pytest.param({"user_id": Decimal("7.0")}, {}, {"7": True}, id="a number with a fraction"),
        pytest.param({"user_id": "u1", "_sdc_deleted_at": "2026-11-22"}, {}, {"u1": False}, id="a deleted row"),
        pytest.param({"user": {"id": "u1"}}, {"field_mapping": {"user_id": "user.id"}}, {"u1": True}, id="a path"),
    ],
)
def test_an_unusual_record_changes_its_member(row, stream, change):
    stream, seen = stream_of(settings(segment_id="vips", **stream))
    accept(stream, [row])
    assert seen.syncs["vips"].changes == change


def test_a_rejected_record_does_not_stop_the_others():
    stream, seen = stream_of(settings(segment_id="vips"))
    accept(stream, [{"user_id": "u1"}, {"user_id": ""}, {"user_id": "u2"}])
    assert seen.syncs["vips"].changes == {"u1": True, "u2": True}
    assert seen.rejections.reasons == [({"user_id": ""}, "missing_identifier", "user_id")]
    assert seen.counts.records == 3


def test_records_before_one_rejection_too_many_are_accepted():
    stream, seen = stream_of(settings(segment_id="vips"), rejections=Rejections(allows_none=True))
    with pytest.raises(RejectionsError):
        accept(stream, [{"user_id": "u1"}, {"user_id": ""}, {"user_id": "u2"}])
    assert seen.syncs["vips"].changes == {"u1": True}
    assert seen.counts.records == 2
    assert len(seen.rejections.reasons) == 1


def test_schema_violations_are_rejected_in_the_order_of_records():
    stream, seen = stream_of(settings(segment_id="vips"))
    rows = [{"user_id": ""}, {"user_id": "u1"}, {"user_id": 7}, {"user_id": None}]
    accept(stream, rows, reading=reading({"properties": {"user_id": {"type": ["string", "null"]}}}))
    assert [reason for _, reason, _ in seen.rejections.reasons] == [
        *("missing_identifier", "schema_violation", "missing_identifier")
    ]
    assert seen.syncs["vips"].changes == {"u1": True}
    assert (seen.counts.records, seen.observed) == (4, [("tap_people", 3)])


def test_records_before_an_unreadable_line_are_accepted():
    stream, seen = stream_of(settings(segment_id="vips"))
    with pytest.raises(InputError, match=r"Line 13 of the input .*is not valid JSON"):
        accept(stream, [{"user_id": "u1"}, {"user_id": ""}, {"user_id": "u2"}, b"{\n", {"user_id": "u3"}], number=10)
    assert seen.syncs["vips"].changes == {"u1": True, "u2": True}
    assert seen.counts.records == 3


def test_records_made_by_a_stream_map_are_not_observed_again():
    stream, seen = stream_of(settings(segment_id="vips"))
    message = {"type": "RECORD", "stream": "tap_people", "record": {"id": 7}}
    stream.accept(1, Batch([json.dumps(message).encode()], [message], [{"user_id": "u7"}]), READING)
    assert seen.syncs["vips"].changes == {"u7": True}
    assert seen.observed == []


def test_a_segment_that_fails_does_not_stop_the_others():
    stream, seen = stream_of(settings(segment_id_field="list"), failing=["vips"])
    accept(stream, [{"user_id": "u1", "list": name} for name in ("staff", "vips", "crew")])
    assert changes(seen) == {"staff": [("u1", True)], "vips": [("u1", True)], "crew": [("u1", True)]}
    assert [name for name, sync in seen.syncs.items() if sync.failed] == ["vips"]
    assert [str(error) for error in seen.failures] == ["vips"]
