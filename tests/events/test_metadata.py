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

USED = (("user_id", "userId"), ("event_value", "revenue", "properties.revenue", "value"), ("email", "traits.email"))


def metadata_of(record, *metadata_fields, used=USED, types=MetadataTypes.TEXT):
    faults = {}
    settings = StreamSettings(ObjectType.EVENT, metadata_fields=metadata_fields or ("*",), metadata_types=types)
    (metadata,) = MetadataMapper(settings, used)(columns_of(record), faults)
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
def test_typed_metadata_keeps_every_value(value, sent):
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
        pytest.param({"user_id": "u", "plan": "pro"}, {"plan": "pro"}, id="a-used-column-is-out"),
        pytest.param({"user_id": "u", "userId": "v"}, {"userId": "v"}, id="an-unused-source-is-in"),
        pytest.param({"user_id": None, "userId": "v"}, {}, id="a-used-second-source-is-out"),
        pytest.param({"revenue": "9", "value": "gold"}, {"value": "gold"}, id="unused-value"),
        pytest.param({"properties": {"revenue": "9", "a": "b"}}, {"a": "b"}, id="used-member"),
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
def test_metadata_is_what_no_other_field_used(record, metadata):
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
def test_the_same_column_wins_a_metadata_key_in_any_order(record, metadata):
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
def test_some_columns_are_never_metadata(column):
    assert metadata_of({column: "x", "contextual": "y"}) == {"contextual": "y"}


@pytest.mark.parametrize("source", ["_sdc_lsn", "context", "traits", "consent", "privateAttributes.a"])
def test_excluded_columns_cannot_be_named_as_metadata(source):
    record = {
        "_sdc_lsn": 1,
        "context": {"a": 1},
        "traits": {"a": 1},
        "consent": {"a": 1},
        "privateAttributes": {"a": 1},
    }
    assert metadata_of(record, source) == {}


def test_private_attributes_among_the_properties_are_left_out():
    assert metadata_of({"properties": {"privateAttributes": {"a": 1}, "b": "c"}}) == {"b": "c"}


@pytest.mark.parametrize(
    ("metadata_fields", "metadata"),
    [
        pytest.param(["plan"], {"plan": "pro"}, id="column"),
        pytest.param(["page.url"], {"page_url": "/x"}, id="path"),
        pytest.param(["context.page.url"], {"context_page_url": "/y"}, id="path-into-a-container"),
        pytest.param(["user_id"], {"user_id": "u"}, id="a-used-column"),
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
def test_metadata_fields_can_be_named(metadata_fields, metadata):
    record = {
        "user_id": "u",
        "plan": "pro",
        "page": {"url": "/x"},
        "context": {"page": {"url": "/y"}},
        "properties": {"coupon": "X", "revenue": 5},
    }
    assert metadata_of(record, *metadata_fields) == metadata


def test_an_event_without_metadata_fields_has_no_metadata():
    record = {"user_id": "u", "event": "e", "plan": "pro", "properties": {"a": "b"}}
    assert "metadata" not in item_of(record, StreamSettings(ObjectType.EVENT, metadata_fields=()))


def test_a_column_whose_member_was_used_is_left_out_entirely():
    used = [("payload.user.id", "uid")]
    assert metadata_of({"payload": {"user": {"id": 1}, "a": 2}, "uid": 3}, used=used) == {"uid": "3"}
    assert metadata_of({"payload": {"a": 2}, "uid": 3}, used=used) == {"payload": '{"a":2}'}


def test_a_property_whose_member_was_used_is_left_out_entirely():
    record = {"properties": {"user": {"id": 1, "name": "n"}, "a": "b"}}
    assert metadata_of(record, used=[("properties.user.id",)]) == {"a": "b"}
    assert metadata_of(record, used=[("properties.user.uid",)]) == {"user": '{"id":1,"name":"n"}', "a": "b"}


def test_properties_that_were_used_as_a_whole_are_not_unpacked():
    assert metadata_of({"properties": {"a": "b"}}, used=[("properties",)]) == {}


def test_a_value_that_json_cannot_encode_rejects_the_record():
    with pytest.raises(RecordError) as caught:
        metadata_of({"column": float("nan")})
    assert caught.value.reason == "not_encodable"


def test_each_record_of_a_batch_has_the_metadata_it_has_alone():
    views = [{"x": n, "properties": {"revenue": n, "a.b": f"v-{n}"}, "value": 1} for n in range(20)]
    orders = [{"x": n, "properties": {"a_b": None, "revenue": None, "price": Decimal("1.50")}} for n in range(20)]
    others = [{"x": 1, "properties": "bare"}, {"properties": {"price": float("nan")}}, {"properties": None}]
    records = [each for pair in zip(views, orders, strict=True) for each in pair]
    for fields in (("*",), ("properties", "x", "properties.price"), ("x",)):
        for batch in (records, records + others):
            faults = {}
            settings = StreamSettings(ObjectType.EVENT, metadata_fields=fields)
            found = MetadataMapper(settings, USED)(columns_of(*batch), faults)
            for row, (record, metadata) in enumerate(zip(batch, found, strict=True)):
                if record is others[1] and fields != ("x",):
                    assert faults.pop(row).reason == "not_encodable"
                else:
                    assert msgspec.json.decode(_ENCODER.encode(metadata or {})) == metadata_of(record, *fields)
            assert faults == {}
