from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import pytest

from target_statsig.config.choices import MetadataTypes, ObjectType
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.events.metadata import MetadataMapper
from tests.mapped import columns_of, item_of

_ENCODER = msgspec.json.Encoder(decimal_format="number")

FED = (("user_id", "userId"), ("event_value", "revenue", "properties.revenue", "value"), ("email", "traits.email"))


def metadata_of(record, *metadata_fields, fed=FED, types=MetadataTypes.TEXT):
    faults = {}
    settings = StreamSettings(ObjectType.EVENT, metadata_fields=metadata_fields or ("*",), metadata_types=types)
    (metadata,) = MetadataMapper(settings, fed)(columns_of(record), faults)
    if faults:
        raise faults[0]
    return {} if metadata is None else msgspec.json.decode(_ENCODER.encode(metadata))


@pytest.mark.parametrize(
    ("value", "as_text"),
    [
        pytest.param("text ", "text ", id="text"),
        pytest.param(Decimal("19.90"), "19.90", id="decimal"),
        pytest.param(1e21, "1000000000000000000000", id="plain-decimal"),
        pytest.param(False, "false", id="boolean"),
        pytest.param(dt.datetime(2024, 6, 6, 12, tzinfo=dt.UTC), "2024-06-06T12:00:00+00:00", id="time"),
        pytest.param({"a": [1, {"b": None}]}, '{"a":[1,{"b":null}]}', id="object"),
        pytest.param([1, "2"], '[1,"2"]', id="list"),
    ],
)
def test_every_value_becomes_a_text(value, as_text):
    assert metadata_of({"column": value}) == {"column": as_text}
    assert metadata_of({"properties": {"member": value}}) == {"member": as_text}
    assert metadata_of({"column": value}, "column") == {"column": as_text}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param("text ", "text ", id="text"),
        pytest.param(12, 12, id="whole number"),
        pytest.param(Decimal("19.90"), 19.9, id="decimal"),
        pytest.param(1e21, 10**21, id="no exponent"),
        pytest.param(False, False, id="boolean"),
        pytest.param(dt.datetime(2024, 6, 6, 12, tzinfo=dt.UTC), "2024-06-06T12:00:00+00:00", id="time"),
        pytest.param({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, id="object"),
        pytest.param([1, "2"], [1, "2"], id="list"),
    ],
)
def test_every_value_may_be_sent_as_it_is(value, sent):
    assert metadata_of({"column": value, "no": None}, types=MetadataTypes.TYPED) == {"column": sent}
    assert metadata_of({"properties": {"member": value}}, types=MetadataTypes.TYPED) == {"member": sent}
    assert metadata_of({"column": value}, "column", types=MetadataTypes.TYPED) == {"column": sent}


def test_nulls_are_left_out():
    record = {"a": None, "properties": {"b": None}}
    assert metadata_of(record) == metadata_of(record, "a", "properties.b") == {}
    assert metadata_of({"properties": None}) == {}


@pytest.mark.parametrize(
    ("record", "metadata"),
    [
        pytest.param({"user_id": "u", "plan": "pro"}, {"plan": "pro"}, id="what-fed-a-field-is-out"),
        pytest.param({"user_id": "u", "userId": "v"}, {"userId": "v"}, id="what-was-not-needed-is-in"),
        pytest.param({"user_id": None, "userId": "v"}, {}, id="what-stood-in-is-out"),
        pytest.param({"revenue": "9", "value": "gold"}, {"value": "gold"}, id="unused-value"),
        pytest.param({"properties": {"revenue": "9", "a": "b"}}, {"a": "b"}, id="member-that-fed-a-field"),
        pytest.param({"revenue": "9", "properties": {"revenue": "8"}}, {"revenue": "8"}, id="unused-member"),
        pytest.param({"properties": {"a": "b"}, "value": "9"}, {"a": "b"}, id="last-source"),
        pytest.param({"properties": {"revenue": None}, "value": "9"}, {}, id="null-member-then-last-source"),
        pytest.param({"properties__revenue": "9", "properties__a": "b"}, {"a": "b"}, id="flattened"),
        pytest.param({"properties__a__b": "c"}, {"a__b": "c"}, id="flattened-twice"),
        pytest.param({"properties": "no object"}, {"properties": "no object"}, id="properties-that-is-no-object"),
        pytest.param(
            {"page.url": "/x", "properties": {"utm.source": "y"}}, {"page_url": "/x", "utm_source": "y"}, id="dots"
        ),
        pytest.param({"a": "column", "properties": {"a": "member"}}, {"a": "member"}, id="a-member-wins"),
    ],
)
def test_everything_is_what_fed_no_other_field(record, metadata):
    assert metadata_of(record) == metadata


@pytest.mark.parametrize(
    ("record", "metadata"),
    [
        pytest.param({"a_b": 1, "a.b": 2}, {"a_b": "1"}, id="the-one-without-a-dot"),
        pytest.param({"a": 1, "properties__a": 2}, {"a": "2"}, id="a-flattened-member"),
        pytest.param({"a_b": None, "a.b": 2, "c": 3}, {"a_b": "2", "c": "3"}, id="the-one-that-is-not-null"),
        pytest.param({"properties": {"a.b": 1, "a_b": 2}}, {"a_b": "2"}, id="members"),
    ],
)
def test_of_several_columns_for_one_key_the_same_one_wins_in_any_order(record, metadata):
    backwards = {
        name: dict(reversed(value.items())) if isinstance(value, dict) else value
        for name, value in reversed(record.items())
    }
    assert metadata_of(record) == metadata_of(backwards) == metadata


