"""One request over HTTP: the way to its server, from the environment, and a connection that is kept for the next."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from target_statsig import __version__
from target_statsig._compat import override
from target_statsig.client.connection import DEADLINE, POOLS
from target_statsig.errors import FatalRunError, Heading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3 import HTTPConnectionPool
    from urllib3.connection import HTTPConnection
    from urllib3.response import BaseHTTPResponse

# Its lines for debugging hold whole addresses, and that of a notification is a secret.
logging.getLogger("urllib3").setLevel(logging.INFO)

USER_AGENT = f"target-statsig/{__version__}"

MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes of a response that are read where no more are expected; Statsig's have some hundred."""

_MAX_ERROR_TEXT = 200

_BREAKS = frozenset("\r\n\0")

_KEPT_CONNECTIONS = 128
"""More than there are threads, so that each finds the connection that it gave back."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; its `repr` shows neither headers (a key is among them) nor the body.

    Attributes:
        timeout: Seconds for all of it, from the connection to the last byte of the response.
        max_response_bytes: Bytes of the response that are read; a longer one counts as lost.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    body: bytes | None = field(default=None, repr=False)
    max_response_bytes: int = MAX_RESPONSE_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, whatever its status; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class TransportError(Exception):
    """No response came.

    Attributes:
        sent: True where the request may have reached the server all the same; False where it surely did not
            (unknown host, connection refused, TLS not agreed).
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Transport(Protocol):
    """What sends a request once: over the network, or in a dry run only what reads."""

    def send(self, request: Request) -> Response:
        """Send a request once.

        Raises:
            TransportError: No response came.
        """

    def close(self) -> None:
        """Close what was opened."""


class HttpTransport(Transport):
    """Requests over the network, from any number of threads, which share the connections that are kept.

    Proxies and certificates are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`).
    There are no cookies, no `.netrc` and no redirects: `requests` only finds out how a server is reached, and what is
    sent goes to the connections of urllib3, below the layers that have them. That takes a fifth of the time, too: 75 µs
    for 20 KB on loopback, not 400 µs (`http.client` alone: 90 µs).

    A request under way cannot be interrupted: a run that is asked to stop waits for it, up to its timeout, which is
    that of the whole request. (The system's own look-up of a host's addresses has no limit.)
    """

    def __init__(self) -> None:
        self._adapter = _Adapter(pool_maxsize=_KEPT_CONNECTIONS)
        self._routes: dict[str, _Route] = {}
        self._lock = threading.Lock()

    @override
    def send(self, request: Request) -> Response:
        body = None if request.body is None else _Body(request.body)
        try:
            route = self._route(request.url)
            headers = {**route.headers, **request.headers}
            if body is not None or request.method != "GET":
                headers["content-length"] = str(len(body or ""))
            return self._exchange(request, route, headers, body)
        except ValueError:
            # The text of these errors may quote the header at fault, and so a key.
            msg = (
                "The request could not be built and was not sent. Check `events_url`, `console_url`, the keys and "
                "the proxy variables of the environment."
            )
            raise FatalRunError(msg, heading=Heading.SETTINGS) from None

    @override
    def close(self) -> None:
        with self._lock:
            self._routes.clear()
            self._adapter.close()

    def _exchange(self, request: Request, route: _Route, headers: dict[str, str], body: _Body | None) -> Response:
        if not _BREAKS.isdisjoint("".join(headers.values())):
            msg = "a header holds a line break"
            raise ValueError(msg)
        DEADLINE.begin(request.timeout)
        try:
            with route.connection(request.timeout) as connection:
                connection.request(request.method, route.target, body, headers, preload_content=False)
                with connection.getresponse() as response:
                    content = _read(response, request.max_response_bytes)
                    answered = {name.lower(): value for name, value in response.headers.items()}
                    return Response(response.status, answered, content)
        except (OSError, HTTPException, HTTPError) as error:
            late = f"not finished within the {request.timeout:g} s of `request_timeout`"
            text = late if DEADLINE.is_over else _cause(error)
            raise TransportError(text, sent=body is None or body.left) from None

    def _route(self, url: str) -> _Route:
        """Return how an address is reached; found out once, since it takes as long as two requests."""
        with self._lock:
            if url not in self._routes:
                session, prepared = requests.Session(), requests.Request("GET", url).prepare()
                address = str(prepared.url)
                found = session.merge_environment_settings(address, {}, stream=True, verify=None, cert=None)
                verify, proxies, cert = found["verify"], dict(found["proxies"]), found["cert"]
                pool = self._adapter.get_connection_with_tls_context(prepared, verify, proxies, cert)
                self._adapter.cert_verify(pool, address, verify, cert)  # type: ignore[no-untyped-call]
                target = self._adapter.request_url(prepared, proxies)
                self._routes[url] = _Route(cast("HTTPConnectionPool", pool), target, _own_headers(address, pool))
            return self._routes[url]


def _own_headers(address: str, pool: Any) -> dict[str, str]:
    """Return the headers that every request to an address has; those of a proxy, too, unless it opens a tunnel."""
    host = urlsplit(address).netloc.rpartition("@")[2]
    of_proxy = pool.proxy_headers if pool.scheme == "http" else {}
    return {**of_proxy, "host": host, "accept-encoding": "identity", "user-agent": USER_AGENT}


class _Route(NamedTuple):
    """How an address is reached: over which connections, what a request calls it there, and with which headers."""

    pool: HTTPConnectionPool
    target: str
    headers: Mapping[str, str]

    @contextmanager
    def connection(self, timeout: float) -> Iterator[HTTPConnection]:
        """Lend an open connection, which is closed after an exception; what is used of urllib3 are its own steps."""
        pool = self.pool
        connection = cast("HTTPConnection", pool._get_conn())  # noqa: SLF001
        try:
            if connection.is_closed:
                connection.timeout = timeout
                if pool.proxy is not None and pool.scheme == "https":
                    pool._prepare_proxy(connection)  # noqa: SLF001
                else:
                    connection.connect()
            yield connection
        except BaseException:
            connection.close()
            raise
        finally:
            pool._put_conn(connection)  # noqa: SLF001


class _Body:
    """A body, and whether any of it has left: before that, no server can have acted upon the request.

    The errors of urllib3 do not show it: a connection that breaks while TLS is agreed upon raises the same as
    one that breaks after the last byte was sent.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.left = False

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        self.left = True
        yield self._content


def _read(response: BaseHTTPResponse, most: int) -> bytes:
    content = response.read(most + 1)
    if len(content) > most:
        msg = f"the answer is longer than {most:,} bytes"
        raise TransportError(msg, sent=True)
    return content


def _cause(error: BaseException) -> str:
    """Return the first error's text: urllib3 wraps that once or twice, in texts that repeat the address."""
    while isinstance(error.__context__, (OSError, HTTPException, HTTPError)):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR_TEXT]


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections that keep to the deadline; those through a SOCKS proxy have a manager of their own."""

    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    @override
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager
