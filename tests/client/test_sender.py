from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from target_statsig.client.http import Request, TransportError
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.client.sender import MAX_DELAY, MAX_RETRY_AFTER, Sender, parse_retry_after
from target_statsig.config.choices import ApiKeyKind
from target_statsig.config.settings import RateWindow
from target_statsig.errors import (
    AuthenticationError,
    InterruptedRunError,
    NotNowError,
    RefusedError,
    TooLargeError,
)
from tests.fakes import NOON, FakeClock, FakeTransport, answer

NOON_UTC = datetime.fromtimestamp(NOON, tz=UTC)
KEY = "secret-abcdefghijklmnop"
EVENTS = "500 events of stream 'orders'"
SECRET_ID = "jane.doe@example.com"
REQUEST = Request(
    "POST",
    "https://events.statsigapi.net/v1/log_event",
    {ApiKeyKind.SERVER_SECRET.header: KEY},
    timeout=30,
    body=b'{"events":[{"user":{"userID":"%s"}}]}' % SECRET_ID.encode(),
)
DENIED = answer(503, {"success": False})
LOST = TransportError("TimeoutError: timed out", sent=True)
REFUSED_CONNECTION = TransportError("ConnectionRefusedError: [Errno 111] Connection refused", sent=False)


def send(clock, *script, retry_timeout=1800.0, then=None, **more):
    transport = FakeTransport(*script, then=then)
    return send_by(Sender(transport, clock, retry_timeout=retry_timeout, rng=lambda: 1.0), **more)


def send_by(sender, *, request=REQUEST, kind=ApiKeyKind.SERVER_SECRET, what=EVENTS, **more):
    return sender.send(request, what=what, kind=kind, **more)


class HookedClock(FakeClock):
    """Calls `during` at the start of its first wait, as if another thread ran meanwhile."""

    def __init__(self, during):
        super().__init__()
        self._during = during

    @override
    def sleep(self, seconds):
        during, self._during = self._during, None
        if during:
            during()
        super().sleep(seconds)


def test_a_success_is_returned_with_its_tries(clock):
    sent = send(clock, answer(202))

    assert (sent.answer.status, sent.answer.body, sent.tries, sent.maybe_taken) == (202, {"success": True}, 1, False)
    assert clock.sleeps == []


@pytest.mark.parametrize(
    "failure",
    [
        *(
            pytest.param(answer(status, {"message": "Later"}), id=str(status))
            for status in (408, 409, 429, 500, 502, 503, 504, 522, 524, 599)
        ),
        pytest.param(answer(202, {"success": False}), id="2xx without success"),
        pytest.param(answer(202, b"<html>"), id="2xx without JSON"),
        pytest.param(LOST, id="response lost"),
        pytest.param(REFUSED_CONNECTION, id="connection refused"),
    ],
)
def test_temporary_failures_are_retried_after_growing_waits(clock, failure):
    sent = send(clock, failure, failure, failure, answer(202))

    assert sent.tries == 4
    assert clock.sleeps == [1, 2, 4]


@pytest.mark.parametrize(
    ("script", "maybe"),
    [
        pytest.param([LOST, answer()], True, id="response lost"),
        pytest.param([LOST, DENIED, answer()], True, id="response lost before a denial"),
        pytest.param([REFUSED_CONNECTION, answer()], False, id="never sent"),
        pytest.param([answer(502, b"<html>"), answer()], True, id="a proxy answered"),
        pytest.param([answer(408), answer()], True, id="408"),
        pytest.param([answer(500, {"success": False}), answer()], True, id="500"),
        pytest.param([answer(503, {"message": "Overloaded"}), answer()], True, id="503 that may be a proxy's"),
        pytest.param([answer(200, b"<html>"), answer()], True, id="200 without JSON"),
        pytest.param([DENIED, answer()], False, id="Statsig denies it"),
        pytest.param([answer(409), answer()], False, id="409"),
        pytest.param([answer(429), answer()], False, id="429"),
        pytest.param([answer(202, {"success": False}), answer()], False, id="2xx without success"),
    ],
)
def test_a_request_that_statsig_did_not_deny_may_be_a_duplicate(clock, script, maybe):
    assert send(clock, *script).maybe_taken is maybe


def test_a_read_is_never_a_duplicate(clock):
    request = Request("GET", "https://statsigapi.net/console/v1/segments/vips", {}, timeout=30)

    assert not send(clock, LOST, answer(), request=request, kind=ApiKeyKind.CONSOLE).maybe_taken


