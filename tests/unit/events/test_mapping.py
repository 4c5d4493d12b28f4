from __future__ import annotations

import pickle
from decimal import Decimal

import msgspec
import pytest

from target_statsig.events.encoding import encode
from target_statsig.events.mapping import EventMapper, to_event
from target_statsig.events.notes import MappingNotes
from target_statsig.exceptions import RecordError
from target_statsig.settings import EventPreset, InvalidEventName, ObjectType, StreamSettings, Tier, TimeUnit

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


def event_of(record, **settings):
    return to_event(record, StreamSettings(ObjectType.EVENT, **settings), now_ms=NOW)


def reason_for(record, **settings):
    with pytest.raises(RecordError) as caught:
        event_of(record, **settings)
    return caught.value.reason


@pytest.mark.parametrize("float_hook", [Decimal, None], ids=["decimals", "floats"])
def test_an_order_of_a_tracker_becomes_a_purchase_to_the_letter(float_hook):
    record = msgspec.json.Decoder(float_hook=float_hook).decode(ORDER)
    assert encode(event_of(record, event_preset=EventPreset.RETAIL)) == PURCHASE


def test_the_same_order_flattened_becomes_the_same_purchase():
    record = {
        (f"{column}__{member}" if member else column): value
        for column, content in msgspec.json.Decoder(float_hook=Decimal).decode(ORDER).items()
        for member, value in (content.items() if isinstance(content, dict) else [("", content)])
    }
    assert encode(event_of(record, event_preset=EventPreset.RETAIL)) == PURCHASE


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
        "value": Decimal("49.00"),
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


def test_one_name_stands_for_all_records():
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
        pytest.param({}, "missing_event_name", id="empty"),
    ],
)
def test_a_record_that_is_no_event_is_rejected(record, reason):
    assert reason_for(record) == reason


def test_a_rejection_names_the_field_and_no_value():
    with pytest.raises(RecordError) as caught:
        event_of({"event": "e", "user_id": "u", "timestamp": "secret-value"})
    assert str(caught.value) == "invalid_time (event_time)"


def test_a_text_that_is_no_unicode_is_rejected_where_it_is_encoded():
    event = event_of({"event": "e", "user_id": "\ud800"})
    with pytest.raises(RecordError) as caught:
        encode(event)
    assert caught.value.reason == "not_encodable"


def test_a_mapper_notes_what_is_worth_a_warning():
    mapper = EventMapper(StreamSettings(ObjectType.EVENT, invalid_event_name=InvalidEventName.SANITIZE))
    notes = MappingNotes()
    for record in (
        {"event": "a=b", "user_id": "u"},
        {"event": "e", "user_id": "u", "time": "2024-01-01", "custom": "none"},
        {"event": "e", "user_id": "u", "time": "2025-01-01", "marketing_consent": "maybe"},
    ):
        mapper(record, None, NOW, notes)
    assert notes == MappingNotes(
        time_defaulted=1, custom_ignored=1, consent_ignored=1, renamed={"a=b": "a_b"}, old_times=1, future_times=1
    )


def test_records_of_one_stream_may_have_different_columns():
    mapper = EventMapper(StreamSettings(ObjectType.EVENT))
    records = [
        {"event": "e", "user_id": "u", "extra": 1},
        {"event": "e", "userId": "v"},
        {"eventName": "f", "traits": {"email": "a@b.c"}, "user_id": "w"},
        {"event": "e", "user_id": "u"},
    ]
    events = [mapper(record, None, NOW, MappingNotes()) for record in records]
    assert [event["user"]["userID"] for event in events] == ["u", "v", "w", "u"]
    assert [event.get("metadata") for event in events] == [{"extra": "1"}, None, None, None]


def test_a_record_is_left_as_it_was():
    record = msgspec.json.decode(ORDER)
    event_of(record)
    assert record == msgspec.json.decode(ORDER)


def test_a_mapper_can_be_made_from_settings_that_travelled():
    settings = StreamSettings(ObjectType.EVENT, event_name="order", custom_ids={"companyID": "company"})
    record = {"company": "c"}
    travelled = pickle.loads(pickle.dumps(settings))
    assert to_event(record, travelled, now_ms=NOW) == to_event(record, settings, now_ms=NOW)
