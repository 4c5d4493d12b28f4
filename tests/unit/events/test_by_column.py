"""A table becomes, column by column, what its records become one by one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from target_statsig.events.prepare import Preparation
from target_statsig.events.stream import Bounds, ItemStream
from target_statsig.object_types import EVENTS
from target_statsig.settings import (
    Compression,
    EventPreset,
    InvalidEventName,
    ObjectType,
    StreamSettings,
    Tier,
    TimeUnit,
)
from target_statsig.validation import RecordCheck

NOW = 1_717_632_000_000
"""2024-06-06T00:00:00Z, unix milliseconds."""

PLAIN = {"event": "order", "user_id": "u1", "timestamp": "2024-06-05T12:00:00.250Z", "value": 1.50, "note": "hi"}


def line(record, **more):
    return json.dumps({"type": "RECORD", "stream": "orders", "record": record, **more}).encode()


def prepare(records, way, **settings):
    """Return what was prepared of records that all have the columns of the first."""
    schema = {"properties": dict.fromkeys(records[0], True)}
    stream = ItemStream("orders", StreamSettings(ObjectType.EVENT, **settings), EVENTS, Bounds(500, 100_000))
    stream.replication_key = "timestamp"
    preparation = Preparation(stream, RecordCheck("orders", schema, []), remembers=True, compression=Compression.NONE)
    lines = b"\n".join(line(record, time_extracted="2024-06-05T23:00:00Z") for record in records)
    return getattr(preparation, way)(lines, len(records), NOW)


def alike(one, other):
    """Return whether the same was prepared; the members of an object may stand in any order."""
    return json.loads(one.body) == json.loads(other.body) and replace(one, body=b"") == replace(other, body=b"")


@pytest.mark.parametrize(
    ("records", "settings"),
    [
        pytest.param([PLAIN, {**PLAIN, "user_id": "u2", "note": None}], {}, id="ordinary"),
        pytest.param([PLAIN], {"event_name": "purchase", "environment_tier": Tier.STAGING}, id="one-name-and-a-tier"),
        pytest.param(
            [PLAIN, {**PLAIN, "event": "a;b"}], {"invalid_event_name": InvalidEventName.SANITIZE}, id="renamed"
        ),
        pytest.param([{**PLAIN, "event": "page"}], {"event_preset": EventPreset.DEFAULT}, id="preset"),
        pytest.param([PLAIN, {**PLAIN, "timestamp": "2019-01-01"}], {}, id="an-old-time"),
        pytest.param([{**PLAIN, "timestamp": 1_717_600_000}], {"time_unit": TimeUnit.SECONDS}, id="a-numeric-time"),
        pytest.param([PLAIN, {**PLAIN, "timestamp": None}], {}, id="no-time"),
        pytest.param([{"event": "order", "user_id": 7}], {}, id="no-time-at-all"),
        pytest.param([{**PLAIN, "value": None}, {**PLAIN, "value": "1.50"}], {}, id="a-value-in-a-text"),
        pytest.param([{**PLAIN, "value": True}, {**PLAIN, "value": [1]}], {}, id="values-that-are-no-numbers"),
        pytest.param([{**PLAIN, "note": True}, {**PLAIN, "note": {"a": 1.0}}], {}, id="metadata-of-any-kind"),
        pytest.param([{**PLAIN, "note": None}], {}, id="no-metadata"),
        pytest.param([PLAIN], {"metadata_fields": []}, id="no-metadata-wanted"),
        pytest.param([PLAIN], {"metadata_fields": ["note", "value"]}, id="some-metadata-wanted"),
        pytest.param([PLAIN], {"metadata_fields": ["*", "note"]}, id="metadata-wanted-twice"),
        pytest.param([{**PLAIN, "a.b": 1, "_sdc_batched_at": "now"}], {}, id="names-with-a-dot-or-for-singer"),
        pytest.param(
            [{**PLAIN, "company": "c1"}, {**PLAIN, "company": None, "stable_id": " s1 "}],
            {"custom_ids": {"companyID": "company"}},
            id="columns-that-differ",
        ),
        pytest.param(
            [{**PLAIN, "company": "c1", "user_id": None}, {**PLAIN, "company": None}, {**PLAIN, "company": ""}],
            {"custom_ids": {"companyID": "company"}},
            id="somebody-else-each-time",
        ),
        pytest.param([{**PLAIN, "email": "a@b.c", "country": None}], {}, id="a-user-with-more"),
        pytest.param([{**PLAIN, "event": name} for name in (1, 1.5, 1)], {}, id="names-of-digits"),
    ],
)
def test_a_table_becomes_the_same_by_column(records, settings):
    if len({tuple(record) for record in records}) > 1:
        assert prepare(records, "_by_column", **settings) is None
    else:
        by_column = prepare(records, "_by_column", **settings)
        assert by_column is not None
        assert by_column == prepare(records, "_one_by_one", **settings)


@pytest.mark.parametrize(
    ("odd", "settings"),
    [
        pytest.param({"event": None}, {}, id="no-name"),
        pytest.param({"event": ["order"]}, {}, id="a-name-that-is-none"),
        pytest.param({"event": True}, {}, id="a-name-that-is-an-answer"),
        pytest.param({"event": "a;b"}, {}, id="a-name-that-statsig-drops"),
        pytest.param({"user_id": " "}, {}, id="nobody"),
        pytest.param({"timestamp": "never"}, {}, id="a-time-that-is-none"),
        pytest.param({"value": 1e-300}, {}, id="a-number-with-an-exponent"),
        pytest.param({"value": 1e300}, {}, id="a-large-number-with-an-exponent"),
        pytest.param({"note": "x" * 100_000}, {}, id="too-large"),
    ],
)
def test_a_single_odd_record_is_left_to_others_with_all_that_came_with_it(odd, settings):
    assert prepare([PLAIN, {**PLAIN, **odd}, PLAIN], "_by_column", **settings) is None


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        pytest.param({"custom": {"plan": "pro"}}, {}, id="custom-attributes"),
        pytest.param({"marketing_consent": True}, {}, id="consent"),
        pytest.param({"revenue": 1}, {}, id="two-columns-for-a-value"),
        pytest.param({"properties": {"a": 1}}, {}, id="properties"),
        pytest.param({"traits": {"email": "a@b.c"}}, {}, id="a-user-within-an-object"),
        pytest.param({"a.b": 1, "a_b": 2}, {}, id="two-columns-for-a-key"),
        pytest.param({'a"b': 1}, {}, id="a-name-with-a-quotation-mark"),
        pytest.param({"nested": {"a": 1}}, {"metadata_fields": ["nested.a"]}, id="metadata-within-an-object"),
        pytest.param({"stable_id": "s1", "a": ""}, {"custom_ids": {"stableID": "a"}}, id="two-columns-for-an-id"),
    ],
)
def test_where_each_record_must_be_looked_at_it_is(columns, settings):
    assert prepare([{**PLAIN, **columns}], "_by_column", **settings) is None
    assert prepare([{**PLAIN, **columns}], "_one_by_one", **settings) is not None


TEXTS = st.text(max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False) | st.just("1e5")
TIMES = st.sampled_from(["2024-06-05T12:00:00", "2024-06-05 12:00:00.123456+02:00", "1999-12-31"])
NAMES = st.sampled_from(["order", "page", " refund "])
PEOPLE = st.sampled_from(["u1", " u2", "u3"])
PLAIN_COLUMNS = {
    "event": NAMES,
    "user_id": PEOPLE,
    "anonymous_id": PEOPLE | st.none(),
    "email": TEXTS | st.none(),
    "timestamp": TIMES,
    "value": st.none() | st.integers() | st.floats(-1e6, 1e6).map(lambda number: round(number, 2)),
    "a": SCALARS,
    "b.c": TEXTS,
    "_sdc_lsn": st.integers(),
}
ODD_COLUMNS = {
    "event": NAMES | st.sampled_from(["a;b", "", None, 1, True, 1.5]),
    "user_id": PEOPLE | st.sampled_from(["", None, 7, 7.5, True]),
    "timestamp": TIMES | st.sampled_from(["never", None, 7]),
    "event_time": TIMES,
    "value": SCALARS,
    "revenue": SCALARS,
    "a": SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(TEXTS, SCALARS, max_size=2),
    "custom": SCALARS,
    "properties": st.dictionaries(TEXTS, SCALARS, max_size=2),
}
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "event_name": st.sampled_from(["order", "a;b"]),
        "event_preset": st.sampled_from(EventPreset),
        "invalid_event_name": st.sampled_from(InvalidEventName),
        "environment_tier": st.sampled_from(Tier),
        "time_unit": st.sampled_from(TimeUnit),
        "custom_ids": st.sampled_from([{"companyID": "a"}, {"x y": "b.c"}, {"stableID": "a"}]),
        "field_mapping": st.sampled_from([{"user_id": "a"}, {"event_value": "b.c", "event_time": "timestamp"}]),
        "metadata_fields": st.sampled_from([[], ["*"], ["a", "b.c"], ["*", "value"], ["properties"]]),
    },
)


@given(st.data())
def test_whatever_is_mapped_by_column_is_what_it_is_one_by_one(data):
    names = st.lists(st.sampled_from(sorted(PLAIN_COLUMNS)), unique=True)
    odd_names = st.lists(st.sampled_from(sorted(ODD_COLUMNS)), max_size=1)
    columns = {name: PLAIN_COLUMNS[name] for name in ["event", "user_id", *data.draw(names)]}
    columns |= {name: ODD_COLUMNS[name] for name in data.draw(odd_names)}
    records = data.draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=4))
    settings = data.draw(SETTINGS)
    by_column = prepare(records, "_by_column", **settings)
    assert by_column is None or alike(by_column, prepare(records, "_one_by_one", **settings))
