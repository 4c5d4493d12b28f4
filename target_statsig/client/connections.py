"""Connections of urllib3 that keep to the limits of a request, send it at once, and let llhttp parse the response."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from http import HTTPStatus, client
from typing import TYPE_CHECKING, Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ResponseError
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer

_CHUNK_BYTES = 64 * 1024


class Limits(threading.local):
    """The time at which this thread's request must end, and the most bytes of its response.

    A socket's own timeout restarts with every byte.

    Attributes:
        has_sent: Whether any byte of the request has left. Before that, no server can have acted on it.
    """

    has_sent = False
    _end = 0.0
    _bytes = 0

    def begin(self, seconds: float, max_bytes: int) -> None:
        """Set the limits of a request that begins now."""
        self.has_sent = False
        self._end = time.monotonic() + seconds
        self._bytes = max_bytes

    def check_size(self, size: int) -> None:
        """Check the bytes of a response.

        Raises:
            ResponseError: There are too many.
        """
        if size > self._bytes:
            msg = f"the answer is longer than {self._bytes:,} bytes"
            raise ResponseError(msg)

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._end <= time.monotonic()

    @property
    def left(self) -> float:
        """The seconds that are left.

        Raises:
            TimeoutError: There are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


LIMITS = Limits()
"""The limits of the request that the current thread makes."""


class _Incoming(io.RawIOBase):
    """Reads what a socket has sent already, and then from the socket, within the limits."""

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        self._sock = sock
        self._received = io.BytesIO(received)
        self._size = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._sock.settimeout(LIMITS.left)
        size = self._received.readinto(buffer) or self._sock.recv_into(buffer)
        self._size += size
        LIMITS.check_size(self._size)
        return size

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)


class _TunnelResponse(client.HTTPResponse):
    """The response of a proxy to CONNECT."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(cast("socket.socket", _Incoming(sock)), *arguments, **options)


class _Answer:
    """A response that llhttp parses.

    The parsers of urllib3 and of the standard library took half of a request's processor time.

    Attributes:
        headers: By their names in lower case.
        data: The body.
        will_close: Whether the connection is of no further use.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.data = b""
        self.will_close = True
        self._parser = HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._ends_with_connection = False
        self._is_complete = False

    def read(self, sock: socket.socket) -> None:
        """Read the response to its end.

        Raises:
            ResponseError: It is too long.
            HTTPException: It is not whole, or not HTTP.
        """
        received = bytearray()
        try:
            while not self._is_complete:
                sock.settimeout(LIMITS.left)
                block = sock.recv(_CHUNK_BYTES)
                received += block
                LIMITS.check_size(len(received))
                self._feed(block)
        except (HttpParserError, HttpParserUpgrade):
            if not self._is_complete:
                self._read_untidy(sock, bytes(received))
            self.will_close = True  # nobody asked for what follows the answer
        received.clear()  # a list of ids takes many megabytes
        del self._parser  # which refers to this object, too
        self.data = b"".join(self._parts)
        if "content-encoding" in self.headers:  # although only `identity` is accepted
            self.data = _unpacked(self.data, self.headers)

    def _feed(self, block: bytes) -> None:
        if block:
            self._parser.feed_data(block)
        elif self._ends_with_connection:
            self._is_complete = True
        elif self.status:
            msg = "the connection was closed before the end of the answer"
            raise client.HTTPException(msg)
        else:
            msg = "Remote end closed connection without response"
            raise client.RemoteDisconnected(msg)

    def _read_untidy(self, sock: socket.socket, received: bytes) -> None:
        """Read a response that llhttp refuses, as some proxies write it.

        Otherwise its request, which Statsig has taken, would be sent again.
        """
        # Closed here: Python 3.13 complains on standard error if the garbage collector closes its parts out of order.
        with closing(client.HTTPResponse(cast("socket.socket", _Incoming(sock, received)))) as response:
            response.begin()
            LIMITS.check_size(response.length or 0)
            self._parts = [response.read()]
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        encoding = self.headers.get("transfer-encoding")
        if encoding is not None and "chunked" not in encoding.lower():
            raise HttpParserError
        self._ends_with_connection = encoding is None and "content-length" not in self.headers

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self.status < HTTPStatus.OK:  # another follows
            self.headers.clear()
            self._ends_with_connection = False
        else:
            self.will_close = not self._parser.should_keep_alive()
            self._is_complete = True


def _unpacked(content: bytes, headers: Mapping[str, str]) -> bytes:
    parts: list[bytes] = []
    for part in HTTPResponse(io.BytesIO(content), headers, preload_content=False).stream(_CHUNK_BYTES):
        parts.append(part)
        LIMITS.check_size(sum(map(len, parts)))
    return b"".join(parts)


class _Exchanging(HTTPConnection):
    """A connection that sends a request and reads its response, within the limits."""

    response_class = _TunnelResponse

    def exchange(self, message: bytes) -> _Answer:
        """Send a request and read the response. Raises as `Pool.exchange`."""
        self.sock.settimeout(LIMITS.left)
        LIMITS.has_sent = True
        # A server may answer, and close the connection, before it has read everything.
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.sock.sendall(message)
        answer = _Answer()
        answer.read(self.sock)
        if answer.will_close:
            self.close()
        return answer

    @override
    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(LIMITS.left)
        super().send(data)


class _Connection(_Exchanging):
    @override
    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that answers; the addresses share the time that is left."""
        host = self._dns_host
        try:
            addresses = socket.getaddrinfo(host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NewConnectionError(self, str(error)) from error
        for others, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            self._dns_host, self.timeout = str(address[4][0]), LIMITS.left / (1 + others)
            try:
                sock = super()._new_conn()
            except HTTPError:
                if not others:
                    raise
            else:
                sock.settimeout(LIMITS.left)
                return sock
            finally:
                self._dns_host = host
        raise NewConnectionError(self, "the host has no address")


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class Pool(HTTPConnectionPool):
    """Connections to a server, kept open for later requests.

    Its own `urlopen`, with repetitions, redirects and responses that can be read in parts, takes as long as all the
    rest of a request.
    """

    ConnectionCls = _Connection

    def exchange(self, message: bytes, *, is_tunnelled: bool) -> tuple[int, dict[str, str], bytes]:
        """Send a request, its head and its body, and return the response: status, headers (in lower case) and body.

        `is_tunnelled` says whether a proxy passes the request on unread.

        Raises:
            OSError, HTTPError, HTTPException: There was no connection or no whole response. `LIMITS.has_sent` says
                whether any byte of the request has left.
        """
        connection = cast("_Exchanging", self._get_conn())
        try:
            if connection.sock is None:
                connection.timeout = LIMITS.left
                if is_tunnelled:
                    self._prepare_proxy(connection)
                else:
                    connection.connect()
            answer = connection.exchange(message)
        except BaseException:
            connection.close()
            raise
        finally:
            self._put_conn(connection)
        return answer.status, answer.headers, answer.data


class _TlsPool(Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS: Mapping[str, type[HTTPConnectionPool]] = {"http": Pool, "https": _TlsPool}
"""The classes of connection pools, by scheme."""


def socks_pool(pool: type[HTTPConnectionPool]) -> type[Pool]:
    """Return a class of pools that connect through a SOCKS proxy, as those of urllib3's class do."""
    connection = type("_SocksConnection", (_Exchanging, pool.ConnectionCls), {})
    return type("_SocksPool", (Pool, pool), {"ConnectionCls": connection})
