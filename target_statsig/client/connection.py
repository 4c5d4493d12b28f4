"""A connection to a server: made, used and given up within the deadline of the request under way."""

from __future__ import annotations

import io
import re
import socket
import threading
import time
from http import client
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from target_statsig._compat import override

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_USUAL_BYTES = 64 * 1024
_USUAL = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)[^\r\n]*\r\n((?:[\w-]+:[^\r\n]*\r\n)+)\r\n")
"""An answer as servers give it nearly always, up to its body."""

_UNUSUAL = frozenset({"transfer-encoding", "content-encoding", "connection"})
"""Headers of answers that are not simply so many bytes after which the next one comes."""


class _Deadline(threading.local):
    """When this thread's request has to be over; a socket's own timeout starts again with every byte."""

    _end = 0.0

    def begin(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return self._end <= time.monotonic()

    @property
    def left(self) -> float:
        """The seconds that are left; with none, TimeoutError is raised."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


DEADLINE = _Deadline()
"""Of the request under way in this thread."""


class _Incoming(io.RawIOBase):
    """What a socket receives, each part in what is left of the time, behind what was received already."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, received: bytes) -> None:
        self._sock = sock
        self._raw = raw
        self._received = received

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        if self._received:
            size = min(len(self._received), len(memoryview(buffer)))
            memoryview(buffer)[:size], self._received = self._received[:size], self._received[size:]
            return size
        self._sock.settimeout(DEADLINE.left)
        return self._raw.readinto(buffer)

    @override
    def close(self) -> None:
        self._raw.close()
        super().close()


class _HttpResponse(client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, received: bytes = b"", **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Incoming(sock, self.fp.detach(), received))


class _Connection(HTTPConnection):
    """A connection that keeps to the deadline.

    It writes a request in one piece, and reads a usual answer in one: `http.client` does it line by line, and takes
    three times as long. Whatever else comes is left to that.
    """

    response_class = _HttpResponse

    @override
    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
        self._method = method
        lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.send(b"".join(["\r\n".join(lines).encode("latin-1"), *(body or ())]))

    @override
    def getresponse(self) -> Any:
        self.sock.settimeout(DEADLINE.left)
        received = self.sock.recv(_USUAL_BYTES)
        if (answer := _usual_answer(received, self._method)) is not None:
            return answer
        response = _HttpResponse(self.sock, method=self._method, received=received)
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        if response.will_close:
            self.close()
        headers = HTTPHeaderDict(response.msg.items())
        return HTTPResponse(
            response,
            headers,
            response.status,
            original_response=response,
            request_method=self._method,
            preload_content=False,
        )

    @override
    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that answers; each has its share of the time that is left."""
        host = self._dns_host
        try:
            addresses = socket.getaddrinfo(host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NewConnectionError(self, str(error)) from error
        for others, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            self._dns_host, self.timeout = str(address[4][0]), DEADLINE.left / (1 + others)
            try:
                sock = super()._new_conn()
            except HTTPError:
                if not others:
                    raise
            else:
                sock.settimeout(DEADLINE.left)
                return sock
            finally:
                self._dns_host = host
        raise NewConnectionError(self, "the host has no address")

    @override
    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(DEADLINE.left)
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _Pool, "https": _TlsPool}
"""The pools of such connections, by scheme."""


class _UsualAnswer(io.BytesIO):
    """An answer that was received whole, as far as `urllib3.HTTPResponse` is needed of it."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(body)
        self.status = status
        self.headers = headers


def _usual_answer(received: bytes, method: str) -> _UsualAnswer | None:
    """Return the answer that was received, if that is all of it and nothing needs to be unpacked."""
    head = _USUAL.match(received)
    if head is None or method == "HEAD":
        return None
    lines = head[2].decode("latin-1").splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if len(headers) < len(lines) or not _UNUSUAL.isdisjoint(headers):
        return None
    if headers.get("content-length") != str(len(received) - head.end()):
        return None
    return _UsualAnswer(int(head[1]), headers, received[head.end() :])
