"""One request until it is settled: try, wait, try again, within a budget of time.

Knows what to do after an answer. Refuses to know what is in a body and which API it is for.
"""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from target_statsig.client.failures import Errand, Said
from target_statsig.client.retry import Outcome, classify, delays, maybe_taken, parse_retry_after
from target_statsig.client.transport import TransportError
from target_statsig.client.words import decode, quote
from target_statsig.exceptions import TargetStatsigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.keys import KeyKind
    from target_statsig.client.rate_limit import RateLimiter
    from target_statsig.client.transport import Request, Transport
    from target_statsig.clock import Clock

logger = logging.getLogger(__name__)

_FOR_EVERYBODY = frozenset({429, 503})
"""Statuses whose `Retry-After` is about the project and not about one request: nobody with its key asks meanwhile."""

_READS = "GET"

SILENCE = 60.0
"""Seconds of a wait without a word, after which the log says what is being waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A yes.

    Attributes:
        status: The HTTP status.
        body: The decoded JSON object.
        requests: HTTP requests that it took.
        retries: How many of them were retries.
        maybe_duplicated: Statsig may have acted upon an earlier try, too.
    """

    status: int
    body: Any
    requests: int
    retries: int
    maybe_duplicated: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """A try that failed and will be followed by another.

    Attributes:
        status: The HTTP status, or None where no answer came.
        wait: Seconds until the next try.
        retries: Which retry that is, from 1.
        maybe_taken: Statsig may have acted all the same: the answer was lost, or does not deny it.
    """

    status: int | None
    wait: float
    retries: int
    maybe_taken: bool


@dataclass(frozen=True, slots=True)
class _Reply:
    outcome: Outcome
    said: Said
    body: object = None
    retry_after: float | None = None
    maybe_taken: bool = False


