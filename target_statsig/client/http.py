"""One request over HTTP: sessions, connections, and the deadline of the whole request."""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus, client
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import requests
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from target_statsig import __version__
from target_statsig.errors import FatalRunError, Heading, TargetStatsigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from _typeshed import WriteableBuffer

logger = logging.getLogger(__name__)

# Its debug lines hold whole addresses, and `notify_url` is a secret.
logging.getLogger("urllib3").setLevel(logging.INFO)

USER_AGENT = f"target-statsig/{__version__}"

MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes of a usual response to read at most; Statsig's have some hundred."""

_CHUNK_BYTES = 64 * 1024
_MAX_ERROR_TEXT = 200

_KEPT_CONNECTIONS = 128
"""More than the number of threads, so that each finds its connection again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Its `repr` shows neither headers (with the key) nor the body.

    Attributes:
        timeout: Seconds in total, from the connection to the last byte of the response.
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
    """A response of any status; names of headers are in lower case."""

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
    There are no cookies, no `.netrc` and no redirects: `requests` only finds out how a server is reached, and what is
    sent goes to urllib3, below the layers that have them. That takes less than half the time, too: 260 µs for 100 KB on
    loopback, not 650 µs (`http.client` alone: 120 µs).

    A running request cannot be interrupted: a run that is asked to stop waits for it, up to the request's timeout.
    (The system's look-up of a host's addresses has no limit.)
    """

    def __init__(self) -> None:
        self._adapter = _Adapter(pool_maxsize=_KEPT_CONNECTIONS)
        self._routes: dict[str, _Route] = {}
        self._lock = threading.Lock()

    @override
    def send(self, request: Request) -> Response:
        body = None if request.body is None else _Body(request.body)
        try:
            return self._send(request, body)
        except ValueError:
            # The text of these errors may quote the header at fault, and so a key.
            msg = (
                "The request could not be built and was not sent. Check `events_url`, `console_url`, the keys and "
                "the proxy variables of the environment."
            )
            raise FatalRunError(msg, heading=Heading.SETTINGS) from None
        except (OSError, HTTPError) as error:
            late = f"not finished within the {request.timeout:g} s of `request_timeout`"
            text = late if _LIMITS.is_over else _cause(error)
            raise TransportError(text, sent=body is None or body.left) from None

    @override
    def close(self) -> None:
        with self._lock:
            self._routes.clear()
            self._adapter.close()

    def _send(self, request: Request, body: _Body | None) -> Response:
        _LIMITS.begin(request.timeout, request.max_response_bytes)
        route = self._route(request.url)
        length = {} if body is None else {"content-length": str(len(body))}
        answer: Any = route.pool.urlopen(
            request.method,
            route.target,
            body,
            {"user-agent": USER_AGENT, **request.headers, **length},
            retries=self._adapter.max_retries,
            redirect=False,
            assert_same_host=False,
            timeout=request.timeout,
        )
        return Response(answer.status, answer.headers, answer.content)

    def _route(self, url: str) -> _Route:
        """Return the route to an address, cached: finding it takes as long as two requests."""
        with self._lock:
            if url not in self._routes:
                session, prepared = requests.Session(), requests.Request("GET", url).prepare()
                address = str(prepared.url)
                found = session.merge_environment_settings(address, {}, stream=True, verify=None, cert=None)
                verify, proxies, cert = found["verify"], dict(found["proxies"]), found["cert"]
                pool = self._adapter.get_connection_with_tls_context(prepared, verify, proxies, cert)
                try:
                    self._adapter.cert_verify(pool, address, verify, cert)  # type: ignore[no-untyped-call]
                except OSError:
                    msg = (
                        f"There are no certificates at {verify}, so nothing was sent. Check `REQUESTS_CA_BUNDLE` and "
                        "`CURL_CA_BUNDLE` of the environment."
                    )
                    raise FatalRunError(msg, heading=Heading.SETTINGS) from None
                target = self._adapter.request_url(prepared, proxies)
                self._routes[url] = _Route(cast("HTTPConnectionPool", pool), target)
            return self._routes[url]


class _Route(NamedTuple):
    """The route to an address: its connections, and the request target to use on them."""

    pool: HTTPConnectionPool
    target: str


