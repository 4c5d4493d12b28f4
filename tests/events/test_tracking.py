"""Rows as Segment and RudderStack write them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from target_statsig.config.choices import EventPreset, ObjectType
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.events.user import members_of
from tests.mapped import item_of
from tests.singer import record, schema

ALSO_IN_A_WORKER = True

AT = "2026-11-01T00:00:00Z"


def event_of(row, **settings):
    return item_of(row, StreamSettings(ObjectType.EVENT, event_preset=EventPreset.SEGMENT, **settings))


@pytest.mark.parametrize(
    ("value", "members"),
    [
        pytest.param(["companyID", "c1", "teamID", 7], {"companyID": "c1", "teamID": 7}, id="alternating list"),
        pytest.param(["companyID", "c1", "teamID"], {"companyID": "c1"}, id="a name without a value"),
        pytest.param([1, "c1", " ", "x"], {}, id="no names"),
        pytest.param({"companyID": "c1"}, {"companyID": "c1"}, id="object"),
        pytest.param('["companyID", "c1"]', {"companyID": "c1"}, id="list as text"),
        pytest.param('{"n": 1.50}', {"n": Decimal("1.50")}, id="object as text"),
        pytest.param("c1", None, id="another text"),
        pytest.param(7, None, id="number"),
        pytest.param(None, None, id="null"),
    ],
)
def test_names_and_values_can_alternate_in_a_list(value, members):
    assert members_of(value) == members


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param({"type": "track", "event": "Signed Up"}, "Signed Up", id="track"),
        pytest.param({"type": "page", "name": "Home"}, "page_view", id="page"),
        pytest.param({"type": "screen", "event": "MainActivity"}, "screen_view", id="screen"),
        pytest.param({"type": "identify"}, "identify", id="identify"),
        pytest.param({"type": "page", "event": None}, "page_view", id="null"),
        pytest.param({"event": "order_completed", "event_text": "Order Completed"}, "Order Completed", id="warehouse"),
        pytest.param({"event_text": "Chosen", "type": "page"}, "Chosen", id="a property that is called type"),
    ],
)
def test_an_event_has_the_name_of_its_call(row, name):
    assert event_of({"userId": "u", "timestamp": AT, **row})["eventName"] == name


def test_configured_event_names_win():
    row = {"userId": "u", "timestamp": AT, "type": "page", "name": "Home"}
    assert event_of(row, event_name_mapping={"page": "Viewed"})["eventName"] == "Viewed"
    assert event_of(row, field_mapping={"event_name": "name"})["eventName"] == "Home"
    assert event_of(row, event_name="e")["eventName"] == "e"


@pytest.mark.parametrize(
    ("row", "user"),
    [
        pytest.param({"anonymousId": "a"}, {"customIDs": {"stableID": "a"}}, id="anonymous"),
        pytest.param(
            {"anonymousId": "a", "properties": {"statsigCustomIDs": ["companyID", 7, "stableID", "s"]}},
            {"customIDs": {"stableID": "s", "companyID": "7"}},
            id="custom ids in an alternating list",
        ),
        pytest.param(
            {"properties": {"statsigCustomIDs": {"companyID": "c1"}}},
            {"customIDs": {"companyID": "c1"}},
            id="custom ids as an object",
        ),
        pytest.param(
            {"properties": {"statsigCustomIDs": ["teamID", "t1"]}, "team": "t2"},
            {"customIDs": {"teamID": "t2"}},
            id="a configured id wins",
        ),
        pytest.param(
            {"userId": "u", "properties": {"statsigCustom": ["plan", "gold", "seats", 5]}},
            {"userID": "u", "custom": {"plan": "gold", "seats": 5}},
            id="attributes",
        ),
        pytest.param(
            {"userId": "u", "properties": {"statsigEnvironment": {"tier": "staging"}}},
            {"userID": "u", "statsigEnvironment": {"tier": "staging"}},
            id="tier",
        ),
        pytest.param(
            {"user_id": "u", "context_ip": "203.0.113.10", "context_user_agent": "M", "context_locale": "en"},
            {"userID": "u", "ip": "203.0.113.10", "userAgent": "M", "locale": "en"},
            id="warehouse",
        ),
    ],
)
def test_a_user_is_read_from_where_statsig_reads_it(row, user):
    event = event_of({"timestamp": AT, "event": "e", **row}, custom_ids={"teamID": "team"})
    assert event["user"] == user
    assert "metadata" not in event


@pytest.mark.parametrize("column", ["timestamp", "originalTimestamp", "sentAt", "receivedAt", "original_timestamp"])
def test_a_time_is_the_first_that_a_message_has(column):
    event = event_of({"userId": "u", "event": "e", "timestamp": None, column: AT})
    assert event == {"eventName": "e", "time": 1793491200000, "user": {"userID": "u"}}


def test_other_presets_do_not_read_tracking_columns():
    row = {"userId": "u", "timestamp": AT, "type": "page", "properties": {"statsigCustomIDs": ["companyID", "c1"]}}
    with pytest.raises(RecordError, match="missing_event_name"):
        item_of(row, StreamSettings(ObjectType.EVENT, event_preset=EventPreset.RETAIL))


MESSAGE = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "userId": "u",
    "anonymousId": "a",
    "timestamp": AT,
    "originalTimestamp": AT,
    "sentAt": AT,
    "receivedAt": AT,
    "channel": "web",
    "integrations": {"All": True},
    "context": {"ip": "203.0.113.10", "traits": {"email": "jane@example.com"}},
    "traits": {"plan": "gold"},
    "properties": {"order_id": "o-1", "revenue": 89.99, "type": "gift", "statsigCustomIDs": ["companyID", "c1"]},
}

EVENT = {
    "eventName": "Order Completed",
    "value": 89.99,
    "time": 1793491200000,
    "user": {
        "userID": "u",
        "email": "jane@example.com",
        "ip": "203.0.113.10",
        "customIDs": {"stableID": "a", "companyID": "c1"},
    },
    "metadata": {"messageId": "m-1", "order_id": "o-1", "type": "gift"},
}


def test_messages_arrive_with_objects_as_objects_or_as_text(run_target, statsig, caplog):
    as_text = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in MESSAGE.items()}
    columns = {name: {"type": ["null", "string"]} for name in MESSAGE}
    settings = {"object_type": "event", "event_preset": "segment", "dedupe": False}
    mapping = {"event_value": ["properties.total", "properties.revenue"]}
    run_target([schema("objects"), record("objects", MESSAGE)], **settings)
    run_target([schema("texts", columns), record("texts", as_text)], field_mapping=mapping, **settings)
    assert statsig.state.events == [EVENT, EVENT]
    assert "does not have" not in caplog.text


def test_a_page_becomes_a_page_view_with_its_name_as_metadata(run_target, statsig):
    page = {"type": "page", "name": "Home", "anonymousId": "a", "timestamp": AT, "properties": '{"url": "/"}'}
    run_target([schema("s"), record("s", page)], object_type="event", event_preset="segment")
    (event,) = statsig.state.events
    assert (event["eventName"], event["metadata"]) == ("page_view", {"name": "Home", "url": "/"})