def test_a_message_about_reviews_counts_only_for_segments(clock):
    with pytest.raises(AuthenticationError):
        send(clock, answer(403, {"message": "Traffic of this kind requires a review"}))


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run_at_once(clock, status):
    with pytest.raises(AuthenticationError) as caught:
        send(clock, answer(status, {"message": f"Invalid key {KEY} for {SECRET_ID}"}))

    assert str(caught.value) == (
        f"Statsig answered {status} (Invalid key … for …) to 500 events of stream 'orders', with the key in "
        "`server_secret_key`. The key used ends in `…mnop`. It may be revoked, or lack a "
        "permission. Use the project's Server Secret Key, `secret-…`, from Project Settings > Keys & Environments in "
        "Statsig."
    )
    assert clock.sleeps == []


def test_a_refused_key_of_the_wrong_kind_is_named(clock):
    request = Request("GET", "https://statsigapi.net", {ApiKeyKind.CONSOLE.header: "client-abcdefghijkl"}, timeout=30)

    with pytest.raises(AuthenticationError, match=r"`console_api_key`.*…ijkl` and is a Client SDK Key.*`console-…`"):
        send(clock, answer(401, {"message": "no"}), request=request, kind=ApiKeyKind.CONSOLE)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        pytest.param(302, "Check that `events_url` is the right address. Redirects are not followed.", id="redirect"),
        pytest.param(400, "stream 'orders'.", id="bad request"),
        pytest.param(404, "Check that `events_url` is the right address. Redirects are not followed.", id="not found"),
        pytest.param(
            405, "Check that `events_url` is the right address. Redirects are not followed.", id="wrong method"
        ),
        pytest.param(422, "stream 'orders'.", id="unprocessable"),
        pytest.param(
            501, "Check that `events_url` is the right address. Redirects are not followed.", id="not implemented"
        ),
    ],
)
def test_a_final_refusal_is_not_retried(clock, status, hint):
    with pytest.raises(RefusedError) as caught:
        send(clock, answer(status, {"message": "eventName must not be empty"}))

    error = caught.value
    assert (error.status, error.message, error.maybe_taken) == (status, "eventName must not be empty", False)
    assert str(error).startswith(
        f"Statsig answered {status} (eventName must not be empty) to 500 events of stream 'orders'."
    )
    assert str(error).endswith(hint)


def test_a_request_too_large_names_the_settings_for_its_size(clock):
    with pytest.raises(TooLargeError, match="`batch_size_rows` or `batch_size_bytes`") as caught:
        send(clock, answer(413, b""))

    assert caught.value.status == 413
    assert f"request of {len(REQUEST.body)} bytes" in str(caught.value)


def test_a_refusal_after_a_lost_response_may_be_a_duplicate(clock):
    with pytest.raises(RefusedError) as caught:
        send(clock, LOST, answer(400, {"message": "Segment exists"}))

    assert caught.value.maybe_taken


@pytest.mark.parametrize(
    "retry_after",
    [pytest.param("30", id="seconds"), pytest.param("Sun, 22 Nov 2026 12:00:30 GMT", id="date")],
)
def test_retry_after_is_waited_in_full_and_jitter_only_adds(clock, retry_after):
    send(clock, answer(429, {}, {"retry-after": retry_after}.items()), answer())

    assert clock.sleeps == [31]


def test_jitter_does_not_exceed_the_retry_timeout(clock):
    send(clock, answer(429, {}, {"retry-after": "30"}.items()), answer(), retry_timeout=30)

    assert clock.sleeps == [30]


def test_a_retry_after_beyond_the_timeout_fails_at_once(clock):
    with pytest.raises(NotNowError) as caught:
        send(clock, answer(429, {"message": "Too many requests"}, {"retry-after": "7200"}.items()))

    assert str(caught.value) == (
        "Statsig answered 429 (Too many requests) to 500 events of stream 'orders' and asked for a wait of 2 h, "
        "but `retry_timeout` leaves only 30 min. Run it again after 2026-11-22 14:00:00 UTC."
    )
    assert (caught.value.status, caught.value.message, caught.value.maybe_taken) == (429, "Too many requests", False)
    assert clock.sleeps == []


def test_an_enormous_retry_after_fails_at_once(clock):
    with pytest.raises(NotNowError, match="2027-11-22"):
        send(clock, answer(429, {}, {"retry-after": "9" * 20}.items()))


def test_retries_end_with_a_last_try_at_the_timeout(clock):
    with pytest.raises(NotNowError) as caught:
        send(clock, then=answer(503, {"message": "Overloaded"}), retry_timeout=100)

    assert clock.sleeps == [1, 2, 4, 8, 16, 32, 37]
    assert str(caught.value) == (
        "Gave up on 500 events of stream 'orders' after 8 tries in 100 s (`retry_timeout`). "
        "The last result: Statsig answered 503 (Overloaded). "
        "Statsig may have taken the request: no answer denies it."
    )
    assert (caught.value.status, caught.value.message) == (503, "Overloaded")