class _Body:
    """A body that notes whether any byte has left. Before that, no server can have acted on the request.

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


def _cause(error: BaseException) -> str:
    """Return the first error's text: urllib3 wraps that once or twice, in texts that repeat the address."""
    while isinstance(error.__context__, (OSError, client.HTTPException, HTTPError)):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR_TEXT]


class _Limits(threading.local):
    """The time at which this thread's request must end, and the bytes of its response.

    (A socket's timeout restarts with every byte.)
    """

    _end = 0.0
    _bytes = 0

    def begin(self, seconds: float, max_bytes: int) -> None:
        self._end = time.monotonic() + seconds
        self._bytes = max_bytes

    def check_size(self, size: int) -> None:
        if size > self._bytes:
            msg = f"the answer is longer than {self._bytes:,} bytes"
            raise TransportError(msg, sent=True)

    @property
    def is_over(self) -> bool:
        return self._end <= time.monotonic()

    @property
    def left(self) -> float:
        """The seconds that are left; raises TimeoutError if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


_LIMITS = _Limits()


class _Incoming(io.RawIOBase):
    """Reads from a socket within the time that is left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._sock.settimeout(_LIMITS.left)
        return self._sock.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)


class _HttpResponse(client.HTTPResponse):
    """A response, which is read to its end when it begins. The names of its headers are in lower case.

    It is parsed by llhttp. The parsers of the standard library and of urllib3 took half of a request's processor time.
    """

    headers: Any

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(cast("socket.socket", _Incoming(sock)), *arguments, **options)
        self._parser = HttpResponseParser(self)
        self._fields: dict[str, str] = {}
        self._body = bytearray()
        self._ends_with_connection = False

    @property
    def content(self) -> bytes:
        """The body, unpacked, although no server was asked to pack it."""
        if "content-encoding" not in self.headers:
            return bytes(self._body)
        content = bytearray()
        packed = HTTPResponse(io.BytesIO(self._body), self.headers, preload_content=False)
        for part in packed.stream(_CHUNK_BYTES):
            content += part
            _LIMITS.check_size(len(content))
        return bytes(content)

    @override
    def begin(self) -> None:
        """Read the response.

        Raises:
            TransportError: It is too long.
        """
        while self.headers is None:
            self._feed(self.fp.read1(_CHUNK_BYTES))
            _LIMITS.check_size(len(self._body))
        del self._parser  # which refers to this object, too
        self.close()

    def _feed(self, received: bytes) -> None:
        if not received:
            if not self._ends_with_connection:
                msg = "Remote end closed connection without response"
                raise client.RemoteDisconnected(msg)
            self.on_message_complete()
            return
        try:
            self._parser.feed_data(received)
        except (HttpParserError, HttpParserUpgrade) as error:
            msg = f"the answer is no HTTP ({type(error).__name__})"
            raise client.HTTPException(msg) from None

    # Called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._ends_with_connection = self._fields.keys().isdisjoint({"content-length", "transfer-encoding"})

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < HTTPStatus.OK:
            self._fields.clear()  # another response follows
            self._ends_with_connection = False
        elif self.headers is None:
            self.status, self.headers = status, self._fields
            self.will_close = not self._parser.should_keep_alive()


class _Connection(HTTPConnection):
    response_class = _HttpResponse
    putheader = client.HTTPConnection.putheader  # urllib3's looks for a mark of its own in every value

    @override
    def getresponse(self) -> Any:
        """Return what `urlopen` needs of a response."""
        # Not the response, which this connection keeps: `urlopen` refers it to the pool, which would never be closed.
        response = cast("_HttpResponse", client.HTTPConnection.getresponse(self))
        return SimpleNamespace(
            status=response.status,
            headers=response.headers,
            content=response.content,
            length_remaining=0,
            version_string="",
        )

    @override
    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that answers; the addresses share the time that is left."""
        host = self._dns_host
        try:
            addresses = socket.getaddrinfo(host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NewConnectionError(self, str(error)) from error
        for others, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            self._dns_host, self.timeout = str(address[4][0]), _LIMITS.left / (1 + others)
            try:
                sock = super()._new_conn()
            except HTTPError:
                if not others:
                    raise
            else:
                sock.settimeout(_LIMITS.left)
                return sock
            finally:
                self._dns_host = host
        raise NewConnectionError(self, "the host has no address")

    @override
    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_LIMITS.left)
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections that keep to the deadline. A SOCKS proxy has its own manager."""

    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    @override
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager
