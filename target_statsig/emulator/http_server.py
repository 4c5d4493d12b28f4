"""An HTTP/1.1 server on 127.0.0.1, which refuses requests of web pages from elsewhere."""

from __future__ import annotations

import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from isal import isal_zlib
from isal.igzip_lib import IsalError
from typing_extensions import override

from target_statsig.config.load import is_loopback
from target_statsig.singer.message import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")

NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of decoding what is not JSON, not of the wanted type, or nests too deeply."""

_BUFFER_BYTES = 262_144
"""Most requests are read at once, and decompressed without enlarging the buffer."""

_is_loopback = lru_cache(is_loopback)


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        path: The path without the query, percent-encoded.
        parameters: The parameters of the query, each with all its values.
        headers: The headers by lower-case name.
        body: The body, decompressed.
        size: Bytes of the body on the wire.
        connection: The port that its connection comes from, by which open connections differ.
    """

    method: str
    path: str
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
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
    headers: dict[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """The request is refused, with a response in the form of Statsig's errors: `{"status": …, "message": …}`."""

    def __init__(self, status: int, message: str, *, items: int = 0, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        body = msgspec.json.encode({"status": status, "message": message})
        self.response = Response(status, body, items, message, headers or {})


def json_response(content: object, status: int = HTTPStatus.OK, *, items: int = 0, note: str = "") -> Response:
    """Return a response whose body is `content` as JSON."""
    return Response(status, encode(content), items, note)


def decode(request: Request, contract: type[_T]) -> _T:
    """Decode the body of a request as a type.

    Raises:
        RefusalError: It cannot be decoded.
    """
    try:
        return msgspec.json.decode(request.body, type=contract)
    except NOT_DECODED as error:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid request body: {error}") from error


class LoopbackServer(ThreadingHTTPServer):
    """A server with a thread for each connection; the threads end with it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Request], Response | None], closed: Callable[[int], None]) -> None:
        """Listen on a port of 127.0.0.1; 0 for a free one.

        `answer` is called for each request; if it returns None, the connection is closed without a response. `closed`
        is called with `Request.connection` of each connection that has ended.
        """
        # glibc keeps freed blocks up to the size of the largest one so far. Else each body costs dozens of page faults.
        bytes(4_000_000)
        self.answer, self.closed = answer, closed
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), LoopbackHandler)

    @override
    def handle_error(self, *_: object) -> None:
        # It is no error if the other side closes a connection.
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request_thread(request, client_address)
        self.connections.discard(request)
        self.closed(client_address[1])

    def end(self) -> None:
        """Stop listening, end `serve_forever`, and close the open connections."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # ends the wait of `serve_forever` at once on most systems
        self.shutdown()
        self.server_close()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class LoopbackHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = _BUFFER_BYTES
    wbufsize = -1  # head and body leave in one piece
    server: LoopbackServer

    def handle_request(self) -> None:
        """Read one request and write its response."""
        # Not `items`, which looks for characters that are not ASCII, for three times as long.
        headers = {name.lower(): value.strip() for name, value in self.headers.raw_items()}
        raw = self.rfile.read(int(headers.get("content-length", 0)))
        body = unpack(raw, headers.get("content-encoding", ""))
        url, port = urlsplit(self.path), self.client_address[1]
        request = Request(self.command, url.path, parse_qs(url.query), headers, body, len(raw), port)
        try:
            check_origin(request)
            response = self.server.answer(request)
        except RefusalError as refusal:
            response = refusal.response
        if response is None:
            self.close_connection = True
            return
        self.send_response_only(response.status)  # without the server and the date
        own = {"Content-Type": "application/json; charset=utf-8", "Content-Length": str(len(response.body))}
        for name, value in (own | response.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_request  # noqa: N815 - http.server's names

    @override
    def log_message(self, *_: object) -> None:
        pass  # the request log is in the state


def check_origin(request: Request) -> None:
    """Refuse requests of web pages from elsewhere, which may be open in a browser on this machine.

    Raises:
        RefusalError: The host is another name for 127.0.0.1 (DNS rebinding), or a page of another origin sends data.
    """
    host = request.headers.get("host", "")
    if not _is_loopback(host):
        msg = "The emulator answers only where it is called localhost, 127.x.x.x or [::1] in the Host header"
        raise RefusalError(HTTPStatus.MISDIRECTED_REQUEST, msg)
    if request.method != "GET" and request.headers.get("origin", f"http://{host}") != f"http://{host}":
        msg = "The emulator takes nothing from a web page of another origin"
        raise RefusalError(HTTPStatus.FORBIDDEN, msg)


def unpack(raw: bytes, encoding: str) -> bytes:
    """Return a body, decompressed if it has gzip's encoding. What is no gzip stays as it is, and so is no JSON."""
    if encoding != "gzip":
        return raw
    try:
        return isal_zlib.decompress(raw, isal_zlib.MAX_WBITS | 16, _BUFFER_BYTES)
    except IsalError:  # type: ignore[misc]
        return raw
