from __future__ import annotations

import gzip

import msgspec
import pytest

from target_statsig.client.answers import (
    MAX_MESSAGE,
    Answer,
    decode_json,
    quote_message,
)
from target_statsig.config.choices import ApiKeyKind
from target_statsig.config.settings import Settings
from target_statsig.errors import AuthenticationError, NotNowError, RefusedError, TooLargeError
from target_statsig.reports.text import duration

SUCCESS = {"success": True}
NOT_FOUND = {"message": "Segment not found", "status": 404}
KEY = "secret-abcdefghijklmnop"
EVENT = {
    "eventName": "Order Completed",
    "value": 89.5,
    "user": {"userID": "u-17", "email": "Jane.Doe@example.com", "custom": {"plan": "gold"}},
    "metadata": {"order": "1001", "gift": "true"},
}
EVENTS = msgspec.json.encode({"events": [EVENT], "statsigMetadata": {"sdkType": "target-statsig"}})
KINDS = [pytest.param(kind, id=kind.name) for kind in ApiKeyKind]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        pytest.param(None, None, NotNowError, id="no response"),
        pytest.param(202, SUCCESS, None, id="accepted"),
        pytest.param(200, {"message": "IDs added", "data": {}}, None, id="accepted by the console"),
        pytest.param(201, {"data": {"id": "vip"}}, None, id="created by the console"),
        pytest.param(202, {"success": False}, NotNowError, id="2xx without success"),
        pytest.param(202, None, NotNowError, id="2xx without JSON"),
        pytest.param(204, None, NotNowError, id="2xx without a body"),
        pytest.param(200, "success", NotNowError, id="2xx with a string"),
        pytest.param(200, [SUCCESS], NotNowError, id="2xx with a list"),
        pytest.param(301, None, RefusedError, id="redirect"),
        pytest.param(304, None, RefusedError, id="not modified"),
        pytest.param(400, NOT_FOUND, RefusedError, id="bad request"),
        pytest.param(401, NOT_FOUND, AuthenticationError, id="no key"),
        pytest.param(403, NOT_FOUND, AuthenticationError, id="wrong key"),
        pytest.param(404, NOT_FOUND, RefusedError, id="not found"),
        pytest.param(405, NOT_FOUND, RefusedError, id="wrong method"),
        pytest.param(408, None, NotNowError, id="request timeout"),
        pytest.param(409, NOT_FOUND, NotNowError, id="update in progress"),
        pytest.param(413, None, TooLargeError, id="too large"),
        pytest.param(422, NOT_FOUND, RefusedError, id="unprocessable"),
        pytest.param(429, NOT_FOUND, NotNowError, id="quota"),
        pytest.param(500, None, NotNowError, id="server error"),
        pytest.param(501, None, RefusedError, id="not implemented"),
        pytest.param(502, None, NotNowError, id="bad gateway"),
        pytest.param(503, {"success": False}, NotNowError, id="unavailable"),
        pytest.param(503, SUCCESS, NotNowError, id="unavailable, though it says success"),
        pytest.param(504, None, NotNowError, id="gateway timeout"),
        pytest.param(522, None, NotNowError, id="Cloudflare's connection timeout"),
        pytest.param(524, None, NotNowError, id="Cloudflare's timeout"),
        pytest.param(599, None, NotNowError, id="network timeout"),
        pytest.param(600, None, RefusedError, id="not a status"),
    ],
)
def test_status_and_body_decide_the_error(status, body, error):
    assert Answer(status, body).error is error


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        pytest.param(b'{"success":true}', {"success": True}, id="JSON"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<html>Bad gateway</html>", None, id="HTML"),
        pytest.param(b'{"success":tr', None, id="truncated"),
        pytest.param(b'"\xff"', None, id="not UTF-8"),
        pytest.param(b"[" * 100_000, None, id="nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_is_decoded_as_none(body, decoded):
    assert decode_json(body) == decoded


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"message": "Segment not found", "status": 404}, "Segment not found", id="message"),
        pytest.param({"error": "Bad request"}, "Bad request", id="error"),
        pytest.param({"message": "First", "error": "Second"}, "First", id="both"),
        pytest.param({"message": ["a", "b"], "error": "Second"}, "Second", id="a message that is no string"),
        pytest.param({"detail": "something"}, "", id="other members"),
        pytest.param(["Segment not found"], "", id="no object"),
        pytest.param(None, "", id="no JSON"),
        pytest.param({"message": "  one\r\n two\x1b[31m  "}, "one two\\x1b[31m", id="line breaks and controls"),
    ],
)
def test_only_message_and_error_are_quoted(body, message):
    assert quote_message(body, sent=None, key=KEY) == message


