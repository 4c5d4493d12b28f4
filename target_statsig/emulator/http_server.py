"""An HTTP/1.1 server on 127.0.0.1, which refuses requests of web pages from elsewhere."""

from __future__ import annotations

import itertools
import socket
import sys
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import responses
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from isal import igzip
from isal.igzip_lib import IsalError
from typing_extensions import override

from target_statsig.config.load import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")

METHODS = frozenset({"DELETE", "GET", "PATCH", "POST", "PUT"})

RECEIVED_BYTES = 65_536
"""Bytes to receive at once, which are most requests whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        path: The path without the query, percent-encoded.
        parameters: The parameters of the query, each with all its values.
        headers: The headers by lower-case name.
        body: The body, decompressed; empty if there is a flaw.
        size: Bytes of the body on the wire.
        flaw: Why the body cannot be decompressed, or empty.
        connection: The number of its connection.
    """

    method: str
    path: str
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    flaw: str = ""
    connection: int = 0

    @property
    def query(self) -> Mapping[str, str]:
        """The parameters, each with its last value."""
        return {name: values[-1] for name, values in self.parameters.items()}


@dataclass(frozen=True, slots=True)
class Response:
    """A response, and what the request log says about the request.

    Attributes:
        items: The number of events or ids in the request.
        note: For the log: why the request was refused, or what is remarkable; empty for an ordinary success.
        headers: The headers besides content-type and content-length.
    """

    status: int
    body: bytes
    items: int = 0
    note: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """The request is refused, with a response in the form of Statsig's errors: `{"status": …, "message": …}`."""

    def __init__(self, status: int, message: str, *, items: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        body = msgspec.json.encode({"status": status, "message": message})
        self.response = Response(status, body, items, message, headers or {})


def json_response(content: object, status: int = HTTPStatus.OK, *, items: int = 0, note: str = "") -> Response:
    """Return a response whose body is `content` as JSON."""
    return Response(status, msgspec.json.encode(content), items, note)


def decode(body: bytes, contract: type[_T]) -> _T:
    """Decode a body as a type.

    Raises:
        RefusalError: It is not JSON, or violates the contract.
    """
    try:
        return msgspec.json.decode(body, type=contract)
    except msgspec.DecodeError as error:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid request body: {error}") from error


class LoopbackServer(ThreadingTCPServer):
    """A server with a thread for each connection; the threads end with it."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Request], Response | None], closed: Callable[[int], None]) -> None:
        """Listen on a port.

        Args:
            port: The port on 127.0.0.1; 0 for a free one.
            answer: Called for each request. If it returns None, the connection is closed without a response.
            closed: Called with the number of each connection that has ended.
        """
        self.answer = answer
        self.closed = closed
        self.numbers = itertools.count(1)
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), LoopbackHandler)

    @override
    def handle_error(self, *_: object) -> None:
        # It is no error if the other side closes a connection.
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()

    @override
    def shutdown(self) -> None:
        """End `serve_forever`; shutting down the socket ends its wait at once on most systems."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        super().shutdown()

    @override
    def server_close(self) -> None:
        """Stop listening, and close the open connections."""
        super().server_close()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class LoopbackHandler(BaseRequestHandler):
    """Passes what arrives on a connection to a parser, which calls the methods `on_…`."""

    server: LoopbackServer
    request: socket.socket

    @override
    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = next(self.server.numbers)
        self.server.connections.add(self.request)
        self._parser = HttpRequestParser(self)
        self._arrived: deque[Request] = deque()
        self._keep_alive = True

    @override
    def finish(self) -> None:
        self.server.connections.discard(self.request)
        self.server.closed(self._number)

    @override
    def handle(self) -> None:
        while self._keep_alive and (data := self.request.recv(RECEIVED_BYTES)):
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade:
                self._keep_alive = False
            except HttpParserError as error:
                self._send(RefusalError(HTTPStatus.BAD_REQUEST, f"Not HTTP: {error}").response)
                return
            while self._arrived:
                self._answer(self._arrived.popleft())

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []

    def on_url(self, part: bytes) -> None:
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect") == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        raw = b"".join(self._parts)
        url = urlsplit(self._url.decode("latin-1"))
        body, flaw = unpack(raw, self._headers.get("content-encoding", ""))
        method = self._parser.get_method().decode()
        query = parse_qs(url.query)
        self._arrived.append(Request(method, url.path, query, self._headers, body, len(raw), flaw, self._number))

    def _answer(self, request: Request) -> None:
        try:
            check_request(request)
            response = self.server.answer(request)
        except RefusalError as refusal:
            response = refusal.response
        if response is not None:
            self._send(response)
        else:
            self._keep_alive = False
            self._arrived.clear()

    def _send(self, response: Response) -> None:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(response.body)),
            **response.headers,
        }
        lines = [f"HTTP/1.1 {response.status} {responses.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.request.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + response.body)


def check_request(request: Request) -> None:
    """Refuse requests of web pages from elsewhere, which may be open in a browser on this machine.

    Raises:
        RefusalError: The host is another name for 127.0.0.1 (DNS rebinding), a page of another origin sends data, or
            Statsig has no such method.
    """
    host = request.headers.get("host", "")
    if not is_loopback(host):
        msg = "The emulator answers only where it is called localhost, 127.x.x.x or [::1] in the Host header"
        raise RefusalError(HTTPStatus.MISDIRECTED_REQUEST, msg)
    if request.method != "GET" and request.headers.get("origin", f"http://{host}") != f"http://{host}":
        msg = "The emulator takes nothing from a web page of another origin"
        raise RefusalError(HTTPStatus.FORBIDDEN, msg)
    if request.method not in METHODS:
        raise RefusalError(HTTPStatus.NOT_IMPLEMENTED, f"Unsupported method {request.method}")


def unpack(raw: bytes, encoding: str) -> tuple[bytes, str]:
    """Return the decompressed body and an empty string, or an empty body and why it cannot be decompressed."""
    if encoding in {"", "identity"}:
        return raw, ""
    if encoding != "gzip":
        return b"", "Unsupported content encoding"
    try:
        return igzip.decompress(raw), ""  # type: ignore[no-untyped-call]
    except (OSError, EOFError, IsalError):  # type: ignore[misc]
        return b"", "The body is not gzip, as its content-encoding says"
