"""What a tap would have sent: the same values, the same digests and the same requests, however a table is cut."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from target_statsig.config.choices import Compression
from target_statsig.config.settings import StreamSettings
from target_statsig.engine import prepare_batches
from target_statsig.engine.arrow import check_schema, read_columns, singer_schema
from target_statsig.engine.table import VERSION, Row, pack_source, to_rows
from target_statsig.errors import InputError
from target_statsig.events.items import EVENTS
from target_statsig.events.prepare import Limits, Preparation
from target_statsig.events.remembered import encoded_and_digests
from target_statsig.singer.columns import Columns
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.store.ledger import each

CONFIG = {"streams": {"orders": {"object_type": "event", "event_name": "order"}}}

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)

BERLIN = ZoneInfo("Europe/Berlin")

FIRST, LAST = dt.datetime.fromisoformat("0001-01-03"), dt.datetime.fromisoformat("9999-12-28")

FLOATS = st.floats(-9, 9).map(lambda value: round(value, 3)) | st.floats()

COLUMNS = {
    "user_id": (pa.string(), st.text(min_size=1, max_size=9)),
    "n": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "u": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "is_new": (pa.bool_(), st.booleans()),
    "ratio": (pa.float64(), FLOATS),
    "share": (pa.float32(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "amount": (pa.decimal128(38, 10), st.decimals(-(10**20), 10**20, places=10)),
    "whole": (pa.decimal128(38, 0), st.integers(-(10**37), 10**37).map(Decimal)),
    "timestamp": (
        pa.timestamp("us", "Europe/Berlin"),
        st.datetimes(FIRST, LAST, timezones=st.sampled_from([dt.UTC, BERLIN])),
    ),
    "local": (pa.timestamp("us"), st.datetimes()),
    "day": (pa.date32(), st.dates()),
    "at": (pa.time64("us"), st.times()),
    "blob": (pa.binary(), st.binary(max_size=5)),
    "tags": (pa.list_(pa.decimal128(9, 2)), st.lists(st.none() | st.decimals(-99, 99, places=2), max_size=3)),
    "traits": (
        pa.struct([("plan", pa.string()), ("since", pa.timestamp("ms", "UTC"))]),
        st.fixed_dictionaries({"plan": st.none() | st.text(max_size=3), "since": st.none() | st.just(NOON)}),
    ),
    "scores": (
        pa.struct([("all", pa.list_(pa.float64())), ("best", pa.float64())]),
        st.tuples(st.none() | st.lists(FLOATS, max_size=2), st.none() | FLOATS).map(
            lambda scores: dict(zip(("all", "best"), scores, strict=True))
        ),
    ),
    "props": (
        pa.map_(pa.string(), pa.list_(pa.int32())),
        st.dictionaries(st.text(max_size=3), st.none() | st.lists(st.integers(0, 9), max_size=2), max_size=2),
    ),
    "nothing": (pa.null(), st.none()),
}

ROWS = st.lists(
    # Without a time it would be that of the reading.
    st.fixed_dictionaries(
        {name: values if name == "timestamp" else st.none() | values for name, (_, values) in COLUMNS.items()}
    ),
    min_size=1,
    max_size=6,
)


def as_arrow(rows):
    schema = pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def as_tap(value):
    """Return what a tap in Python makes of a value of its database driver."""
    if isinstance(value, dict):
        return {name: as_tap(member) for name, member in value.items()}
    if isinstance(value, list):
        return [*map(as_tap, value)]
    if isinstance(value, float):
        return msgspec.Raw(json.dumps(value).encode())
    if isinstance(value, dt.datetime) and value.tzinfo:
        value = value.astimezone(dt.UTC)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def exact(value):
    """Return a value with its floats as the decimals that they print as, and NaN, which equals nothing, as a text."""
    if isinstance(value, dict):
        return {name: exact(member) for name, member in value.items()}
    if isinstance(value, list):
        return [*map(exact, value)]
    number = Decimal(repr(value)) if isinstance(value, float) else value
    return str(number) if isinstance(number, Decimal) and number.is_nan() else number


def short(row):
    """Return a row as a tap reads it whose driver gives a float of 32 bits the digits that mean it."""
    share = row["share"]
    printed = None if share is None else float(pa.scalar(share, pa.float32()).cast(pa.string()).as_py())
    return {**row, "share": printed}


def through_singer(rows, settings):
    encode = msgspec.json.Encoder(decimal_format="number").encode
    lines = [
        encode({"type": "RECORD", "stream": "orders", "record": as_tap(short(row)), "time_extracted": "2026-01-31"})
        for row in rows
    ]
    reader = RecordReader("orders", "orders", {"properties": {}}, (), validates=False)
    prepare = Preparation(reader, settings, EVENTS, True, Compression.GZIP, None)
    prepared = prepare(Batch([line + b"\n" for line in lines]), Limits(500, 10**6, 10**6), 0)
    sent = prepared.requests
    rejected = [(reason, field) for _, reason, field in prepared.rejected]
    return [*each(b"".join(one.digests for one in sent))], items_of(sent), rejected


def items_of(requests):
    bodies = [json.loads(isal_zlib.decompress(each.body, 31), parse_float=Decimal) for each in requests]
    return [item for body in bodies for item in body["events"]]


def through_the_engine(batches, partition=0):
    rows = [
        row for batch in prepare_batches(CONFIG, "orders")(iter(batches), partition=partition) for row in to_rows(batch)
    ]
    sent = [row.request for row in rows if row.request is not None]
    rejected = [(reason, field) for row in rows for _, reason, field in row.rejections]
    return [*each(b"".join(one.digests for one in sent))], items_of(sent), rejected


@given(ROWS, st.data())
def test_a_row_is_the_same_whether_it_comes_by_arrow_or_by_a_tap_and_however_the_table_is_cut(rows, data):
    settings = StreamSettings("event", event_name="order")
    digests, items, rejected = through_singer(rows, settings)
    batch = as_arrow(rows)
    cut = data.draw(st.integers(0, len(rows)))
    for batches in ([batch], [batch.slice(0, cut), batch.slice(cut)]):
        assert through_the_engine(batches) == (digests, items, rejected)
    parts = [through_the_engine([part], number) for number, part in enumerate((batch.slice(0, cut), batch.slice(cut)))]
    assert [digest for part in parts for digest in part[0]] == digests


@given(ROWS)
def test_the_lines_of_the_source_are_the_rows(rows):
    columns = read_columns([as_arrow(rows)])
    names, values, _ = encoded_and_digests(Columns(columns, extracted=[None] * len(rows), versions=[None] * len(rows)))
    source = pack_source("2026-01-31T12:00:00+00:00", dict.fromkeys(names), values)
    row = Row(VERSION, "", "orders", 0, 0, 0, is_last=True, source=source)
    schema = json.loads(singer_schema("orders", as_arrow(rows).schema))["schema"]
    read = RecordReader("orders", "orders", schema, (), validates=True).read(Batch(row.lines))
    finite = [row for row in range(len(rows)) if math.isfinite(rows[row]["ratio"] or 0)]
    assert [*read.rows] == finite
    for name, values in columns.items():
        assert exact([*read.source.get(name)]) == exact([values[row] for row in finite])


@pytest.mark.parametrize(
    ("array", "value"),
    [
        pytest.param(pa.array([0.1], pa.float32()), Decimal("0.1"), id="float of 32 bits"),
        pytest.param(pa.array([1e16]), Decimal("1E+16"), id="large float"),
        pytest.param(pa.array([1.0]), Decimal("1.0"), id="whole float"),
        pytest.param(pa.array([Decimal(12)], pa.decimal256(60, 0)), 12, id="whole decimal"),
        pytest.param(pa.array([Decimal("12.50")]), Decimal("12.50"), id="decimal"),
        pytest.param(pa.array([NOON], pa.timestamp("s", "Asia/Tokyo")), "2026-01-31T12:00:00+00:00", id="instant"),
        pytest.param(pa.array([NOON], pa.timestamp("ms", "+02:00")), "2026-01-31T12:00:00+00:00", id="offset"),
        pytest.param(pa.array([1], pa.timestamp("ns", "UTC")), "1970-01-01T00:00:00.000000001+00:00", id="nanosecond"),
        pytest.param(pa.array([10**9], pa.timestamp("ns")), "1970-01-01T00:00:01", id="nanoseconds of a second"),
        pytest.param(pa.array([1_500], pa.timestamp("ms")), "1970-01-01T00:00:01.500000", id="millisecond"),
        pytest.param(pa.array([-1], pa.timestamp("us")), "1969-12-31T23:59:59.999999", id="before 1970, no zone"),
        pytest.param(pa.array([86_400_000], pa.date64()), "1970-01-02", id="date of 64 bits"),
        pytest.param(pa.array([4_000_000], pa.date32()), "12921-08-18", id="year beyond Python's"),
        pytest.param(pa.array([3_723], pa.time32("s")), "01:02:03", id="time of 32 bits"),
        pytest.param(pa.array(["a"], pa.large_string()), "a", id="large text"),
        pytest.param(pa.array(["a"], pa.string_view()), "a", id="text view"),
        pytest.param(pa.array([b"ab"], pa.binary(2)), "YWI=", id="binary of fixed size"),
        pytest.param(pa.array(["a"]).dictionary_encode(), "a", id="dictionary"),
        pytest.param(pa.array([[1, 2]], pa.list_(pa.int8(), 2)), [1, 2], id="list of fixed size"),
        pytest.param(
            pa.array([[(1, "a"), (2, None)]], pa.map_(pa.int32(), pa.string())),
            {"1": "a", "2": None},
            id="map of numbers",
        ),
        pytest.param(pa.array([{}], pa.struct([])), {}, id="empty struct"),
    ],
)
def test_a_value_is_what_a_tap_would_have_sent(array, value):
    (found,) = read_columns([pa.RecordBatch.from_arrays([array], ["x"])])["x"]
    assert exact(found) == value
    assert str(found) == str(value)


def test_moments_with_and_without_nanoseconds_stand_beside_each_other_and_beside_nulls():
    array = pa.array([1, None, 1_000, 2_000_000_000], pa.timestamp("ns", "UTC"))
    assert read_columns([pa.RecordBatch.from_arrays([array], ["at"])])["at"] == [
        "1970-01-01T00:00:00.000000001+00:00",
        None,
        "1970-01-01T00:00:00.000001+00:00",
        "1970-01-01T00:00:02+00:00",
    ]


def test_a_column_may_have_a_name_that_json_has_to_escape():
    batch = pa.RecordBatch.from_arrays([pa.array(["u1"]), pa.array([1])], ["user_id", 'a "name"'])
    _, items, _ = through_the_engine([batch])
    assert items[0]["metadata"] == {'a "name"': "1"}


def test_a_part_of_a_table_is_read_as_the_whole():
    rows = [
        {"l": [[1], None, []], "m": [("a", 1)], "s": {"x": 1.5}},
        {"l": None, "m": None, "s": None},
        {"l": [], "m": []},
    ]
    lists, maps = pa.list_(pa.list_(pa.int32())), pa.map_(pa.string(), pa.int32())
    schema = pa.schema([("l", lists), ("m", maps), ("s", pa.struct([("x", pa.float64())]))])
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    whole = read_columns([batch])
    assert whole["l"] == [[[1], None, []], None, []]
    assert whole["m"] == [{"a": 1}, None, {}]
    assert whole["s"] == [{"x": Decimal("1.5")}, None, None]
    assert read_columns([batch.slice(1)]) == {name: values[1:] for name, values in whole.items()}


def test_lists_of_a_fixed_size_may_hold_maps_to_nothing_but_null():
    maps = pa.MapArray.from_arrays(pa.array([0, 1, 2, 4, 4], pa.int32()), pa.array([*"abcd"]), pa.nulls(4))
    lists = pa.FixedSizeListArray.from_arrays(maps, 2)
    first, second = [{"a": None}, {"b": None}], [{"c": None, "d": None}, {}]
    assert read_columns([pa.RecordBatch.from_arrays([lists], ["x"])])["x"] == [first, second]
    assert read_columns([pa.RecordBatch.from_arrays([lists.slice(1)], ["x"])])["x"] == [second]
    nothing = pa.FixedSizeListArray.from_arrays(maps, 2, mask=pa.array([True, False]))
    assert read_columns([pa.RecordBatch.from_arrays([nothing], ["x"])])["x"] == [None, second]


def test_a_text_that_is_no_unicode_is_rejected_and_the_others_go():
    names = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"ok\xff")]
    )
    batch = pa.RecordBatch.from_arrays([names, names], ["user_id", "note"])
    digests, items, rejected = through_the_engine([batch])
    assert [item["user"] for item in items] == [{"userID": "ok"}]
    assert rejected == [("not_encodable", None)]
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        pytest.param(pa.schema([("a", pa.int8()), ("a", pa.int8())]), "Two columns are named `a`", id="twice"),
        pytest.param(pa.schema([]), "no columns", id="none"),
        pytest.param(
            pa.schema([("v", pa.struct([pa.field("metadata", pa.binary(), metadata={"variant": "true"})]))]),
            "Column `v`",
            id="variant",
        ),
        pytest.param(pa.schema([("took", pa.duration("s"))]), "Column `took`: the type duration[s]", id="duration"),
        pytest.param(
            pa.schema([("a", pa.map_(pa.string(), pa.list_(pa.month_day_nano_interval())))]), "Column `a`", id="inner"
        ),
    ],
)
def test_columns_that_json_has_no_form_for_are_named(schema, words):
    with pytest.raises(InputError, match=words.replace("[", r"\[")):
        check_schema(schema)
