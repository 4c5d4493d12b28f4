"""Records that are read by type fit their schema, and have the values that any decoder reads."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.errors import InputError
from target_statsig.events.remembered import digest, digests_of
from target_statsig.singer.columns import Columns, Place, transposed
from target_statsig.singer.message import MESSAGES
from target_statsig.singer.schema import NotPlainError, RecordType, compile_check
from tests.mapped import columns_of

SAMPLES = Path(__file__).parents[1] / "data"
"""Streams as real taps wrote them."""

DRAFTS = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2020-12/schema",
]

ORDERS = {
    "type": "object",
    "properties": {
        "id": {"type": ["integer"]},
        "total": {"type": ["number", "null"]},
        "note": {"type": ["string", "null"], "maxLength": 5},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "gift": {"type": ["boolean", "null"]},
        "lines": {"type": ["array", "null"], "items": {}},
        "nested": {"type": ["object", "null"], "additionalProperties": True},
        "anything": {},
    },
    "required": ["id"],
    "$schema": DRAFTS[-1],
}
ORDER = {
    "id": 1,
    "total": 89.90,
    "note": "soon",
    "at": "yesterday",
    "gift": False,
    "lines": [1.50, None],
    "nested": {"a": {"b": 2.0}},
    "anything": "at all",
}


def line(record, **more):
    return json.dumps({"type": "RECORD", "stream": "orders", "record": record, **more}).encode()


def read(schema, *records, key_properties=()):
    """Return the rows that were read, None where they were not."""
    columns = RecordType("orders", schema, key_properties).read(b"\n".join(map(line, records)))
    return None if columns is None else rows_of(columns)


def rows_of(columns):
    return [*zip(*map(columns.get, columns.names), strict=True)]


def test_a_table_is_read_column_by_column():
    columns = RecordType("orders", ORDERS).read(
        b"\n".join([line(ORDER, time_extracted="2026-11-22"), line({**ORDER, "id": 2, "total": None})])
    )
    assert columns.names == tuple(ORDER)
    assert len(columns) == 2
    assert columns.get("id") == (1, 2)
    assert columns.get("total") == (Decimal("89.9"), None)
    assert columns.get("nested") == ({"a": {"b": Decimal("2.0")}},) * 2
    assert columns.extracted == ["2026-11-22", None]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({**ORDER, "id": None}, id="a-null-that-is-not-allowed"),
        pytest.param({**ORDER, "id": 1.0}, id="an-integer-with-a-fraction"),
        pytest.param({**ORDER, "id": "1"}, id="a-text-for-an-integer"),
        pytest.param({**ORDER, "id": True}, id="a-boolean-for-an-integer"),
        pytest.param({**ORDER, "total": True}, id="a-boolean-for-a-number"),
        pytest.param({**ORDER, "total": "89.90"}, id="a-text-for-a-number"),
        pytest.param({**ORDER, "note": "too long"}, id="a-text-that-is-too-long"),
        pytest.param({**ORDER, "gift": 0}, id="a-number-for-a-boolean"),
        pytest.param({**ORDER, "lines": {}}, id="an-object-for-a-list"),
        pytest.param({name: value for name, value in ORDER.items() if name != "id"}, id="without-a-required-column"),
        pytest.param({**ORDER, "more": 1}, id="with-an-unknown-column"),
        pytest.param([ORDER], id="no-object"),
    ],
)
def test_no_record_is_read_if_one_does_not_fit(record):
    assert read(ORDERS, ORDER) is not None
    assert read(ORDERS, ORDER, record, ORDER) is None


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(line(ORDER).replace(b"RECORD", b"STATE"), id="another-message"),
        pytest.param(line(ORDER).replace(b'"orders"', b'"others"'), id="another-stream"),
        pytest.param(line(ORDER)[:-1], id="cut-off"),
        pytest.param(line(ORDER)[:-1] + b', "more": 1}', id="an-unknown-member"),
        pytest.param(line(ORDER)[:-1] + b', "version": "\xff"}', id="no-utf-8-beside-the-record"),
        pytest.param(b"\xff", id="no-utf-8"),
        pytest.param(line(ORDER).replace(b"89.9", b"1e99999999999999999999"), id="a-number-that-is-too-large"),
        pytest.param(line(ORDER).replace(b"[1.5, null]", b"[" * 100_000), id="too-deep"),
    ],
)
def test_a_line_that_is_no_record_of_the_stream_is_not_read(lines):
    assert RecordType("orders", ORDERS).read(lines) is None


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({}, id="no-columns"),
        pytest.param({"properties": {}}, id="no-column"),
        pytest.param({"properties": [1]}, id="no-properties"),
        pytest.param({**ORDERS, "type": ["object", "null"]}, id="perhaps-no-object"),
        pytest.param({**ORDERS, "required": ["more"]}, id="requires-an-unknown-column"),
        pytest.param({**ORDERS, "required": True}, id="requires-something-odd"),
        pytest.param({**ORDERS, "minProperties": 1}, id="counts-columns"),
        pytest.param({"properties": {"a": {"type": [1]}}}, id="has-no-type"),
        pytest.param({"properties": {"a": False}}, id="refuses-a-column"),
        pytest.param({"properties": {"a": {"anyOf": [{"$ref": "#/properties/b"}]}, "b": {}}}, id="points-elsewhere"),
        pytest.param({"properties": {'a"b': {}}}, id="names-a-column-with-a-quotation-mark"),
    ],
)
def test_a_schema_with_more_than_columns_has_no_record_type(schema):
    with pytest.raises(NotPlainError):
        RecordType("orders", schema)


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        pytest.param({"enum": [1, "a"]}, 1, 2, id="names-values"),
        pytest.param({"type": "string", "pattern": "^x"}, "xy", "y", id="has-a-pattern"),
        pytest.param({"type": "integer", "minimum": 0.5}, 1, 0, id="has-an-odd-bound"),
        pytest.param({"type": ["number", "string"], "maxLength": 2}, "ab", "abc", id="bounds-one-of-two"),
        pytest.param({"type": "number", "minimum": 0}, 0.5, -0.5, id="bounds-a-number"),
        pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 1, id="has-alternatives"),
        pytest.param(
            {"type": "object", "properties": {"b": {"type": "integer"}}}, {"b": 1}, {"b": "1"}, id="an-object"
        ),
        pytest.param({"type": "array", "items": {"type": "string"}}, ["a"], [1], id="a-list"),
    ],
)
def test_a_column_with_more_than_a_type_is_validated_after_decoding(column, good, bad):
    schema = {"properties": {"id": {"type": "integer"}, "a": column}}
    assert read(schema, {"id": 1, "a": good}, {"id": 2}) is not None
    assert read(schema, {"id": 1, "a": good}, {"id": 2, "a": bad}) is None


def test_a_column_is_validated_by_the_draft_of_the_whole_schema():
    old = {"type": "integer", "minimum": 1, "exclusiveMinimum": True}  # as draft 4 has it
    assert read({"properties": {"a": {"type": ["string", "null"]}, "b": old}}, {"b": 2}, {"a": None}) is not None
    assert read({"properties": {"a": {"type": ["string", "null"]}, "b": old}}, {"b": 1}) is None


def test_a_missing_column_is_not_the_same_as_null():
    columns = RecordType("orders", ORDERS).read(
        b"\n".join(map(line, [ORDER, {"id": 2, "note": None}, {"id": 3, "total": 1.5}]))
    )
    assert [*columns.get("note")] == ["soon", None, None]
    assert [[*columns.has(name)] for name in ("note", "total", "gift")] == [
        [True, True, False],
        [True, False, True],
        [True, False, False],
    ]
    assert digests_of(columns) == [
        digest(
            {**ORDER, "total": Decimal("89.9"), "lines": [Decimal("1.5"), None], "nested": {"a": {"b": Decimal("2.0")}}}
        ),
        digest({"id": 2, "note": None}),
        digest({"id": 3, "total": Decimal("1.5")}),
    ]


def test_a_schema_that_lacks_a_key_column_has_no_record_type():
    with pytest.raises(NotPlainError):
        RecordType("orders", ORDERS, ["more"])


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.singer")), ids=lambda path: path.stem)
def test_records_of_real_taps_are_read_by_type(sample):
    types, read_of = {}, {}
    for text in sample.read_bytes().splitlines():
        message = json.loads(text)
        if message["type"] == "SCHEMA":
            types[message["stream"]] = RecordType(message["stream"], message["schema"], message["key_properties"])
        elif message["type"] == "RECORD":
            read_of.setdefault(message["stream"], []).append(types[message["stream"]].read(text) is not None)
    assert {stream for stream, found in read_of.items() if any(found)} == types.keys()


KINDS = st.sampled_from(["null", "boolean", "integer", "number", "string", "object", "array"])
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | st.lists(KINDS, min_size=1, max_size=3, unique=True),
        "maxLength": st.integers(0, 3),
        "minLength": st.integers(0, 2),
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2) | st.just(2**70),
        "format": st.just("date-time"),
        "items": st.just({}) | st.just({"type": "string"}),
        "additionalProperties": st.booleans() | st.just({}),
        "enum": st.just([1, "a", None]),
        "description": st.text(max_size=2),
        "contentEncoding": st.just("base64"),
        "pattern": st.just("^a"),
        "properties": st.just({"id": {"type": ["integer", "string"]}, "ü": {"type": "null"}}),
        "required": st.just(["id"]),
    },
)
NAMED = ["id", "a b", "ü", "c.d"]
NAMES = st.sampled_from(NAMED)
SCHEMAS = st.fixed_dictionaries(
    {"properties": st.dictionaries(NAMES, WORDS | st.booleans(), min_size=1)},
    optional={
        "$schema": st.sampled_from(DRAFTS),
        "required": st.lists(NAMES, min_size=1, max_size=2, unique=True),
        "type": st.just("object"),
        "additionalProperties": st.booleans(),
    },
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(-3, 3) | st.just(10**30)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(NAMES, SCALARS, max_size=2)


@given(st.data())
def test_records_read_by_type_fit_their_schema_and_keep_their_values(data):
    schema = data.draw(SCHEMAS)
    try:
        record_type, fits = RecordType("orders", schema), compile_check("orders", schema)
    except (NotPlainError, InputError):
        return
    full = st.fixed_dictionaries(dict.fromkeys(schema["properties"], VALUES))
    records = full if data.draw(st.booleans()) else st.dictionaries(NAMES, VALUES)
    lines = [line(record) for record in data.draw(st.lists(records, min_size=1, max_size=3))]
    found = record_type.read(b"\n".join(lines))
    if found is not None:
        decoded = [MESSAGES.decode(one)["record"] for one in lines]
        assert all(map(fits, decoded))
        # As text, because in Python True equals 1, and 1 equals 1.0.
        assert [[*map(repr, found.get(name))] for name in NAMED] == [
            [repr(record.get(name)) for record in decoded] for name in NAMED
        ]
        assert {*found.names} == {name for record in decoded for name in record}
        assert [[*found.has(name)] for name in NAMED] == [[name in record for record in decoded] for name in NAMED]
        assert digests_of(found) == [*map(digest, decoded)]


@given(st.lists(st.dictionaries(NAMES, VALUES), max_size=5))
def test_transposed_objects_keep_their_values(objects):
    columns = transposed(objects)
    assert columns.keys() == {name for each in objects for name in each}
    for name, column in columns.items():
        assert [*map(repr, column)] == [repr(each.get(name)) for each in objects]


def test_columns_of_ragged_records_have_null_for_missing_values():
    columns = columns_of(
        {"a": 1, "b": {"c": 2, "d": {"e": 3}}}, {"b": "no object"}, {"f": None, "a": 4}, extracted="now"
    )
    assert (len(columns), columns.names) == (3, ("a", "b", "f"))
    assert [*columns.get("a")] == [1, None, 4]
    assert [*columns.get("none")] == [None] * 3
    assert [*columns.at(Place("b", ("c",)))] == [2, None, None]
    assert [*columns.at(Place("b", ("d", "e")))] == [3, None, None]
    assert [*columns.has("f")] == [False, False, True]
    some = columns.take([2, 0])
    assert ([*some.get("a")], some.extracted) == ([4, 1], ["now", "now"])


def test_columns_of_rows_and_of_objects_have_the_same_values():
    records = [{"a": 1, "b": {"c": 2}}, {"a": None, "b": None}, {"a": 3, "b": {}}]
    columns = {"a": [1, None, 3], "b": [{"c": 2}, None, {}]}
    of_rows = Columns(columns, extracted=[None] * 3, versions=[7, 8, 9])
    of_objects = columns_of(*records)
    for place in (Place("a"), Place("b", ("c",)), Place("none")):
        assert [*(of_rows.at(place) or [])] == [*(of_objects.at(place) or [])]
    assert [*of_rows.has("b")] == [True] * 3
    assert [*of_rows.has("none")] == [False] * 3
    some = of_rows.take([2, 1])
    assert ([*some.get("a")], some.versions) == ([3, None], [9, 8])
