"""One request over HTTP: how its server is reached, its bytes out, its response in, and what went wrong."""

from __future__ import annotations

import io
import logging
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import requests
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from typing_extensions import override
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError, ResponseError

from target_statsig import __version__
from target_statsig.errors import FatalRunError, Heading, TargetStatsigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection

logger = logging.getLogger(__name__)

# Its debug lines hold whole addresses, and `notify_url` is a secret.
logging.getLogger("urllib3").setLevel(logging.INFO)

USER_AGENT = f"target-statsig/{__version__}"

MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes of a usual response to read at most; Statsig's have some hundred."""

_MAX_ERROR_TEXT = 200

_KEPT_CONNECTIONS = 128
"""More than the number of threads, so that each finds its connection again."""

_ADDRESSES = 3
"""Each address of a host may take this part of a request's time to connect, so that the next one has a chance."""

_CHUNK_BYTES = 64 * 1024

_LENIENCIES = {
    "lenient_chunked_length": True,  # besides a Content-Length
    "lenient_headers": True,
    "lenient_keep_alive": True,  # after an interim response with `Connection: close`
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
    "lenient_version": True,
}
"""Slips of some proxies. If such a response were refused, its request, which Statsig has taken, would be sent again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Its `repr` shows neither headers (with the key) nor the body.

    Attributes:
        timeout: Seconds in total, from connecting to the last byte of the response.
        max_response_bytes: Bytes of the response to read; a longer one counts as lost.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    body: bytes | None = field(default=None, repr=False)
    max_response_bytes: int = MAX_RESPONSE_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """A response of any status; its headers are found by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class TransportError(Exception):
    """No response came.

    Attributes:
        sent: True if the request may have reached the server; False if it surely did not (unknown host, connection
            refused, TLS not agreed).
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Transport(Protocol):
    """Sends a request once: over the network, or in a dry run only reads."""

    def send(self, request: Request) -> Response:
        """Send a request once.

        Raises:
            TransportError: No response came.
        """

    def close(self) -> None:
        """Close what was opened."""


NOTIFY_TIMEOUT = 10.0
"""Seconds for the only try: the run is over."""


def notify(url: str, body: bytes, transport: Transport) -> None:
    """POST a report to `notify_url`. A failure is only logged, with the host alone: the address may hold a secret."""
    request = Request("POST", url, {"Content-Type": "application/json"}, NOTIFY_TIMEOUT, body)
    try:
        status = transport.send(request).status
    except (TransportError, TargetStatsigError) as error:
        logger.warning("The report could not be sent to `notify_url` (%s): %s.", urlsplit(url).hostname, error)
        return
    if status not in range(200, 300):
        logger.warning("`notify_url` (%s) refused the report: it answered %d.", urlsplit(url).hostname, status)


class HttpTransport(Transport):
    """Requests over the network, from any number of threads, which share the connections that are kept.

    Proxies and certificates are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`).
    There are no cookies, no `.netrc` and no redirects: `requests` only finds out how a server is reached, and urllib3
    makes and keeps the connections. Its `urlopen` takes as long as all the rest of a request.

    A running request cannot be interrupted: a run that is asked to stop waits for it, up to the request's timeout.
    (The system's look-up of a host's addresses has no limit.)
    """

    def __init__(self) -> None:
        self._adapter = requests.adapters.HTTPAdapter(pool_maxsize=_KEPT_CONNECTIONS)
        self._routes: dict[str, _Route] = {}

    @override
    def send(self, request: Request) -> Response:
        end = time.monotonic() + request.timeout
        route = self._route(request.url)
        message = route.message(request)
        connection = cast("HTTPConnection", route.pool._get_conn())  # noqa: SLF001 -- below `urlopen`
        sent = keeps_open = False
        try:
            if connection.sock is None:
                connection.timeout = request.timeout / _ADDRESSES
                route.connect(connection)
            connection.sock.settimeout(_seconds_left(end))
            sent = True
            received = _exchange(connection.sock, message, end=end, max_bytes=request.max_response_bytes)
            keeps_open = received.keeps_open
        except (OSError, HTTPException, HTTPError, ValueError) as error:  # the last: a certificate
            late = f"not finished within the {request.timeout:g} s of `request_timeout`"
            raise TransportError(late if time.monotonic() >= end else _cause(error), sent=sent) from None
        finally:
            if not keeps_open:
                connection.close()
            route.pool._put_conn(connection)  # noqa: SLF001
        return Response(received.status, received.headers, received.body)

    @override
    def close(self) -> None:
        self._routes.clear()
        self._adapter.close()

    def _route(self, url: str) -> _Route:
        """Return the route to an address, cached: finding it takes as long as two requests."""
        route = self._routes.get(url)
        if route is None:
            try:
                route = self._routes[url] = _find_route(self._adapter, url)
            except (OSError, ValueError) as error:
                # The text of a ValueError may quote the address, and a password in it.
                cause = "The address cannot be used" if isinstance(error, ValueError) else error
                msg = (
                    f"{cause}, so nothing was sent. Check `events_url`, `console_url` and the variables of the "
                    "environment for proxies and certificates (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`)."
                )
                raise FatalRunError(msg, heading=Heading.SETTINGS) from None
        return route


