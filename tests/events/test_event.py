from __future__ import annotations

import pickle
from decimal import Decimal

import msgspec
import pytest

from target_statsig.config.choices import EventPreset, InvalidEventName, ObjectType, Tier, TimeUnit
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.reports.report import MappingWarnings
from tests.mapped import encoded, item_of, outcomes

NOW = 1_717_632_000_000
"""2024-06-06T00:00:00Z, unix milliseconds."""

ORDER = """{
    "event": "Order Completed", "user_id": "user-123", "anonymous_id": "a1b2c3d4", "timestamp": "2024-06-06T00:00:00Z",
    "properties": {"order_id": "ORD-1234", "revenue": 89.99, "currency": "USD", "coupon": "SUMMER10"},
    "context": {"ip": "203.0.113.10", "user_agent": "Mozilla/5.0", "locale": "en-US"},
    "traits": {"email": "jane@example.com"}, "consent": {"marketing": true}
}"""

PURCHASE = (
    b'{"eventName":"purchase","value":89.99,"time":1717632000000,'
    b'"user":{"userID":"user-123","email":"jane@example.com","ip":"203.0.113.10","userAgent":"Mozilla/5.0",'
    b'"locale":"en-US","customIDs":{"stableID":"a1b2c3d4"},"custom":{"marketing_consent":"granted"}},'
    b'"metadata":{"order_id":"ORD-1234","currency":"USD","coupon":"SUMMER10"}}'
)


RETAIL = StreamSettings(ObjectType.EVENT, event_preset=EventPreset.RETAIL)


def event_of(record, **settings):
    return item_of(record, StreamSettings(ObjectType.EVENT, **settings), now_ms=NOW)


def reason_for(record, **settings):
    with pytest.raises(RecordError) as caught:
        event_of(record, **settings)
    return caught.value.reason


@pytest.mark.parametrize("float_hook", [Decimal, None], ids=["decimals", "floats"])
def test_a_tracked_order_becomes_exactly_this_purchase(float_hook):
    record = msgspec.json.Decoder(float_hook=float_hook).decode(ORDER)
    assert encoded(record, RETAIL) == PURCHASE


def test_the_same_order_flattened_becomes_the_same_purchase():
    record = {
        (f"{column}__{member}" if member else column): value
        for column, content in msgspec.json.Decoder(float_hook=Decimal).decode(ORDER).items()
        for member, value in (content.items() if isinstance(content, dict) else [("", content)])
    }
    assert encoded(record, RETAIL) == PURCHASE


def test_a_table_of_events_needs_no_mapping():
    record = {
        "event_name": "subscription_renewed",
        "user_id": 1001,
        "event_value": Decimal("49.00"),
        "event_time": "2024-06-05 03:55:36.859445+00",
        "country": "CH",
        "app_version": "3.1.0",
        "custom": '{"plan": "pro"}',
        "marketing_consent": 0,
        "renewals": 3,
        "_sdc_batched_at": "2024-06-06T00:00:00Z",
    }
    assert event_of(record, environment_tier=Tier.PRODUCTION) == {
        "eventName": "subscription_renewed",
        "value": 49.0,
        "time": NOW - 86_400_000 + 14_136_859,
        "user": {
            "userID": "1001",
            "country": "CH",
            "appVersion": "3.1.0",
            "custom": {"plan": "pro", "marketing_consent": "denied"},
            "statsigEnvironment": {"tier": "production"},
        },
        "metadata": {"renewals": "3"},
    }


def test_columns_can_be_mapped():
    record = {"id": "o1", "customer": {"id": 7}, "total.amount": "12", "placed": 1_717_632_000, "event": "ignored"}
    mapping = {"user_id": "customer.id", "event_value": "total.amount", "event_time": "placed"}
    assert event_of(record, event_name="order", field_mapping=mapping) == {
        "eventName": "order",
        "value": 12,
        "time": NOW,
        "user": {"userID": "7"},
        "metadata": {"id": "o1", "event": "ignored"},
    }


def test_the_event_name_setting_applies_to_all_records():
    assert event_of({"user_id": "u", "event_name": "x"}, event_name="order")["eventName"] == "order"


def test_a_mapped_event_name_replaces_the_defaults():
    record = {"user_id": "u", "event": "wrong", "action": "right"}
    assert event_of(record, field_mapping={"event_name": "action"})["eventName"] == "right"


@pytest.mark.parametrize(
    ("record", "value"),
    [
        pytest.param({"event_value": 1, "revenue": 2}, 1, id="event-value"),
        pytest.param({"revenue": 2, "properties": {"revenue": 3}}, 2, id="revenue"),
        pytest.param({"properties": {"revenue": 3}, "value": 4}, 3, id="revenue-among-the-properties"),
        pytest.param({"value": 4}, 4, id="value"),
        pytest.param({"event_value": None, "value": "gold"}, "gold", id="null-gives-way"),
        pytest.param({"value": " "}, None, id="blank"),
        pytest.param({}, None, id="none"),
    ],
)
def test_the_value_is_read_from_its_sources(record, value):
    assert event_of({"event": "e", "user_id": "u", **record}).get("value") == value


