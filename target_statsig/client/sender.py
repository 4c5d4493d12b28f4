"""Repeats a request until Statsig has decided, within a budget of time."""

from __future__ import annotations

import logging
import random
import re
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING

import backoff

from target_statsig.client.answers import Answer, Call, decode_json, quote_message
from target_statsig.client.http import TransportError
from target_statsig.errors import NotNowError, TargetStatsigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.http import Request, Transport
    from target_statsig.client.rate_limit import RateLimiter
    from target_statsig.clock import Clock
    from target_statsig.config.choices import ApiKeyKind

logger = logging.getLogger(__name__)

MAX_DELAY = 60.0
"""Most seconds between two tries without a `Retry-After`, so that the end of an outage is noticed soon."""

MAX_RETRY_AFTER = 365 * 86_400.0
"""Seconds. A longer `Retry-After` is cut, because dates end not much later."""

LOGGED_TRIES = 2
"""Tries to log one by one; after more, only long waits and the outcome are logged. An outage has hundreds of them."""

_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?", re.ASCII)

_CLOSES_THE_API = frozenset({429, 503})
"""Statuses whose `Retry-After` holds for the project: no request with its key is sent meanwhile."""


@dataclass(eq=False)
class Sender:
    """Sends requests, and tries again until Statsig has decided. Thread-safe.

    Attributes:
        clock: Its waits end when the run is asked to stop.
        retry_timeout: Seconds that a request may spend on tries and the waits between them. Waits for the limiter, or
            for the `Retry-After` of another request, do not count.
        rng: Returns numbers from 0 to 1.
    """

    transport: Transport
    clock: Clock
    retry_timeout: float = field(kw_only=True)
    rng: Callable[[], float] = field(default=random.random, kw_only=True)
    _closed_until: dict[ApiKeyKind, float] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def send(
        self,
        request: Request,
        *,
        what: str,
        kind: ApiKeyKind,
        limiter: RateLimiter | None = None,
        fresh_headers: Callable[[int], Mapping[str, str]] | None = None,
    ) -> Call:
        """Send a request until it is taken, or until more tries are pointless.

        `what` is a phrase for messages, and `kind` is that of the key. `limiter` is asked before every try.
        `fresh_headers` returns the headers of one try, given the number of tries before it.

        Raises:
            AuthenticationError: The key is not accepted (401, 403).
            RefusedError: This body will never be taken.
            TooLargeError: This body is too large (413).
            NotNowError: The retries are used up, or Statsig asks for a longer wait than the time left.
            InterruptedRunError: The run was asked to stop during a wait.

        Each has `maybe_taken`: whether Statsig may have acted on a try.
        """
        call = Call(what, kind, request, self.retry_timeout)
        try:
            # The first value of `expo` is no delay: it starts the generator.
            for ceiling in islice(backoff.expo(max_value=MAX_DELAY), 1, None):
                while (closed := self._closed_until.get(kind, 0.0) - self.clock.monotonic()) > 0:
                    self.clock.sleep(closed)
                if limiter:
                    limiter.acquire()
                self._try(call, fresh_headers(call.tries) if fresh_headers else {})
                if call.answer.error is None:
                    break
                if call.answer.error is not NotNowError:
                    raise call.refusal()
                self._wait(call, self.rng() * ceiling)
        except TargetStatsigError as error:
            error.maybe_taken = call.maybe_taken
            raise
        if call.tries > LOGGED_TRIES:
            logger.info("Statsig accepted %s at try %s", call.what, f"{call.tries:,}")
        return call

    def _try(self, call: Call, fresh_headers: Mapping[str, str]) -> None:
        begun = self.clock.monotonic()
        try:
            response = self.transport.send(replace(call.request, headers={**call.request.headers, **fresh_headers}))
        except TransportError as error:
            answer = Answer(message=str(error), sent=error.sent)
        else:
            body = decode_json(response.body)
            retry_after = parse_retry_after(response.headers.get("retry-after"), now=self.clock.time())
            answer = Answer(response.status, body, retry_after=retry_after, wants_review=call.wants_review(body))
            if answer.error is not None:
                answer = replace(answer, message=quote_message(body, sent=call.request.body, key=call.key))
        call.answer = answer
        call.tries += 1
        call.seconds_left -= self.clock.monotonic() - begun
        call.maybe_taken = call.maybe_taken or (call.changes and answer.maybe_taken)

    def _wait(self, call: Call, delay: float) -> None:
        """Wait for the next try: `Retry-After` plus the delay, or raise NotNowError if the time left is too short."""
        asked, left = call.answer.retry_after, call.seconds_left
        if asked > max(left, 0.0):
            raise call.come_back(self.clock.time())
        if left <= 0:
            raise call.used_up(self.retry_timeout)
        if call.answer.status in _CLOSES_THE_API:
            with self._lock:
                until = self.clock.monotonic() + asked
                self._closed_until[call.kind] = max(until, self._closed_until.get(call.kind, 0.0))
        wait = min(asked + delay, left)
        level = logging.WARNING if call.tries < LOGGED_TRIES or wait > MAX_DELAY else logging.DEBUG
        logger.log(level, "%s", call.retrying(wait))
        self.clock.sleep(wait)
        call.seconds_left -= wait


def parse_retry_after(value: str | None, *, now: float) -> float:
    """Return the seconds of a `Retry-After` header; 0 if it is missing, cannot be read, or is a date before `now`.

    `now` is in seconds since 1970. Source: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.
    """
    if value is None:
        return 0.0
    if _NUMBER.fullmatch(value.strip()):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return 0.0
        # The three forms of an HTTP date are all in UTC; the oldest does not say so.
        seconds = (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
