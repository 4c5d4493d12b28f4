"""What an answer means for the request, and how long to wait before the next try.

Pure: knows neither clock nor network. What is known about Statsig's statuses stands here and nowhere else.
"""

from __future__ import annotations

import enum
import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DELAY = 60.0
"""Seconds at most between two tries for which Statsig named no time: so soon an outage's end is noticed."""

MAX_RETRY_AFTER = 365 * 86_400.0
"""Seconds. Nobody waits longer, and much further on there are no dates."""

_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?", re.ASCII)

_OK = range(200, 300)
_SERVER_ERRORS = range(500, 600)
_BAD_KEY = frozenset({401, 403})
_TOO_LARGE = 413
_NOT_IMPLEMENTED = 501
_UNAVAILABLE = 503

_TRY_AGAIN = frozenset({408, 409, 429})
"""Client errors that pass: a timeout, another update of the list under way, a quota.

Statsig's own SDKs lose the events of a 429; a pipeline must not."""


_TURNED_AWAY = frozenset({409, 429})
"""Of those the ones that come before anything is done."""


class Outcome(enum.Enum):
    """What to do after an answer."""

    OK = "ok"
    RETRY = "retry"
    TOO_LARGE = "too large"
    REJECTED = "rejected"
    FATAL = "fatal"


def classify(status: int | None, body: object) -> Outcome:
    """Say what an answer means.

    Statsig's own SDKs take a 2xx with `success: false`, or without JSON, for a failure: something between may
    have given it. Both APIs answer with objects; those of the Console API have no `success`.
    Sources: https://docs.statsig.com/http-api and the SDKs at https://github.com/statsig-io.

    Args:
        status: The HTTP status, or None where no answer came.
        body: The decoded JSON, or None where there was none.
    """
    if status is None or status in _TRY_AGAIN:
        return Outcome.RETRY
    if status in _OK:
        taken = isinstance(body, dict) and body.get("success") is not False
        return Outcome.OK if taken else Outcome.RETRY
    if status in _BAD_KEY:
        return Outcome.FATAL
    if status == _TOO_LARGE:
        return Outcome.TOO_LARGE
    if status in _SERVER_ERRORS and status != _NOT_IMPLEMENTED:
        return Outcome.RETRY
    return Outcome.REJECTED


def maybe_taken(status: int, body: object) -> bool:
    """Say whether Statsig may have acted upon a request all the same, though the answer is no yes.

    A server that fails, or a proxy that loses patience, may do so behind the point at which the events were taken.
    Statsig's own `success: false` says that they were not.

    Args:
        status: The HTTP status.
        body: The decoded JSON, or None where there was none.
    """
    if classify(status, body) is not Outcome.RETRY or status in _TURNED_AWAY:
        return False
    may_deny = status in _OK or status == _UNAVAILABLE
    return not (may_deny and isinstance(body, dict) and body.get("success") is False)


def parse_retry_after(value: str | None, *, now: datetime) -> float | None:
    """Read a `Retry-After` header (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after).

    Args:
        value: A number of seconds or an HTTP date.
        now: The time, with its zone, that a date is compared with.

    Returns:
        Seconds from now, 0 where the time is past; None where the header is missing or cannot be read.
    """
    if value is None:
        return None
    if _NUMBER.fullmatch(value.strip()):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        # The three forms of an HTTP date are all in UTC; the oldest does not say so.
        aware = date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)
        seconds = (aware - now).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def delays(rng: Callable[[], float]) -> Iterator[float]:
    """Return the seconds to wait before each retry: growing, capped, and spread by full jitter.

    What `Retry-After` asks is added to them, never shortened by them.

    Args:
        rng: Returns numbers from 0 to 1.
    """
    ceilings = backoff.expo(max_value=MAX_DELAY)
    next(ceilings)  # the first is no ceiling: it starts the generator
    for ceiling in ceilings:
        yield rng() * ceiling