def test_a_long_message_is_shortened():
    message = quote_message({"message": "x" * 5000}, sent=None, key=KEY)

    assert len(message) == MAX_MESSAGE
    assert message.endswith("…")


@pytest.mark.parametrize("sent", [pytest.param(EVENTS, id="plain"), pytest.param(gzip.compress(EVENTS), id="gzip")])
@pytest.mark.parametrize(
    ("message", "quoted"),
    [
        pytest.param("events[0].user.userID 'u-17' is bad", "events[0].user.userID '…' is bad", id="an id"),
        pytest.param("no such user: jane.doe@EXAMPLE.com", "no such user: …", id="in other case"),
        pytest.param("Order Completed is reserved", "… is reserved", id="of several words"),
        pytest.param("order 1001 costs 89.5", "order … costs …", id="numbers"),
        pytest.param("over the limit of 10010 events", "over the limit of 10010 events", id="not within other words"),
        pytest.param("eventName of target-statsig", "eventName of target-statsig", id="names of fields stay"),
        pytest.param(f"Invalid key {KEY}", "Invalid key …", id="the key"),
    ],
)
def test_values_of_the_request_are_hidden_in_the_message(message, quoted, sent):
    assert quote_message({"message": message}, sent=sent, key=KEY) == quoted


def test_a_long_value_is_hidden_before_a_value_it_contains():
    sent = b'{"ids":["Jane","Jane Doe"]}'

    assert quote_message({"message": "no such id: Jane Doe"}, sent=sent, key=KEY) == "no such id: …"


def test_values_outside_of_lists_are_not_hidden():
    sent = b'{"name":"vip_users","idType":"companyID"}'

    assert quote_message({"message": "Unknown idType companyID"}, sent=sent, key=KEY) == "Unknown idType companyID"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(-3, "0 s", id="negative"),
        pytest.param(0, "0 s", id="zero"),
        pytest.param(0.04, "0.1 s", id="under a tenth"),
        pytest.param(3.14, "3.2 s", id="tenths"),
        pytest.param(10.2, "11 s", id="seconds"),
        pytest.param(119, "119 s", id="under two minutes"),
        pytest.param(121, "3 min", id="minutes"),
        pytest.param(1800, "30 min", id="half an hour"),
        pytest.param(7200, "2 h", id="hours"),
        pytest.param(7500, "2 h 5 min", id="hours and minutes"),
        pytest.param(365 * 86_400, "8,760 h", id="a year"),
    ],
)
def test_durations_are_rounded_up(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_names_existing_settings(kind):
    settings = Settings()

    assert hasattr(settings, kind.setting)
    assert hasattr(settings, kind.url_setting)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_a_header_can_hold_is_not_changed(kind):
    assert kind.check("whatever-abcdef") == "whatever-abcdef"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "key",
    [
        pytest.param("secret-abcdefgh\n", id="line break"),
        pytest.param(" secret-abcdefgh", id="blank"),
        pytest.param("secret-abcdéfgh", id="not ASCII"),
    ],
)
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(kind, key):
    with pytest.raises(AuthenticationError, match=f"`{kind.setting}` holds a blank") as caught:
        kind.check(key)

    assert "abcd" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_key_is_named(kind):
    with pytest.raises(AuthenticationError, match=f"`{kind.setting}` is not set.*Project Settings > Keys"):
        kind.check("")


@pytest.mark.parametrize(
    ("kind", "key", "part"),
    [
        pytest.param(
            ApiKeyKind.SERVER_SECRET,
            "client-abcdefghijkl",
            "ends in `…ijkl` and is a Client SDK Key (`client-…`)",
            id="client key for the server's",
        ),
        pytest.param(
            ApiKeyKind.CONSOLE,
            "client-abcdefghijkl",
            "ends in `…ijkl` and is a Client SDK Key (`client-…`)",
            id="client key for the console's",
        ),
        pytest.param(
            ApiKeyKind.SERVER_SECRET,
            "console-abcdefghijkl",
            "is a Console API Key (`console-…`)",
            id="console for server",
        ),
        pytest.param(
            ApiKeyKind.CONSOLE, "secret-abcdefghijkl", "is a Server Secret Key (`secret-…`)", id="server for console"
        ),
        pytest.param(ApiKeyKind.CONSOLE, "abcdefghijkl", "does not begin with `console-`", id="unknown prefix"),
        pytest.param(ApiKeyKind.CONSOLE, "console-abcdefghijkl", "may be revoked", id="right prefix"),
        pytest.param(ApiKeyKind.CONSOLE, "abc", "is very short", id="too short to show any of it"),
    ],
)
def test_a_key_is_described_by_its_end_and_its_kind(kind, key, part):
    description = kind.describe(key)

    assert part in description
    assert key not in description
    assert "abc" not in description
