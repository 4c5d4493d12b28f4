"""The events API: its calls, and the body and headers of a request (https://docs.statsig.com/http-api)."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from isal import isal_zlib

from target_statsig import __version__
from target_statsig.config.choices import ApiKeyKind, Compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from target_statsig.client.answers import Call
    from target_statsig.client.sender import Sender
    from target_statsig.clock import Clock
    from target_statsig.config.settings import Settings

GZIP_LEVEL = 1
"""186 KB of events become 23 KB in 0.1 ms. The standard library's zlib takes 0.5 ms for as many, and more for fewer."""

_GZIP_FORMAT = isal_zlib.MAX_WBITS | 16

_METADATA = msgspec.json.encode({"sdkType": "target-statsig", "sdkVersion": __version__})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint of one type of items.

    Attributes:
        path: The path below the base URL.
        items: The name of the list that holds them.
        has_metadata: Whether the body has `statsigMetadata`, which names the sender.
    """

    path: str
    items: str
    has_metadata: bool = True


LOG_EVENT = Endpoint("log_event", "events")
"""https://docs.statsig.com/api-reference/events/log-custom-events."""

LOG_CUSTOM_EXPOSURE = Endpoint("log_custom_exposure", "exposures")
"""https://docs.statsig.com/api-reference/events/log-custom-exposure-events."""

LOG_CUSTOM_METRIC = Endpoint("log_custom_metric", "metrics", has_metadata=False)
"""https://docs.statsig.com/metrics/precomputed-metrics; what is published of its body has no `statsigMetadata`."""


def encode_body(endpoint: Endpoint, items: bytes, flags: Iterable[str], compression: Compression) -> bytes:
    """Return the body of a request. Items are JSON separated by commas; `flags` are members that are true."""
    beside = b"".join(b',"%b":true' % flag.encode() for flag in flags)
    if endpoint.has_metadata:
        beside += b',"statsigMetadata":%b' % _METADATA
    body = b'{"%b":[%b]%b}' % (endpoint.items.encode(), items, beside)
    return body if compression is Compression.NONE else isal_zlib.compress(body, GZIP_LEVEL, _GZIP_FORMAT)


class EventsClient:
    """Delivers items to the events API. Thread-safe; bodies must have its compression."""

    def __init__(self, sender: Sender, settings: Settings, clock: Clock) -> None:
        """Take the settings of the events API.

        Raises:
            AuthenticationError: The key is missing, or has characters that no key has.
        """
        self.compression = settings.compression
        self._sender = sender
        self._base_url = settings.events_url.rstrip("/")
        self._timeout = settings.request_timeout
        self._clock = clock
        self._slots = threading.BoundedSemaphore(settings.max_parallel_requests)
        self._headers = {
            ApiKeyKind.SERVER_SECRET.header: ApiKeyKind.SERVER_SECRET.check(settings.server_secret_key or ""),
            "content-type": "application/json",
        }
        if self.compression is Compression.GZIP:
            self._headers["content-encoding"] = "gzip"

    def send_body(
        self, endpoint: Endpoint, body: bytes, count: int, *, what: str, on_try: Callable[[int, int], None]
    ) -> Call:
        """Deliver items in one request, which is taken or refused as a whole. Raises as `Sender.send`.

        `body` is what `encode_body` made of `count` items, with this client's compression; `what` is a phrase for
        messages. `on_try` is called before each try with the number of tries before it, and the bytes of the body.
        """
        from target_statsig.client.http import Request  # noqa: PLC0415 -- slow, and workers only encode

        def fresh_headers(tries: int) -> Mapping[str, str]:
            on_try(tries, len(body))
            # Statsig corrects the events' times by this one.
            headers = {"STATSIG-CLIENT-TIME": str(int(self._clock.time() * 1000))}
            return {**headers, "statsig-retry-count": str(tries)} if tries else headers

        url, headers = f"{self._base_url}/{endpoint.path}", {**self._headers, "statsig-event-count": str(count)}
        request = Request("POST", url, headers, self._timeout, body)
        with self._slots:
            return self._sender.send(request, what=what, kind=ApiKeyKind.SERVER_SECRET, fresh_headers=fresh_headers)