def test_giving_up_after_lost_responses_warns_of_a_duplicate(clock):
    with pytest.raises(NotNowError, match="Statsig may have taken the request: no answer denies it") as caught:
        send(clock, then=LOST, retry_timeout=5)

    assert (caught.value.status, caught.value.message, caught.value.maybe_taken) == (None, "", True)


def test_giving_up_without_a_connection_names_the_address(clock):
    with pytest.raises(NotNowError, match="Check `events_url`, and that this machine can connect to it"):
        send(clock, then=REFUSED_CONNECTION, retry_timeout=5)


def test_slow_responses_count_towards_the_retry_timeout(clock):
    def answer_slowly(request):
        clock.advance(30)
        raise LOST

    with pytest.raises(NotNowError, match="after 2 tries"):
        send(clock, then=answer_slowly, retry_timeout=60)


def test_without_a_retry_timeout_there_is_one_try(clock):
    with pytest.raises(NotNowError, match="after 1 try"):
        send(clock, DENIED, retry_timeout=0)


def test_every_try_waits_for_the_rate_limiter(clock):
    limiter = RateLimiter([RateWindow(1, 100)], clock)

    sent = send(clock, DENIED, DENIED, answer(), limiter=limiter)

    assert sent.tries == 3
    assert clock.now - FakeClock().now > 200


def test_waits_for_the_rate_limiter_do_not_count_as_retries(clock):
    limiter = RateLimiter([RateWindow(1, 100)], clock)
    limiter.acquire()

    assert send(clock, DENIED, answer(), limiter=limiter, retry_timeout=2).tries == 2


@pytest.mark.parametrize(
    ("status", "kind", "waited"),
    [
        pytest.param(429, ApiKeyKind.CONSOLE, 60, id="quota of the same project"),
        pytest.param(503, ApiKeyKind.CONSOLE, 60, id="outage of the same API"),
        pytest.param(409, ApiKeyKind.CONSOLE, 0, id="another update of one list"),
        pytest.param(429, ApiKeyKind.SERVER_SECRET, 0, id="quota of the other API"),
    ],
)
def test_a_retry_after_delays_all_requests_with_the_key(status, kind, waited):
    def send_another() -> None:
        begun = clock.now
        send_by(sender, what="another", kind=kind)
        assert clock.now - begun == waited

    clock = HookedClock(send_another)
    transport = FakeTransport(answer(status, {}, {"retry-after": "60"}.items()), then=answer())
    sender = Sender(transport, clock, retry_timeout=1800, rng=lambda: 0.0)
    send_by(sender, kind=ApiKeyKind.CONSOLE)

    assert len(transport.requests) == 3


def test_a_signal_ends_the_wait_for_a_retry():
    def interrupt() -> None:
        clock.interrupt()

    clock = HookedClock(interrupt)
    with pytest.raises(InterruptedRunError):
        send(clock, DENIED)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param([answer(401)], AuthenticationError, id="key not accepted"),
        pytest.param([answer(413)], TooLargeError, id="too large"),
        pytest.param([InterruptedRunError("stopped")], InterruptedRunError, id="stopped"),
    ],
)
def test_errors_after_a_lost_response_warn_of_a_duplicate(clock, script, error):
    with pytest.raises(error) as caught:
        send(clock, LOST, *script)

    assert caught.value.maybe_taken


FIRST_RETRY = (
    "No answer came from events.statsigapi.net, the host of `events_url` (TimeoutError: timed out) to "
    f"{EVENTS}, but the change may have been made. Next try in 1 s; giving up in 30 min"
)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        pytest.param([answer()], [], id="no retry"),
        pytest.param([LOST, answer()], [FIRST_RETRY], id="one"),
        pytest.param(
            [LOST, DENIED, DENIED, DENIED, answer()], [FIRST_RETRY, f"Statsig accepted {EVENTS} at try 5"], id="four"
        ),
    ],
)
def test_the_first_retry_and_the_final_success_are_logged(clock, caplog, script, lines):
    with caplog.at_level(logging.INFO):
        send(clock, *script)

    assert caplog.messages == lines


def test_the_log_of_a_retry_shows_message_and_wait(clock, caplog):
    with caplog.at_level(logging.WARNING):
        send(clock, answer(429, {"message": "Slow down"}, {"retry-after": "9"}.items()), answer())

    assert caplog.messages == [f"Statsig answered 429 (Slow down) to {EVENTS}. Next try in 10 s; giving up in 30 min"]


