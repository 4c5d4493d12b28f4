"""One request on an open connection: it is sent at once, and llhttp parses its response."""

from __future__ import annotations

import io
import ssl
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3 import HTTPResponse
from urllib3.exceptions import ResponseError

if TYPE_CHECKING:
    import socket

_CHUNK_BYTES = 64 * 1024

_LENIENCIES = {
    "lenient_chunked_length": True,  # besides a Content-Length
    "lenient_headers": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
    "lenient_version": True,
}
"""Slips of some proxies. If such a response were refused, its request, which Statsig has taken, would be sent again."""


def seconds_left(end: float) -> float:
    """Return the seconds until `end`, which `time.monotonic` gives.

    Raises:
        TimeoutError: There are none.
    """
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def exchange(sock: socket.socket, message: bytes, *, end: float, max_bytes: int) -> _Answer:
    """Send a request, its head and its body, and return the response. Sending keeps to the socket's timeout.

    Raises:
        TimeoutError: It did not come before `end` (as in `seconds_left`). A socket's own timeout restarts with every
            byte.
        ResponseError: It is longer than `max_bytes`, not whole, or not HTTP.
    """
    # A server may answer, and close the connection, before it has read everything.
    with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        sock.sendall(message)
    answer = _Answer()
    answer.read(sock, end, max_bytes)
    if "content-encoding" in answer.headers:  # although only `identity` is accepted
        packed = HTTPResponse(io.BytesIO(answer.body), answer.headers, preload_content=False)
        answer.body = packed.read(max_bytes + 1)
        _check_size(len(answer.body), max_bytes)
    return answer


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        msg = f"the answer is longer than {max_bytes:,} bytes"
        raise ResponseError(msg)


class _Answer:
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
        """Read the response to its end. Raises as `exchange`."""
        size = 0
        while not self._is_complete:
            sock.settimeout(seconds_left(end))
            block = sock.recv(_CHUNK_BYTES)
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
        self._ends_with_connection = self.headers.keys().isdisjoint({"content-length", "transfer-encoding"})

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self.status < HTTPStatus.OK:  # another follows
            self.headers.clear()
            self._ends_with_connection = False
        else:
            self.keeps_open = self._parser.should_keep_alive()
            self._is_complete = True
