from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig import __version__
from target_statsig.client.events import LOG_CUSTOM_METRIC, LOG_EVENT, EventsClient
from target_statsig.client.sender import Sender
from target_statsig.config.choices import Compression
from target_statsig.config.settings import Settings
from target_statsig.errors import AuthenticationError, NotNowError, RefusedError
from tests.fakes import NOON, FakeClock, FakeTransport, answer
from tests.send_items import send_items

KEY = "secret-abcdefghijklmnop"
ITEMS = [b'{"eventName":"purchase","value":89.99}', b'{"eventName":"refund"}']
DENIED = answer(503, {"success": False})


def client(transport, clock=None, *, compression=Compression.NONE, url="https://events.example/v1", key=KEY):
    clock = clock or FakeClock()
    settings = Settings(server_secret_key=key, events_url=url, compression=compression)
    return EventsClient(Sender(transport, clock, retry_timeout=60, rng=lambda: 1.0), settings, clock)


def test_items_are_sent_with_metadata_and_headers():
    transport = FakeTransport(answer(202))
    send_items(client(transport), LOG_EVENT, ITEMS, what="2 events")

    (request,) = transport.requests
    assert (request.method, request.url, request.timeout) == ("POST", "https://events.example/v1/log_event", 30)
    assert request.headers == {
        "statsig-api-key": KEY,
        "content-type": "application/json",
        "statsig-event-count": "2",
        "STATSIG-CLIENT-TIME": str(int(NOON * 1000)),
    }
    assert request.body == (
        b'{"events":[{"eventName":"purchase","value":89.99},{"eventName":"refund"}],'
        b'"statsigMetadata":{"sdkType":"target-statsig","sdkVersion":"%b"}}' % __version__.encode()
    )


def test_flags_are_sent_beside_the_items():
    transport = FakeTransport(answer(202), answer(202))
    events = client(transport)
    send_items(events, LOG_CUSTOM_METRIC, [b'{"metric_name":"m"}'], what="1 metric", flags=["isTest"])
    send_items(events, LOG_CUSTOM_METRIC, [b'{"metric_name":"m"}'], what="1 metric")

    assert transport.requests[0].url == "https://events.example/v1/log_custom_metric"
    assert [request.body for request in transport.requests] == [
        b'{"metrics":[{"metric_name":"m"}],"isTest":true}',
        b'{"metrics":[{"metric_name":"m"}]}',
    ]


@given(items=st.lists(st.dictionaries(st.text(), st.text()).map(msgspec.json.encode), min_size=1))
def test_compression_loses_nothing(items):
    plain, compressed = FakeTransport(answer()), FakeTransport(answer())
    send_items(client(plain), LOG_EVENT, items, what="events")
    send_items(client(compressed, compression=Compression.GZIP), LOG_EVENT, items, what="events")

    assert compressed.requests[0].headers["content-encoding"] == "gzip"
    assert zlib.decompress(compressed.requests[0].body, zlib.MAX_WBITS | 16) == plain.requests[0].body


def test_the_same_items_make_the_same_body():
    transport = FakeTransport(then=answer())
    for _ in range(2):
        send_items(client(transport, compression=Compression.GZIP), LOG_EVENT, ITEMS, what="2 events")

    assert transport.requests[0].body == transport.requests[1].body


def test_retries_carry_their_number_and_the_current_time():
    transport = FakeTransport(DENIED, DENIED, answer())
    send_items(client(transport), LOG_EVENT, ITEMS, what="2 events")

    headers = [(r.headers.get("statsig-retry-count"), r.headers["STATSIG-CLIENT-TIME"]) for r in transport.requests]
    assert headers == [
        (None, str(int(NOON * 1000))),
        ("1", str(int(NOON * 1000) + 1000)),
        ("2", str(int(NOON * 1000) + 3000)),
    ]


def test_the_result_has_the_number_of_tries():
    transport = FakeTransport(DENIED, answer())
    sent = send_items(client(transport), LOG_EVENT, ITEMS, what="2 events")

    assert (sent.tries, sent.maybe_taken) == (2, False)


def test_on_try_is_called_for_every_try():
    tries = []
    transport = FakeTransport(DENIED, answer(400))
    with pytest.raises(RefusedError):
        send_items(client(transport), LOG_EVENT, ITEMS, what="2 events", on_try=lambda *each: tries.append(each))

    assert tries == [(0, len(transport.requests[0].body)), (1, len(transport.requests[1].body))]


def test_a_base_url_may_end_in_a_slash():
    transport = FakeTransport(answer())
    send_items(client(transport, url="http://127.0.0.1:8000/v1/"), LOG_EVENT, ITEMS, what="2 events")

    assert transport.requests[0].url == "http://127.0.0.1:8000/v1/log_event"


def test_a_failure_names_what_was_sent():
    with pytest.raises(NotNowError, match="500 events of stream 'orders'"):
        send_items(client(FakeTransport(then=DENIED)), LOG_EVENT, ITEMS, what="500 events of stream 'orders'")


@pytest.mark.parametrize("key", [pytest.param("", id="none"), pytest.param("secret-abc\n", id="line break")])
def test_an_unusable_key_is_refused_before_sending(key):
    with pytest.raises(AuthenticationError, match="`server_secret_key`"):
        client(FakeTransport(), key=key)