def test_each_long_wait_is_logged(clock, caplog):
    with caplog.at_level(logging.WARNING):
        send(clock, DENIED, DENIED, answer(429, {"message": "Slow down"}, {"retry-after": "146"}.items()), answer())

    assert caplog.messages[1:] == [
        f"Statsig answered 429 (Slow down) to {EVENTS}. Next try in 3 min; giving up in 30 min"
    ]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        pytest.param(answer(502, b"<html>"), "Statsig, or a proxy in between, answered 502 without JSON", id="HTML"),
        pytest.param(DENIED, "Statsig answered 503 to", id="no message"),
        pytest.param(
            answer(202, {"success": False}), "Statsig answered 202 but did not confirm success", id="no success"
        ),
        pytest.param(answer(202, b""), "a proxy in between, answered 202 without JSON", id="empty"),
        pytest.param(answer(200, []), "Statsig answered 200 but did not confirm success", id="a list"),
    ],
)
def test_the_log_shows_who_answered_and_how(clock, caplog, given, line):
    send(clock, given, answer())

    assert line in caplog.text


def test_each_try_gets_its_own_headers(clock):
    transport = FakeTransport(DENIED, DENIED, answer())
    sender = Sender(transport, clock, retry_timeout=100, rng=lambda: 1.0)
    send_by(sender, fresh_headers=lambda tries: {"now": f"{clock.now:.0f}", "tries": str(tries)})

    assert [request.headers["tries"] for request in transport.requests] == ["0", "1", "2"]
    assert len({request.headers["now"] for request in transport.requests}) == 3
    assert all(request.headers[ApiKeyKind.SERVER_SECRET.header] == KEY for request in transport.requests)


def test_no_text_repeats_a_key_or_a_value_from_a_record(clock, caplog):
    echo = answer(500, {"message": f"cannot store {SECRET_ID} with {KEY}"})

    with pytest.raises(NotNowError) as caught:
        send(clock, then=echo, retry_timeout=10)

    for text in (caplog.text, str(caught.value), caught.value.message, repr(REQUEST)):
        assert SECRET_ID not in text
        assert KEY not in text


def test_threads_share_a_sender(clock):
    transport = FakeTransport(then=answer())
    sender = Sender(transport, clock, retry_timeout=100)
    tries = []

    def work() -> None:
        tries.extend(send_by(sender).tries for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tries == [1] * 200


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, 0.0, id="missing"),
        pytest.param("0", 0.0, id="now"),
        pytest.param("120", 120.0, id="seconds"),
        pytest.param(" 120 ", 120.0, id="blanks"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param("-5", 0.0, id="never negative"),
        pytest.param("99999999999999999999", MAX_RETRY_AFTER, id="enormous"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 GMT", 90.0, id="date"),
        pytest.param("Sunday, 22-Nov-26 12:01:30 GMT", 90.0, id="date of RFC 850"),
        pytest.param("Sun Nov 22 12:01:30 2026", 90.0, id="date of asctime"),
        pytest.param("Sun, 22 Nov 2026 14:01:30 +0200", 90.0, id="date with an offset"),
        pytest.param("Sun, 22 Nov 2026 11:59:00 GMT", 0.0, id="date in the past"),
        pytest.param("", 0.0, id="empty"),
        pytest.param("soon", 0.0, id="word"),
        pytest.param("1e3", 0.0, id="exponent"),
        pytest.param("inf", 0.0, id="infinite"),
        pytest.param("nan", 0.0, id="not a number"),
        pytest.param("2026-11-22T12:01:30Z", 0.0, id="ISO 8601 date"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 +9999", 0.0, id="impossible offset"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 +99999999999999", 0.0, id="endless offset"),
        pytest.param("Sun, 22 Nov 2026 25:01:30 GMT", 0.0, id="impossible hour"),
    ],
)
def test_retry_after_is_parsed(value, seconds):
    assert parse_retry_after(value, now=NOON) == seconds


@given(value=st.text() | st.text("SunNovGMT ,:-+0123456789"))
def test_any_retry_after_is_parsed_within_bounds(value):
    seconds = parse_retry_after(value, now=NOON)

    assert 0 <= seconds <= MAX_RETRY_AFTER


@given(seconds=st.integers(0, int(MAX_RETRY_AFTER)))
def test_both_forms_of_retry_after_are_equal(seconds):
    date = format_datetime(NOON_UTC + timedelta(seconds=seconds), usegmt=True)

    assert parse_retry_after(date, now=NOON) == parse_retry_after(str(seconds), now=NOON) == seconds


def test_delays_double_up_to_a_minute(clock):
    send(clock, *[DENIED] * 8, answer())

    assert clock.sleeps == [1, 2, 4, 8, 16, 32, MAX_DELAY, MAX_DELAY]


def test_jitter_spreads_delays_from_zero_to_all(clock):
    transport = FakeTransport(*[DENIED] * 3, answer())
    send_by(Sender(transport, clock, retry_timeout=100, rng=iter([0.0, 0.5, 0.25, 1.0]).__next__))

    assert clock.sleeps == [0, 1, 1]
