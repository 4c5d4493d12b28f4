from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.client.retry import (
    MAX_DELAY,
    MAX_RETRY_AFTER,
    Outcome,
    classify,
    delays,
    parse_retry_after,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
YES = {"success": True}
SAID = {"message": "Segment not found", "status": 404}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        pytest.param(None, None, Outcome.RETRY, id="no answer"),
        pytest.param(202, YES, Outcome.OK, id="taken"),
        pytest.param(200, {"message": "IDs added", "data": {}}, Outcome.OK, id="taken by the console"),
        pytest.param(201, {"data": {"id": "vip"}}, Outcome.OK, id="created by the console"),
        pytest.param(202, {"success": False}, Outcome.RETRY, id="2xx that is none"),
        pytest.param(202, None, Outcome.RETRY, id="2xx without JSON"),
        pytest.param(204, None, Outcome.RETRY, id="2xx without a body"),
        pytest.param(200, "success", Outcome.RETRY, id="2xx with a string"),
        pytest.param(200, [YES], Outcome.RETRY, id="2xx with a list"),
        pytest.param(301, None, Outcome.REJECTED, id="redirect"),
        pytest.param(304, None, Outcome.REJECTED, id="not modified"),
        pytest.param(400, SAID, Outcome.REJECTED, id="bad request"),
        pytest.param(401, SAID, Outcome.FATAL, id="no key"),
        pytest.param(403, SAID, Outcome.FATAL, id="wrong key"),
        pytest.param(404, SAID, Outcome.REJECTED, id="not found"),
        pytest.param(405, SAID, Outcome.REJECTED, id="wrong method"),
        pytest.param(408, None, Outcome.RETRY, id="request timeout"),
        pytest.param(409, SAID, Outcome.RETRY, id="update in progress"),
        pytest.param(413, None, Outcome.TOO_LARGE, id="too large"),
        pytest.param(422, SAID, Outcome.REJECTED, id="unprocessable"),
        pytest.param(429, SAID, Outcome.RETRY, id="quota"),
        pytest.param(500, None, Outcome.RETRY, id="server error"),
        pytest.param(501, None, Outcome.REJECTED, id="not implemented"),
        pytest.param(502, None, Outcome.RETRY, id="bad gateway"),
        pytest.param(503, {"success": False}, Outcome.RETRY, id="unavailable"),
        pytest.param(503, YES, Outcome.RETRY, id="unavailable, whatever it says"),
        pytest.param(504, None, Outcome.RETRY, id="gateway timeout"),
        pytest.param(522, None, Outcome.RETRY, id="Cloudflare's connection timeout"),
        pytest.param(524, None, Outcome.RETRY, id="Cloudflare's timeout"),
        pytest.param(599, None, Outcome.RETRY, id="network timeout"),
        pytest.param(600, None, Outcome.REJECTED, id="no status at all"),
    ],
)
def test_an_answer_means(status, body, outcome):
    assert classify(status, body) is outcome


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, None, id="missing"),
        pytest.param("0", 0.0, id="now"),
        pytest.param("120", 120.0, id="seconds"),
        pytest.param(" 120 ", 120.0, id="blanks"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param("-5", 0.0, id="never negative"),
        pytest.param("99999999999999999999", MAX_RETRY_AFTER, id="beyond all dates"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 GMT", 90.0, id="date"),
        pytest.param("Sunday, 22-Nov-26 12:01:30 GMT", 90.0, id="date of RFC 850"),
        pytest.param("Sun Nov 22 12:01:30 2026", 90.0, id="date of asctime"),
        pytest.param("Sun, 22 Nov 2026 14:01:30 +0200", 90.0, id="date with an offset"),
        pytest.param("Sun, 22 Nov 2026 11:59:00 GMT", 0.0, id="date gone by"),
        pytest.param("", None, id="empty"),
        pytest.param("soon", None, id="word"),
        pytest.param("1e3", None, id="exponent"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("nan", None, id="no number"),
        pytest.param("2026-11-22T12:01:30Z", None, id="date of another kind"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 +9999", None, id="impossible offset"),
        pytest.param("Sun, 22 Nov 2026 12:01:30 +99999999999999", None, id="endless offset"),
        pytest.param("Sun, 22 Nov 2026 25:01:30 GMT", None, id="impossible hour"),
    ],
)
def test_retry_after_means(value, seconds):
    assert parse_retry_after(value, now=NOON) == seconds


@given(value=st.text() | st.text("SunNovGMT ,:-+0123456789"))
def test_no_retry_after_breaks_the_run(value):
    seconds = parse_retry_after(value, now=NOON)

    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@given(seconds=st.integers(0, int(MAX_RETRY_AFTER)))
def test_both_forms_of_retry_after_say_the_same(seconds):
    date = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)

    assert parse_retry_after(date, now=NOON) == parse_retry_after(str(seconds), now=NOON) == seconds


def test_delays_double_up_to_a_minute():
    assert list(islice(delays(lambda: 1.0), 8)) == [1, 2, 4, 8, 16, 32, MAX_DELAY, MAX_DELAY]


def test_delays_are_spread_from_nothing_to_all():
    assert list(islice(delays(iter([0.0, 0.5, 0.25]).__next__), 3)) == [0, 1, 1]