@pytest.mark.parametrize(
    "column",
    [
        *("_sdc_batched_at", "_sdc_extracted_at", "_sdc_deleted_at", "_sdc_lsn"),
        *("context", "traits", "consent", "privateAttributes", "private_attributes"),
        *("context__ip", "traits__email", "consent__marketing", "context__app__version", "privateAttributes__a"),
        *("context.ip", "traits.email"),
    ],
)
def test_some_columns_never_go_there(column):
    assert metadata_of({column: "x", "contextual": "y"}) == {"contextual": "y"}


@pytest.mark.parametrize("source", ["_sdc_lsn", "context", "traits", "consent", "privateAttributes.a"])
def test_not_even_by_name(source):
    record = {
        "_sdc_lsn": 1,
        "context": {"a": 1},
        "traits": {"a": 1},
        "consent": {"a": 1},
        "privateAttributes": {"a": 1},
    }
    assert metadata_of(record, source) == {}


def test_private_attributes_among_the_properties_stay_out_too():
    assert metadata_of({"properties": {"privateAttributes": {"a": 1}, "b": "c"}}) == {"b": "c"}


@pytest.mark.parametrize(
    ("metadata_fields", "metadata"),
    [
        pytest.param(["plan"], {"plan": "pro"}, id="column"),
        pytest.param(["page.url"], {"page_url": "/x"}, id="path"),
        pytest.param(["context.page.url"], {"context_page_url": "/y"}, id="path-into-a-container"),
        pytest.param(["user_id"], {"user_id": "u"}, id="also-what-fed-a-field"),
        pytest.param(["properties"], {"coupon": "X"}, id="properties"),
        pytest.param(["properties.coupon"], {"properties_coupon": "X"}, id="member-of-properties"),
        pytest.param(["missing", "plan"], {"plan": "pro"}, id="missing"),
        pytest.param(
            ["*", "context.page.url"],
            {"plan": "pro", "page": '{"url":"/x"}', "coupon": "X", "context_page_url": "/y"},
            id="everything-and-more",
        ),
    ],
)
def test_sources_can_be_named(metadata_fields, metadata):
    record = {
        "user_id": "u",
        "plan": "pro",
        "page": {"url": "/x"},
        "context": {"page": {"url": "/y"}},
        "properties": {"coupon": "X", "revenue": 5},
    }
    assert metadata_of(record, *metadata_fields) == metadata


def test_no_sources_are_no_metadata():
    record = {"user_id": "u", "event": "e", "plan": "pro", "properties": {"a": "b"}}
    assert "metadata" not in item_of(record, StreamSettings(ObjectType.EVENT, metadata_fields=()))


def test_a_column_that_fed_a_field_from_inside_is_out_as_a_whole():
    fed = [("payload.user.id", "uid")]
    assert metadata_of({"payload": {"user": {"id": 1}, "a": 2}, "uid": 3}, fed=fed) == {"uid": "3"}
    assert metadata_of({"payload": {"a": 2}, "uid": 3}, fed=fed) == {"payload": '{"a":2}'}


def test_a_member_of_properties_that_fed_a_field_from_inside_is_out_as_a_whole():
    record = {"properties": {"user": {"id": 1, "name": "n"}, "a": "b"}}
    assert metadata_of(record, fed=[("properties.user.id",)]) == {"a": "b"}
    assert metadata_of(record, fed=[("properties.user.uid",)]) == {"user": '{"id":1,"name":"n"}', "a": "b"}


def test_properties_that_fed_a_field_as_a_whole_are_not_unpacked():
    assert metadata_of({"properties": {"a": "b"}}, fed=[("properties",)]) == {}


def test_a_value_that_json_has_no_form_for_rejects_the_record():
    with pytest.raises(RecordError) as caught:
        metadata_of({"column": float("nan")})
    assert caught.value.reason == "not_encodable"


def test_of_many_records_each_has_the_metadata_that_it_has_alone():
    views = [{"x": n, "properties": {"revenue": n, "a.b": f"v-{n}"}, "value": 1} for n in range(20)]
    orders = [{"x": n, "properties": {"a_b": None, "revenue": None, "price": Decimal("1.50")}} for n in range(20)]
    others = [{"x": 1, "properties": "bare"}, {"properties": {"price": float("nan")}}, {"properties": None}]
    records = [each for pair in zip(views, orders, strict=True) for each in pair]
    for fields in (("*",), ("properties", "x", "properties.price"), ("x",)):
        for batch in (records, records + others):
            faults = {}
            settings = StreamSettings(ObjectType.EVENT, metadata_fields=fields)
            found = MetadataMapper(settings, FED)(columns_of(*batch), faults)
            for row, (record, metadata) in enumerate(zip(batch, found, strict=True)):
                if record is others[1] and fields != ("x",):
                    assert faults.pop(row).reason == "not_encodable"
                else:
                    assert msgspec.json.decode(_ENCODER.encode(metadata or {})) == metadata_of(record, *fields)
            assert faults == {}
