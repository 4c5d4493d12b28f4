from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from target_statsig.client.console import ID_LIST, USER_STORE_LIST, ConsoleClient
from target_statsig.client.events import LOG_EVENT, EventsClient
from target_statsig.client.http import HttpTransport
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.client.sender import Sender
from target_statsig.config.choices import Compression
from target_statsig.config.settings import RateWindow, Settings, parse_rate_windows
from target_statsig.errors import AuthenticationError, NotNowError, RefusedError, TooLargeError
from tests.send_items import send_items

EVENTS = [b'{"eventName":"purchase","value":89.99,"user":{"userID":"u%d"}}' % number for number in range(20)]
UNLIMITED = [RateWindow(1_000_000, 1)]


@pytest.fixture
def sender(clock, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    transport = HttpTransport()
    yield Sender(transport, clock, retry_timeout=600)
    transport.close()


def events_client(statsig, sender, clock, *, compression=Compression.GZIP, timeout=60, key=None):
    settings = Settings(
        server_secret_key=key or statsig.server_secret_key,
        events_url=statsig.events_url,
        compression=compression,
        request_timeout=timeout,
    )
    return EventsClient(sender, settings, clock)


def console_client(statsig, sender, clock, *, windows=UNLIMITED, key=None):
    settings = Settings(
        console_api_key=key or statsig.console_api_key, console_url=statsig.console_url, request_timeout=5
    )
    return ConsoleClient(sender, settings, RateLimiter(windows, clock), clock)


@pytest.mark.parametrize("compression", [pytest.param(choice, id=choice.value) for choice in Compression])
def test_events_arrive(statsig, sender, clock, compression):
    sizes = []
    client = events_client(statsig, sender, clock, compression=compression)
    send_items(client, LOG_EVENT, EVENTS, what="20 events", on_try=lambda tries, size: sizes.append(size))

    assert [event["user"]["userID"] for event in statsig.state.events] == [f"u{number}" for number in range(20)]
    assert sizes == [request.size for request in statsig.state.requests]


def test_events_arrive_from_many_threads(statsig, sender, clock):
    client = events_client(statsig, sender, clock)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda event: send_items(client, LOG_EVENT, [event], what="1 event"), EVENTS * 5))

    assert len(statsig.state.events) == 100


def test_a_retry_after_is_waited_in_full(statsig, sender, clock):
    statsig.faults.add(path="*/log_event", status=429, retry_after=45, times=2)

    sent = send_items(events_client(statsig, sender, clock), LOG_EVENT, EVENTS, what="20 events")

    assert (sent.tries, sent.maybe_taken) == (3, False)
    assert min(clock.sleeps) >= 45
    assert len(statsig.state.events) == 20


@pytest.mark.parametrize("taken", [True, False])
def test_a_lost_response_may_mean_a_duplicate(statsig, sender, clock, taken):
    statsig.faults.add(path="*/log_event", drop=True, taken=taken, times=1)

    assert send_items(events_client(statsig, sender, clock), LOG_EVENT, EVENTS, what="20 events").maybe_taken
    assert len(statsig.state.events) == (40 if taken else 20)


def test_a_missing_response_ends_at_the_request_timeout(statsig, sender, clock):
    statsig.faults.add(path="*/log_event", hang=True, times=1)

    assert send_items(
        events_client(statsig, sender, clock, timeout=0.1), LOG_EVENT, EVENTS, what="20 events"
    ).maybe_taken


def test_a_2xx_without_success_is_retried(statsig, sender, clock):
    statsig.faults.add(path="*/log_event", status=202, body='{"success":false}', times=1)
    statsig.faults.add(path="*/log_event", status=200, body="<html>Log in</html>", times=1)

    assert send_items(events_client(statsig, sender, clock), LOG_EVENT, EVENTS, what="20 events").tries == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, RefusedError, id="refused"),
        pytest.param(413, TooLargeError, id="too large"),
        pytest.param(403, AuthenticationError, id="wrong key"),
    ],
)
def test_a_final_error_is_not_retried(statsig, sender, clock, status, error):
    statsig.faults.add(path="*/log_event", status=status)

    with pytest.raises(error):
        send_items(events_client(statsig, sender, clock), LOG_EVENT, EVENTS, what="20 events")

    assert len(statsig.state.requests) == 1


