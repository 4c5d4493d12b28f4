"""One request over HTTP: what it has, how its server is reached, and what went wrong."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import requests
from typing_extensions import override
from urllib3.exceptions import HTTPError

from target_statsig import __version__
from target_statsig.client.connections import exchange, seconds_left
from target_statsig.errors import FatalRunError, Heading, TargetStatsigError

if TYPE_CHECKING:
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
            connection.sock.settimeout(seconds_left(end))
            sent = True
            answer = exchange(connection.sock, message, end=end, max_bytes=request.max_response_bytes)
            keeps_open = answer.keeps_open
        except (OSError, HTTPException, HTTPError, ValueError) as error:  # the last: a certificate
            late = f"not finished within the {request.timeout:g} s of `request_timeout`"
            raise TransportError(late if time.monotonic() >= end else _cause(error), sent=sent) from None
        finally:
            if not keeps_open:
                connection.close()
            route.pool._put_conn(connection)  # noqa: SLF001
        return Response(answer.status, answer.headers, answer.body)

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
