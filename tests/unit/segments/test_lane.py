"""A lane takes records many at a time; what becomes of them is what would become of them one by one."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.columns import Columns
from target_statsig.exceptions import RecordError, RejectionsError, SegmentError
from target_statsig.record import Record
from target_statsig.report import MemberCounts
from target_statsig.segments.lane import SegmentLane
from target_statsig.segments.membership import MemberMapper
from target_statsig.segments.words import PlainWords
from target_statsig.settings import ObjectType, StreamSettings, SyncMode

STREAMS = {
    "who comes joins": {"segment_id": "vips"},
    "who comes leaves": {"segment_id": "vips", "sync_mode": SyncMode.REMOVE},
    "an answer in a column": {"segment_id": "vips", "membership_field": "active"},
    "a segment in a column": {"segment_id_field": "list"},
    "both in columns": {"segment_id_field": "list", "membership_field": "active"},
    "from a path": {"segment_id": "vips", "field_mapping": {"user_id": "user.id"}},
}

texts = st.sampled_from(["u1", "u2", "u3", " u1 ", "u\u00a01", "7", "", " ", "u,1", "u\n1", "u\0", "\ud83d", "\ude00"])
ids = texts | st.sampled_from([7, 8, True, None, Decimal("7.0"), Decimal("7.5"), [], {}, 10**5000])
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
    """Keeps the words that it is given; may fail at the first of them."""

    def __init__(self, segment_id, *, fails=False):
        self.words = {}
        self.failed = False
        self._error = SegmentError(segment_id) if fails else None

    def begin(self):
        pass

    def take(self, words):
        self.words.update(words)
        if self._error is not None:
            raise self._error

    def fail(self):
        self.failed = True


class Rejections:
    """Keeps what is rejected, up to a number that is one too many."""

    def __init__(self, allowed=None):
        self.reasons = []
        self._allowed = allowed

    def add(self, record, error):
        self.reasons.append((record.data, error.reason, error.field))
        if len(self.reasons) == self._allowed:
            msg = "too many"
            raise RejectionsError(msg)


def lane_of(stream_settings, *, rejections=None, failing=()):
    """Return a lane, and what can be seen of it."""
    seen = SimpleNamespace(
        counts=MemberCounts(), rejections=rejections or Rejections(), syncs={}, failures=[], begun=[]
    )

    def make_sync(segment_id):
        seen.begun.append(segment_id)
        return seen.syncs.setdefault(segment_id, Sync(segment_id, fails=segment_id in failing))

    lane = SegmentLane(
        "people", stream_settings, seen.counts, seen.rejections, make_sync, seen.failures.append, fed_before=list
    )
    return lane, seen


def accept(lane, rows):
    lane.accept([Record(row, {}, {}) for row in rows])


def plain_words(stream, rows):
    return PlainWords(stream)(lambda name: [row.get(name) for row in rows])


def words(seen):
    return {segment_id: list(sync.words.items()) for segment_id, sync in seen.syncs.items()}


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in STREAMS.items()])
@given(rows=st.lists(records | plain_records, max_size=20), allowed=st.none() | st.integers(1, 3))
def test_many_at_once_are_many_one_by_one(stream, rows, allowed):
    together, seen_together = lane_of(settings(**stream), rejections=Rejections(allowed))
    singly, seen_singly = lane_of(settings(**stream), rejections=Rejections(allowed))
    stopped = []
    for accepting in (lambda: accept(together, rows), lambda: [accept(singly, [row]) for row in rows]):
        try:
            accepting()
        except RejectionsError:
            stopped.append(accepting)
    assert words(seen_together) == words(seen_singly)
    assert seen_together.begun == seen_singly.begun
    assert seen_together.rejections.reasons == seen_singly.rejections.reasons
    assert seen_together.counts == seen_singly.counts
    assert len(stopped) != 1


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in STREAMS.items()])
@given(rows=st.lists(records, max_size=4) | st.lists(plain_records, max_size=20))
def test_the_quick_way_says_what_the_careful_one_says_or_nothing(stream, rows):
    said = plain_words(settings(**stream), rows)
    mapper, careful = MemberMapper(settings(**stream)), {}
    try:
        for change in map(mapper, rows):
            careful.setdefault(change.segment_id or "vips", {})[change.id] = change.member
    except RecordError:
        assert said is None
    else:
        assert said is None or {name: ids for name, ids in said.items() if ids} == careful


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in STREAMS.items()])
@given(rows=st.lists(plain_records, min_size=1))
def test_plain_records_go_the_quick_way(stream, rows):
    assert plain_words(settings(**stream), rows)


@pytest.mark.parametrize("stream", [pytest.param(stream, id=name) for name, stream in STREAMS.items()])
@given(rows=st.lists(plain_records, min_size=1) | st.lists(records, min_size=1, max_size=4))
def test_columns_say_what_their_records_say_or_are_not_taken(stream, rows):
    names = tuple(dict.fromkeys(name for row in rows for name in row)) or ("user_id",)
    columns = Columns(
        names, [tuple(row.get(name) for name in names) for row in rows], [None] * len(rows), [None] * len(rows)
    )
    by_column, seen_by_column = lane_of(settings(**stream))
    by_record, seen_by_record = lane_of(settings(**stream))
    if by_column.accept_columns(columns):
        accept(by_record, rows)
        assert words(seen_by_column) == words(seen_by_record)
        assert seen_by_column.counts == seen_by_record.counts
    else:
        assert plain_words(settings(**stream), rows) is None
        assert (words(seen_by_column), seen_by_column.counts.records) == ({}, 0)


@pytest.mark.parametrize(
    ("row", "stream"),
    [
        pytest.param({"userId": "u1"}, {}, id="another default column"),
        pytest.param({"user_id": Decimal("7.0")}, {}, id="a number with a fraction"),
        pytest.param({"user_id": "u1", "_sdc_deleted_at": "2026-11-22"}, {}, id="a deleted row"),
        pytest.param({"user": {"id": "u1"}}, {"field_mapping": {"user_id": "user.id"}}, id="a path"),
    ],
)
def test_others_are_looked_at_with_care(row, stream):
    lane, seen = lane_of(settings(segment_id="vips", **stream))
    assert plain_words(lane.settings, [row]) is None
    accept(lane, [row])
    assert len(seen.syncs["vips"].words) == 1


def test_a_rejected_record_stops_nobody_else():
    lane, seen = lane_of(settings(segment_id="vips"))
    accept(lane, [{"user_id": "u1"}, {"user_id": ""}, {"user_id": "u2"}])
    assert seen.syncs["vips"].words == {"u1": True, "u2": True}
    assert seen.rejections.reasons == [({"user_id": ""}, "missing_identifier", "user_id")]
    assert seen.counts.records == 3


def test_where_no_record_may_be_rejected_those_before_it_are_taken():
    lane, seen = lane_of(settings(segment_id="vips"), rejections=Rejections(allowed=1))
    with pytest.raises(RejectionsError):
        accept(lane, [{"user_id": "u1"}, {"user_id": ""}, {"user_id": "u2"}])
    assert seen.syncs["vips"].words == {"u1": True}
    assert seen.counts.records == 2


def test_one_segment_that_fails_stops_no_other():
    lane, seen = lane_of(settings(segment_id_field="list"), failing=["vips"])
    accept(lane, [{"user_id": "u1", "list": name} for name in ("staff", "vips", "crew")])
    assert words(seen) == {"staff": [("u1", True)], "vips": [("u1", True)], "crew": [("u1", True)]}
    assert [name for name, sync in seen.syncs.items() if sync.failed] == ["vips"]
    assert [str(error) for error in seen.failures] == ["vips"]