class Sender:
    """Sends requests, from any number of threads, until Statsig has decided."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        retry_timeout: float,
        rng: Callable[[], float] = random.random,
    ) -> None:
        """Take what sends, what waits, and how long to go on.

        Args:
            transport: Sends each try.
            clock: Its waits end when the run is asked to stop.
            retry_timeout: Seconds that one request may spend on tries and on the waits between them. A wait for
                its turn, which the limiter imposes or a `Retry-After` that another request met, does not count.
            rng: Returns numbers from 0 to 1, for the jitter.
        """
        self._transport = transport
        self._clock = clock
        self._retry_timeout = retry_timeout
        self._rng = rng
        self._closed_until: dict[KeyKind, float] = {}
        self._said_at = clock.monotonic()
        self._lock = threading.Lock()

    def send(
        self,
        request: Request,
        *,
        what: str,
        key: KeyKind,
        limiter: RateLimiter | None = None,
        on_retry: Callable[[Retry], None] | None = None,
        fresh_headers: Callable[[int], Mapping[str, str]] | None = None,
    ) -> Answer:
        """Send a request until it is taken, or until there is no point in going on.

        Args:
            request: What to send.
            what: A phrase for it, such as "500 events of stream 'orders'" or "adding 10 ids to segment 'vips'".
            key: The kind of key that it carries.
            limiter: Asked before every try.
            on_retry: Called before the wait for each retry.
            fresh_headers: Returns the headers that each try has anew, given the number of tries before it.

        Raises:
            AuthenticationError: The key is not accepted (401, 403).
            RefusedError: This body will never be taken.
            TooLargeError: This body is too large (413).
            NotNowError: The retries are used up, or Statsig asks for a longer wait than there is time for.
            InterruptedRunError: The run was asked to stop during a wait.

        Whichever it is, its `maybe_taken` tells whether Statsig may have acted upon a try.
        """
        errand = Errand(
            what=what,
            kind=key,
            key=request.headers.get(key.header, ""),
            url=request.url,
            size=len(request.body or b""),
            left=self._retry_timeout,
        )
        try:
            return self._settle(request, errand, limiter, on_retry, fresh_headers)
        except TargetStatsigError as error:
            error.maybe_taken = errand.maybe_taken
            raise

    def _settle(
        self,
        request: Request,
        errand: Errand,
        limiter: RateLimiter | None,
        on_retry: Callable[[Retry], None] | None,
        fresh_headers: Callable[[int], Mapping[str, str]] | None,
    ) -> Answer:
        waits = delays(self._rng)
        while True:
            self._await_turn(errand, limiter)
            fresh = fresh_headers(errand.tries) if fresh_headers else {}
            reply = self._try(replace(request, headers={**request.headers, **fresh}), errand)
            status = reply.said.status
            if reply.outcome is Outcome.OK and status is not None:
                return Answer(status, reply.body, errand.tries, errand.tries - 1, errand.maybe_taken)
            if reply.outcome is not Outcome.RETRY:
                raise _refusal(errand, reply.outcome)
            wait = self._wait(errand, reply, next(waits))
            self._say(errand.retrying(wait, maybe_taken=reply.maybe_taken))
            if on_retry:
                on_retry(Retry(status, wait, errand.tries, reply.maybe_taken))
            self._pause(wait, errand)
            errand.left -= wait

    def _try(self, request: Request, errand: Errand) -> _Reply:
        begun = self._clock.monotonic()
        reply = self._ask(request, errand)
        errand.left -= self._clock.monotonic() - begun
        errand.tries += 1
        errand.said = reply.said
        errand.maybe_taken = errand.maybe_taken or reply.maybe_taken
        return reply

    def _ask(self, request: Request, errand: Errand) -> _Reply:
        changes = request.method != _READS
        try:
            response = self._transport.send(request)
        except TransportError as error:
            said = Said(words=str(error), host=errand.host)
            return _Reply(classify(None, None), said, maybe_taken=error.sent and changes)
        body = decode(response.body)
        outcome = classify(response.status, body)
        words = "" if outcome is Outcome.OK else quote(body, sent=request.body, key=errand.key)
        now = datetime.fromtimestamp(self._clock.time(), tz=timezone.utc)
        retry_after = parse_retry_after(response.headers.get("retry-after"), now=now)
        return _Reply(
            outcome,
            Said(response.status, body is not None, words),
            body,
            retry_after,
            changes and maybe_taken(response.status, body),
        )

    def _wait(self, errand: Errand, reply: _Reply, delay: float) -> float:
        """Return the seconds to wait for the next try.

        Raises:
            NotNowError: There is no time for one.
        """
        asked = reply.retry_after or 0.0
        if asked > max(errand.left, 0.0):
            raise errand.come_back(asked, self._clock.time())
        if errand.left <= 0:
            raise errand.used_up(self._retry_timeout)
        if errand.said.status in _FOR_EVERYBODY:
            with self._lock:
                until = self._clock.monotonic() + asked
                self._closed_until[errand.kind] = max(until, self._closed_until.get(errand.kind, 0.0))
        return min(asked + delay, errand.left)

    def _await_turn(self, errand: Errand, limiter: RateLimiter | None) -> None:
        while (closed := self._closed_until.get(errand.kind, 0.0) - self._clock.monotonic()) > 0:
            self._pause(closed, errand)
        if limiter:
            limiter.acquire()

    def _pause(self, seconds: float, errand: Errand) -> None:
        """Wait, and say for what once there was silence for a while."""
        while seconds > SILENCE:
            self._clock.sleep(SILENCE)
            seconds -= SILENCE
            if self._clock.monotonic() - self._said_at >= SILENCE:
                self._say(errand.waiting(seconds))
        self._clock.sleep(seconds)

    def _say(self, text: str) -> None:
        self._said_at = self._clock.monotonic()
        logger.warning("%s", text)


def _refusal(errand: Errand, outcome: Outcome) -> TargetStatsigError:
    if outcome is Outcome.FATAL:
        return errand.wrong_key()
    if outcome is Outcome.TOO_LARGE:
        return errand.too_large()
    return errand.refused()
