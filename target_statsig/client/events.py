"""The events API: encoded items in, one request out (https://docs.statsig.com/http-api).

Knows its calls, the envelope, its compression and its headers. Refuses to know what an item is: items come encoded and
are never decoded again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from isal import isal_zlib

from target_statsig import __version__
from target_statsig.client.keys import KeyKind
from target_statsig.client.transport import Request
from target_statsig.settings import Compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from target_statsig.client.sender import Sender
    from target_statsig.clock import Clock

GZIP_LEVEL = 1
"""186 KB of events become 23 KB in 0.1 ms. The standard library's zlib takes 0.5 ms for as many, and more for fewer."""

_GZIP_FORMAT = isal_zlib.MAX_WBITS | 16

_METADATA = msgspec.json.encode({"sdkType": "target-statsig", "sdkVersion": __version__})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where items of one kind go.

    Attributes:
        path: The path below the base URL.
        items: The name of the list that holds them.
        says_who: Whether the body may say who sent it, in `statsigMetadata`.
    """

    path: str
    items: str
    says_who: bool = True


LOG_EVENT = Endpoint("log_event", "events")
"""https://docs.statsig.com/api-reference/events/log-custom-events."""

LOG_CUSTOM_EXPOSURE = Endpoint("log_custom_exposure", "exposures")
"""https://docs.statsig.com/api-reference/events/log-custom-exposure-events."""

LOG_CUSTOM_METRIC = Endpoint("log_custom_metric", "metrics", says_who=False)
"""https://docs.statsig.com/metrics/precomputed-metrics; what is published of its body has no `statsigMetadata`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What it took to deliver some items.

    Attributes:
        requests: HTTP requests.
        retries: How many of them were retries.
        bytes_sent: Bytes of their bodies, as they went over the wire.
        maybe_duplicated: Statsig may have taken an earlier try, too: the items may count twice.
    """

    requests: int
    retries: int
    bytes_sent: int
    maybe_duplicated: bool


def encode_body(endpoint: Endpoint, items: bytes, flags: Iterable[str], compression: Compression) -> bytes:
    """Return the body of a request.

    Args:
        endpoint: Where it goes.
        items: JSON objects, encoded, commas between them.
        flags: Members of the body that are true.
        compression: How the body is encoded.
    """
    beside = b"".join(b',"%b":true' % flag.encode() for flag in flags)
    if endpoint.says_who:
        beside += b',"statsigMetadata":%b' % _METADATA
    body = b'{"%b":[%b]%b}' % (endpoint.items.encode(), items, beside)
    return body if compression is Compression.NONE else isal_zlib.compress(body, GZIP_LEVEL, _GZIP_FORMAT)


class EventsClient:
    """Delivers items to the events API, from any number of threads.

    Attributes:
        compression: How bodies are encoded.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        base_url: str,
        key: str,
        compression: Compression,
        timeout: float,
        clock: Clock,
        at_once: int = 1_000,
    ) -> None:
        """Take what sends, and where to.

        Args:
            sender: Sends each request until it is settled.
            base_url: The setting `events_url`.
            key: The project's Server Secret Key.
            compression: How bodies are encoded.
            timeout: Seconds for one HTTP request.
            clock: Tells Statsig what time it is here.
            at_once: Requests under way at once, at most.

        Raises:
            AuthenticationError: The key is missing, or has characters that no key has.
        """
        self._sender = sender
        self._base_url = base_url.rstrip("/")
        self.compression = compression
        self._timeout = timeout
        self._clock = clock
        self._places = threading.BoundedSemaphore(at_once)
        self._headers = {
            KeyKind.SERVER_SECRET.header: KeyKind.SERVER_SECRET.check(key),
            "content-type": "application/json",
        }
        if compression is Compression.GZIP:
            self._headers["content-encoding"] = "gzip"

    def send(
        self,
        endpoint: Endpoint,
        items: Sequence[bytes],
        *,
        what: str,
        flags: Iterable[str] = (),
        on_try: Callable[[int, int], None] | None = None,
    ) -> Sent:
        """Deliver items, which are encoded JSON objects, in one request; see `send_body`."""
        body = encode_body(endpoint, b",".join(items), flags, self.compression)
        return self.send_body(endpoint, body, len(items), what=what, on_try=on_try)

    def send_body(
        self,
        endpoint: Endpoint,
        body: bytes,
        count: int,
        *,
        what: str,
        on_try: Callable[[int, int], None] | None = None,
    ) -> Sent:
        """Deliver items in one request; it is taken or refused whole.

        Args:
            endpoint: Where to.
            body: What `encode_body` made of at least one item, with this client's compression.
            count: How many items it holds.
            what: A phrase for messages, such as "500 events of stream 'orders'".
            on_try: Called before each try with the number of tries before it, and the bytes of its body: what a
                request that is not taken has cost, too.

        Raises:
            AuthenticationError: The key is not accepted.
            RefusedError: The items will never be taken together.
            TooLargeError: The body is too large.
            NotNowError: Statsig cannot take them for now.
            InterruptedRunError: The run was asked to stop during a wait.
        """
        request = Request(
            "POST",
            f"{self._base_url}/{endpoint.path}",
            {**self._headers, "statsig-event-count": str(count)},
            timeout=self._timeout,
            body=body,
        )

        def fresh_headers(tries: int) -> Mapping[str, str]:
            if on_try:
                on_try(tries, len(body))
            return self._fresh_headers(tries)

        with self._places:
            answer = self._sender.send(request, what=what, key=KeyKind.SERVER_SECRET, fresh_headers=fresh_headers)
        return Sent(answer.requests, answer.retries, answer.requests * len(body), answer.maybe_duplicated)

    def _fresh_headers(self, tries: int) -> Mapping[str, str]:
        """Return what each try says anew: the time, by which Statsig corrects our clock, is that of the try."""
        headers = {"STATSIG-CLIENT-TIME": str(int(self._clock.time() * 1000))}
        if tries:
            headers["statsig-retry-count"] = str(tries)
        return headers
