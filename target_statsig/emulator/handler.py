"""HTTP/1.1 on a socket: reads a request, hands it to the emulator, writes the answer in one piece.

Knows bytes and connections. Refuses to know what any path means: that is the `answer` it is given.
"""

from __future__ import annotations

import itertools
import socket
import sys
import traceback
import zlib
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from target_statsig._compat import override
from target_statsig.emulator.limits import MAX_EVENT_REQUEST_BYTES
from target_statsig.emulator.messages import JSON_TYPE, Answer, Arrival

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNPACKED_BYTES = 10 * MAX_EVENT_REQUEST_BYTES
"""Where unpacking ends; it keeps a mistaken body from eating the memory."""

_GZIP = 16 + zlib.MAX_WBITS


class LoopbackServer(ThreadingHTTPServer):
    """A thread a connection, all of which end with the server."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Callable[[Arrival], Answer | None], closed: Callable[[int], None]) -> None:
        """Listen on 127.0.0.1.

        Args:
            port: 0 picks a free one.
            answer: Is called for every request; None closes the connection without an answer.
            closed: Is called with the number of a connection when it has ended.
        """
        self.answer = answer
        self.closed = closed
        self.numbers = itertools.count(1)
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), LoopbackHandler)

    @override
    def handle_error(self, *_: object) -> None:
        """Say nothing of a connection that the other side has closed."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()

    @override
    def server_close(self) -> None:
        """Stop listening, and end the connections that are kept alive."""
        super().server_close()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class LoopbackHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackServer

    @override
    def setup(self) -> None:
        """Register the connection, so that the server can end it."""
        super().setup()
        self.number = next(self.server.numbers)
        self.server.connections.add(self.connection)

    @override
    def finish(self) -> None:
        """Forget the connection."""
        self.server.connections.discard(self.connection)
        self.server.closed(self.number)
        super().finish()

    def answer_one(self) -> None:
        """Read one request and write its answer."""
        answer = self.server.answer(self._read())
        if answer is None:
            self.close_connection = True
            return
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unassigned"
        headers = {"Content-Type": JSON_TYPE, "Content-Length": str(len(answer.body)), **answer.headers}
        lines = [
            f"HTTP/1.1 {answer.status} {phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.wfile.write(head.encode("latin-1") + answer.body)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer_one  # noqa: N815 - http.server's names

    def _read(self) -> Arrival:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body, flaw = unpack(raw, headers.get("content-encoding", ""))
        query = dict(parse_qsl(url.query))
        return Arrival(self.command, url.path, query, headers, body, len(raw), flaw, self.number)

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing: the request log is in the state."""


def unpack(raw: bytes, encoding: str) -> tuple[bytes, str]:
    """Return the body without its content encoding, and why that was not possible (else an empty string)."""
    if encoding in {"", "identity"}:
        return raw, ""
    if encoding != "gzip":
        return b"", "Unsupported content encoding"
    unpacker = zlib.decompressobj(_GZIP)
    try:
        body = unpacker.decompress(raw, MAX_UNPACKED_BYTES)
    except zlib.error:
        return b"", "The body is not gzip, as its content-encoding says"
    complete = unpacker.eof or len(body) == MAX_UNPACKED_BYTES
    return (body, "") if complete else (b"", "The gzip body ends too early")
