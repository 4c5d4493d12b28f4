"""HTTP/1.1 on 127.0.0.1: requests in, responses out, and nothing for web pages from elsewhere."""

from __future__ import annotations

import itertools
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from isal import igzip
from isal.igzip_lib import IsalError

from target_statsig._compat import override
from target_statsig.config.names import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

JSON_TYPE = "application/json; charset=utf-8"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in.

    Attributes:
        path: Without the query, still percent-encoded.
        parameters: Those of the query, each with all its values.
        headers: By lower-case name.
        body: Unpacked; empty where that could not be done.
        size: Bytes of the body on the wire.
        flaw: Why the body could not be unpacked, or empty.
        connection: The number of the connection that it came on.
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
        """The parameters; of a repeated one the last value."""
        return {name: values[-1] for name, values in self.parameters.items()}


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back, and what the request log says about it.

    Attributes:
        items: Events or ids that the request carried.
        note: For the log: why it was refused, or what is remarkable; empty for an ordinary success.
        headers: Besides content-type and content-length.
    """

    status: int
    body: bytes
    items: int = 0
    note: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """The request is refused whole.

    Attributes:
        response: The refusal in the form of Statsig's errors, `{"status": …, "message": …}`.
    """

    def __init__(self, status: int, message: str, *, items: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        body = msgspec.json.encode({"status": status, "message": message})
        self.response = Response(status, body, items, message, headers or {})


def json_response(content: object, status: int = HTTPStatus.OK, *, items: int = 0, note: str = "") -> Response:
    """Return a response whose body is `content` as JSON."""
    return Response(status, msgspec.json.encode(content), items, note)


def decode(decoder: Callable[[bytes], _T], body: bytes) -> _T:
    """Return what a body holds.

    Raises:
        RefusalError: It is no JSON, or against the contract.
    """
    try:
        return decoder(body)
    except msgspec.DecodeError as error:
        raise RefusalError(HTTPStatus.BAD_REQUEST, f"Invalid request body: {error}") from error


class LoopbackServer(ThreadingHTTPServer):
    """A server with a thread for each connection, all of which end with it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Request], Response | None], closed: Callable[[int], None]) -> None:
        """Listen on a port of 127.0.0.1; 0 picks a free one.

        `answer` is called for every request, and closes the connection without a response where it returns None;
        `closed`, with the number of a connection, when that has ended.
        """
        self.answer = answer
        self.closed = closed
        self.numbers = itertools.count(1)
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), LoopbackHandler)

    @override
    def handle_error(self, *_: object) -> None:
        # A connection that the other side has closed is no error.
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()

    @override
    def shutdown(self) -> None:
        """End `serve_forever`; what this does to the socket ends its wait, where the system lets it."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        super().shutdown()

    @override
    def server_close(self) -> None:
        """Stop listening, and end the connections that are kept alive."""
        super().server_close()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class LoopbackHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one piece
    server: LoopbackServer

    @override
    def setup(self) -> None:
        super().setup()
        self.number = next(self.server.numbers)
        self.server.connections.add(self.connection)

    @override
    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        self.server.closed(self.number)
        super().finish()

    def handle_request(self) -> None:
        """Read one request and write its response."""
        request = self._read()
        try:
            check_origin(request)
            response = self.server.answer(request)
        except RefusalError as refusal:
            response = refusal.response
        if response is None:
            self.close_connection = True
            return
        self.send_response(response.status)
        headers = {"Content-Type": JSON_TYPE, "Content-Length": str(len(response.body)), **response.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_request  # noqa: N815 - http.server's names

    def _read(self) -> Request:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body, flaw = unpack(raw, headers.get("content-encoding", ""))
        return Request(self.command, url.path, parse_qs(url.query), headers, body, len(raw), flaw, self.number)

    @override
    def log_message(self, *_: object) -> None:
        pass  # the request log is in the state


def check_origin(request: Request) -> None:
    """Turn away a web page from elsewhere that is open in a browser on this machine.

    Raises:
        RefusalError: It asks by a name of its own that leads to 127.0.0.1 (DNS rebinding), or posts a form here.
    """
    host = request.headers.get("host", "")
    if not is_loopback(host):
        msg = "The emulator answers only where it is called localhost, 127.x.x.x or [::1] in the Host header"
        raise RefusalError(HTTPStatus.MISDIRECTED_REQUEST, msg)
    if request.method != "GET" and request.headers.get("origin", f"http://{host}") != f"http://{host}":
        msg = "The emulator takes nothing from a web page of another origin"
        raise RefusalError(HTTPStatus.FORBIDDEN, msg)


def unpack(raw: bytes, encoding: str) -> tuple[bytes, str]:
    """Return the body without its content encoding, and why that was not possible (else an empty string)."""
    if encoding in {"", "identity"}:
        return raw, ""
    if encoding != "gzip":
        return b"", "Unsupported content encoding"
    try:
        return igzip.decompress(raw), ""  # type: ignore[no-untyped-call]
    except (OSError, EOFError, IsalError):  # type: ignore[misc]
        return b"", "The body is not gzip, as its content-encoding says"