def test_the_unit_of_time_is_a_setting():
    record = {"event": "e", "user_id": "u", "time": 1_717_632_000}
    assert event_of(record)["time"] == 1_717_632_000_000
    assert event_of(record, time_unit=TimeUnit.MILLISECONDS)["time"] == 1_717_632_000


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        pytest.param(Decimal("89.99"), "89.99", id="as-it-came"),
        pytest.param(Decimal("89.90"), "89.90", id="with-its-last-zero"),
        pytest.param(Decimal("1E+2"), "100", id="large-exponent"),
        pytest.param(Decimal("1E-7"), "0.0000001", id="small-exponent"),
        pytest.param("1e3", "1000", id="exponent-in-a-text"),
        pytest.param(1e22, "10000000000000000000000", id="float"),
        pytest.param(Decimal("123456789012345678901234567890.5"), "123456789012345678901234567890.5", id="long"),
        pytest.param(10**40, "1" + "0" * 40, id="large-integer"),
        pytest.param("SKU-1E-7", '"SKU-1E-7"', id="text-like-an-exponent"),
        pytest.param("Zürich 🚆", '"Zürich 🚆"', id="unicode"),
    ],
)
def test_a_value_is_encoded_without_an_exponent(value, printed):
    records = [{"event": "e", "user_id": "u", "value": each} for each in (Decimal("0.10"), value, None)]
    first, body, last = outcomes(records, StreamSettings(ObjectType.EVENT))
    assert f'"eventName":"e","value":{printed},"time":' in body.decode()
    assert (b'"value":0.10,' in first, b"value" in last) == (True, False)


def test_an_exponent_does_not_change_other_numbers():
    custom = {"rate": Decimal("0.10"), "tags": ["E-1"], "old": True, "large": Decimal("1E+2")}
    body = encoded({"event": "e", "user_id": "u", "custom": custom, "note": Decimal("2.50")}, RETAIL)
    assert b'"custom":{"rate":0.10,"tags":["E-1"],"old":true,"large":100}' in body
    assert b'"metadata":{"note":"2.50"}' in body


def deeply_nested():
    deep = [1e22]  # not encoded as it is; from Python 3.14 on, C recurses as deep as its stack allows
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param({"user_id": "u"}, "missing_event_name", id="no-name"),
        pytest.param({"event": "e"}, "missing_identifier", id="no-identifier"),
        pytest.param({"event": "e", "user_id": "u", "time": "soon"}, "invalid_time", id="time"),
        pytest.param({"event": "a=b", "user_id": "u"}, "invalid_event_name", id="name"),
        pytest.param({"event": "e" * 129, "user_id": "u"}, "event_name_too_long", id="long-name"),
        pytest.param({"event": "e", "user_id": "u", "value": float("nan")}, "not_encodable", id="value"),
        pytest.param({"event": "e", "user_id": "u", "a": Decimal("1E+400000")}, "not_encodable", id="metadata"),
        pytest.param({"event": "e", "user_id": "u", "custom": {"a": float("inf")}}, "not_encodable", id="custom"),
        pytest.param({"event": "e", "user_id": "u", "value": 10**5000}, "not_encodable", id="digits"),
        pytest.param({"event": "e", "user_id": "u", "value": object()}, "not_encodable", id="no-json"),
        pytest.param({"event": "e", "user_id": "u", "a": "half \ud800"}, "not_encodable", id="half-a-pair"),
        pytest.param({"event": "e", "user_id": "u", "half \udc00": 1}, "not_encodable", id="half-a-pair-in-a-name"),
        pytest.param({"event": "e", "user_id": "\ud800"}, "not_encodable", id="half-a-pair-in-an-identifier"),
        pytest.param({"event": "e", "user_id": "u", "a": deeply_nested()}, "not_encodable", id="deep"),
        pytest.param({"event": "e", "user_id": "u", "custom": {"a": deeply_nested()}}, "not_encodable", id="deeper"),
        pytest.param({}, "missing_event_name", id="empty"),
    ],
)
def test_a_record_that_is_no_event_is_rejected(record, reason):
    assert reason_for(record) == reason


def test_a_rejection_names_the_field_and_no_value():
    with pytest.raises(RecordError) as caught:
        event_of({"event": "e", "user_id": "u", "timestamp": "secret-value"})
    assert str(caught.value) == "invalid_time (event_time)"


def test_warnings_are_counted():
    warnings = MappingWarnings()
    records = [
        {"event": "a=b", "user_id": "u"},
        {"event": "e", "user_id": "u", "time": "2024-01-01", "custom": "none"},
        {"event": "e", "user_id": "u", "time": "2025-01-01", "marketing_consent": "maybe"},
    ]
    settings = StreamSettings(ObjectType.EVENT, invalid_event_name=InvalidEventName.SANITIZE)
    outcomes(records, settings, now_ms=NOW, warnings=warnings)
    assert warnings == MappingWarnings(
        time_defaulted=1, custom_ignored=1, consent_ignored=1, renamed={"a=b": "a_b"}, old_times=1, future_times=1
    )


def test_records_of_one_stream_can_have_different_columns():
    records = [
        {"event": "e", "user_id": "u", "extra": 1},
        {"event": "e", "userId": "v"},
        {"eventName": "f", "traits": {"email": "a@b.c"}, "user_id": "w"},
        {"event": "e", "user_id": "u"},
    ]
    events = [*map(msgspec.json.decode, outcomes(records, StreamSettings(ObjectType.EVENT)))]
    assert [event["user"]["userID"] for event in events] == ["u", "v", "w", "u"]
    assert [event.get("metadata") for event in events] == [{"extra": "1"}, None, None, None]


def test_mapping_does_not_change_the_record():
    record = msgspec.json.decode(ORDER)
    event_of(record)
    assert record == msgspec.json.decode(ORDER)


def test_pickled_settings_map_records_alike():
    settings = StreamSettings(ObjectType.EVENT, event_name="order", custom_ids={"companyID": "company"})
    record = {"company": "c"}
    pickled = pickle.loads(pickle.dumps(settings))
    assert item_of(record, pickled) == item_of(record, settings)
