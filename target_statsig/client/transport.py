"""One request, one answer: the seam towards the network, whatever is behind it (`network`, or a test's fake).

Refuses to know what an answer means (`retry`), when to ask again (`sender`) and what Statsig is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


ANSWER_BYTES = 1024 * 1024
"""Bytes of an answer that are read where no more are expected; Statsig's have some hundred."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; its `repr` shows neither headers (a key is among them) nor the body.

    Attributes:
        timeout: Seconds for all of it, from the connection to the last byte of the answer.
        answer_bytes: Bytes of the answer that are read; a longer one is as good as none.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    body: bytes | None = field(default=None, repr=False)
    answer_bytes: int = ANSWER_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, whatever its status; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class TransportError(Exception):
    """No answer came.

    Attributes:
        sent: True where the request may have reached the server all the same; False where it surely did not
            (unknown host, connection refused, TLS not agreed).
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        """Take what went wrong, in words without addresses, keys or bodies."""
        super().__init__(message)
        self.sent = sent


class Transport(Protocol):
    """What sends a request and returns its answer."""

    def send(self, request: Request) -> Response:
        """Send a request once.

        Raises:
            TransportError: No answer came.
        """

    def close(self) -> None:
        """Close what was opened."""