def _find_route(adapter: requests.adapters.HTTPAdapter, url: str) -> _Route:
    session, prepared = requests.Session(), requests.Request("GET", url).prepare()
    address = str(prepared.url)
    found = session.merge_environment_settings(address, {}, stream=True, verify=None, cert=None)
    verify, proxies, cert = found["verify"], dict(found["proxies"]), found["cert"]
    pool = cast("HTTPConnectionPool", adapter.get_connection_with_tls_context(prepared, verify, proxies, cert))
    adapter.cert_verify(pool, address, verify, cert)  # type: ignore[no-untyped-call]
    # The scheme of the pool is that of the proxy, where the proxy reads the request.
    is_tunnelled = pool.proxy is not None and urlsplit(address).scheme == "https"
    headers = {
        "host": urlsplit(address).netloc.rpartition("@")[2],
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        **({} if is_tunnelled else pool.proxy_headers),
    }
    return _Route(pool, adapter.request_url(prepared, proxies), headers, is_tunnelled)


class _Route(NamedTuple):
    """The route to an address: its connections, and the request target and the headers of every request on them."""

    pool: HTTPConnectionPool
    target: str
    headers: Mapping[str, str]
    is_tunnelled: bool

    def connect(self, connection: HTTPConnection) -> None:
        """Connect to the server, or to the proxy."""
        if self.is_tunnelled:
            self.pool._prepare_proxy(connection)  # noqa: SLF001
        else:
            connection.connect()

    def message(self, request: Request) -> bytes:
        """Return a request, its head and its body, as it is sent. No header has a line break (`ApiKeyKind.check`)."""
        headers = {**self.headers, **request.headers}
        if request.body is not None:
            headers["content-length"] = str(len(request.body))
        lines = [f"{request.method} {self.target} HTTP/1.1", *map(": ".join, headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (request.body or b"")


def _cause(error: BaseException) -> str:
    """Return the first error's text: urllib3 wraps that once or twice, in texts that repeat the address."""
    while isinstance(error.__context__, (OSError, HTTPException, HTTPError)):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR_TEXT]


def _seconds_left(end: float) -> float:
    """Return the seconds until `end`, which `time.monotonic` gives.

    Raises:
        TimeoutError: There are none.
    """
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _exchange(sock: socket.socket, message: bytes, *, end: float, max_bytes: int) -> _Received:
    """Send a request, its head and its body, and return the response. Sending keeps to the socket's timeout.

    Raises:
        TimeoutError: It did not come before `end` (as in `_seconds_left`). A socket's own timeout restarts with every
            byte.
        ResponseError: It is longer than `max_bytes`, not whole, or not HTTP.
    """
    # A server may answer, and close the connection, before it has read everything.
    with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        sock.sendall(message)
    received = _Received()
    received.read(sock, end, max_bytes)
    if "content-encoding" in received.headers:  # although only `identity` is accepted
        packed = HTTPResponse(io.BytesIO(received.body), received.headers, preload_content=False)
        received.body = packed.read(max_bytes + 1)
        _check_size(len(received.body), max_bytes)
    return received


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        msg = f"the answer is longer than {max_bytes:,} bytes"
        raise ResponseError(msg)


class _Received:
    """A response that llhttp parses.

    The parsers of urllib3 and of the standard library took half of a request's processor time.

    Attributes:
        headers: By their names in lower case.
        keeps_open: Whether the connection can be used again.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.keeps_open = False
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENCIES)
        self._parts: list[bytes] = []
        self._ends_with_connection = False
        self._is_complete = False

    def read(self, sock: socket.socket, end: float, max_bytes: int) -> None:
        """Read the response to its end. Raises as `_exchange`."""
        size = 0
        while not self._is_complete:
            sock.settimeout(_seconds_left(end))
            block = sock.recv(_CHUNK_BYTES) or b""  # 0 is what urllib3's TLS within TLS gives at the end
            size += len(block)
            _check_size(size, max_bytes)
            if not block and self._ends_with_connection:
                break
            if not block:
                msg = f"the connection was closed {'before the end of' if size else 'without'} an answer"
                raise ResponseError(msg)
            self._feed(block)
        del self._parser  # which refers to this object, too
        self.body = b"".join(self._parts)

    def _feed(self, block: bytes) -> None:
        try:
            self._parser.feed_data(block)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self._is_complete:
                msg = f"the answer is not HTTP ({error})"
                raise ResponseError(msg) from None
            self.keeps_open = False  # nobody asked for what follows the answer

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        is_chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._ends_with_connection = not (is_chunked or "content-length" in self.headers)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self.status < HTTPStatus.OK:  # another follows
            self.headers.clear()
            self._ends_with_connection = False
        else:
            self.keeps_open = self._parser.should_keep_alive()
            self._is_complete = True
