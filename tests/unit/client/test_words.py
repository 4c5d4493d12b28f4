from __future__ import annotations

import gzip

import msgspec
import pytest

from target_statsig.client.words import MAX_WORDS, decode, quote

KEY = "secret-abcdefghijklmnop"
EVENT = {
    "eventName": "Order Completed",
    "value": 89.5,
    "user": {"userID": "u-17", "email": "Jane.Doe@example.com", "custom": {"plan": "gold"}},
    "metadata": {"order": "1001", "gift": "true"},
}
EVENTS = msgspec.json.encode({"events": [EVENT], "statsigMetadata": {"sdkType": "target-statsig"}})


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        pytest.param(b'{"success":true}', {"success": True}, id="JSON"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"<html>Bad gateway</html>", None, id="a page"),
        pytest.param(b'{"success":tr', None, id="cut off"),
        pytest.param(b'"\xff"', None, id="not UTF-8"),
        pytest.param(b"[" * 100_000, None, id="bottomless"),
    ],
)
def test_an_answer_is_decoded_or_nothing(body, decoded):
    assert decode(body) == decoded


@pytest.mark.parametrize(
    ("answer", "words"),
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
def test_only_message_and_error_are_quoted(answer, words):
    assert quote(answer, sent=None, key=KEY) == words


def test_long_words_are_shortened():
    words = quote({"message": "x" * 5000}, sent=None, key=KEY)

    assert len(words) == MAX_WORDS
    assert words.endswith("…")


@pytest.mark.parametrize("sent", [pytest.param(EVENTS, id="plain"), pytest.param(gzip.compress(EVENTS), id="gzip")])
@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        pytest.param("events[0].user.userID 'u-17' is bad", "events[0].user.userID '…' is bad", id="an id"),
        pytest.param("no such user: jane.doe@EXAMPLE.com", "no such user: …", id="in other letters"),
        pytest.param("Order Completed is reserved", "… is reserved", id="of several words"),
        pytest.param("order 1001 costs 89.5", "order … costs …", id="numbers"),
        pytest.param("over the limit of 10010 events", "over the limit of 10010 events", id="not within others"),
        pytest.param("eventName of target-statsig", "eventName of target-statsig", id="names of fields stay"),
        pytest.param(f"Invalid key {KEY}", "Invalid key …", id="the key"),
    ],
)
def test_what_the_request_was_trusted_with_is_hidden(said, quoted, sent):
    assert quote({"message": said}, sent=sent, key=KEY) == quoted


def test_a_longer_value_is_hidden_before_one_within_it():
    sent = b'{"ids":["Jane","Jane Doe"]}'

    assert quote({"message": "no such id: Jane Doe"}, sent=sent, key=KEY) == "no such id: …"


def test_what_is_no_list_is_configuration_and_stays():
    sent = b'{"name":"vip_users","idType":"companyID"}'

    assert quote({"message": "Unknown idType companyID"}, sent=sent, key=KEY) == "Unknown idType companyID"