def test_a_key_of_the_wrong_kind_is_named(statsig, sender, clock):
    client = events_client(statsig, sender, clock, key="client-0123456789abcdef")

    with pytest.raises(AuthenticationError, match=r"`server_secret_key`.*…cdef` and is a Client SDK Key"):
        send_items(client, LOG_EVENT, EVENTS, what="20 events")


@pytest.mark.parametrize("segment_type", [ID_LIST, USER_STORE_LIST])
def test_ids_are_added_read_back_and_removed(statsig_factory, sender, clock, segment_type):
    statsig = statsig_factory(page_size=7, joined_ids=3, repeated_ids=True)
    statsig.state.seed_segment("vips", segment_type=segment_type)
    console = console_client(statsig, sender, clock)
    ids = [f"id {number}" for number in range(50)]
    before = console.list_state("vips").version

    console.add_ids("vips", ids, segment_type=segment_type)
    assert set(console.ids("vips")) == set(ids)
    assert console.segment("vips").count == 50

    console.remove_ids("vips", ids[:20], segment_type=segment_type)
    assert set(console.ids("vips")) == set(ids[20:])
    assert console.list_state("vips").version != before


def test_a_segment_is_created_with_an_id_type_of_the_project(statsig, sender, clock):
    statsig.state.unit_id_types.append("companyID")
    console = console_client(statsig, sender, clock)

    assert console.unit_id_types() == ["userID", "stableID", "companyID"]
    console.create_segment("vip_companies", id_type="companyID")
    assert (console.segment("vip_companies").type, console.segment("vip_companies").id_type) == ("id_list", "companyID")


def test_a_segment_created_without_a_response_is_found(statsig, sender, clock):
    statsig.faults.add(method="POST", path="*/segments", drop=True, taken=True, times=1)

    assert console_client(statsig, sender, clock).create_segment("vips", id_type="userID").id == "vips"


def test_the_error_of_a_missing_segment_has_statsig_s_message(statsig, sender, clock):
    with pytest.raises(RefusedError) as caught:
        console_client(statsig, sender, clock).segment("nobody")

    assert (caught.value.status, caught.value.message) == (404, "Segment not found")


def test_an_update_in_progress_is_waited_for(statsig, sender, clock):
    statsig.faults.add(method="PATCH", path="*/id_list", status=409, times=2)
    statsig.state.seed_segment("vips")

    assert console_client(statsig, sender, clock).add_ids("vips", ["b"], segment_type=ID_LIST).tries == 3
    assert statsig.state.ids("vips") == {"b"}


def test_the_default_rates_stay_within_statsig_s_quotas(statsig_factory, sender, clock):
    statsig = statsig_factory(clock=clock.time)
    statsig.state.seed_segment("vips")
    console = console_client(statsig, sender, clock, windows=parse_rate_windows(Settings().console_rate_limits))
    for number in range(900):
        console.add_ids("vips", [str(number)], segment_type=ID_LIST)

    assert {entry.status for entry in statsig.state.requests} == {200}
    assert len(statsig.state.ids("vips")) == 900


def test_a_quota_used_up_by_others_is_waited_for(statsig_factory, sender, clock):
    statsig = statsig_factory(clock=clock.time)
    statsig.state.seed_segment("vips")
    ours, theirs = (console_client(statsig, sender, clock) for _ in range(2))
    for number in range(40):
        (ours if number % 2 else theirs).add_ids("vips", [str(number)], segment_type=ID_LIST)

    assert {entry.status for entry in statsig.state.requests} == {200, 429}
    assert len(statsig.state.ids("vips")) == 40


def test_an_unreachable_statsig_is_given_up_at_the_retry_timeout(statsig, sender, clock):
    console = console_client(statsig, sender, clock)
    statsig.close()

    with pytest.raises(NotNowError, match=r"no answer came from 127.0.0.1, .*ConnectionRefusedError") as caught:
        console.add_ids("vips", ["a"], segment_type=ID_LIST)

    assert not caught.value.maybe_taken
    assert sum(clock.sleeps) == pytest.approx(600, abs=1)
