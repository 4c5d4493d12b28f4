"""A request that arrived and the answer to it, free of sockets.

Knows HTTP's nouns and JSON. Refuses to know what any path means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came in, its body already unpacked.

    Attributes:
        method: In capitals.
        path: Without the query, still percent-encoded.
        query: The parameters; of a repeated one the last value.
        headers: By lower-case name.
        body: The bytes after gzip was undone; empty when it could not be.
        size: Bytes of the body on the wire.
        flaw: Why the body could not be read, or empty.
        connection: The number of the connection that it came on.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int = 0
    flaw: str = ""
    connection: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back, and what the request log says about it.

    Attributes:
        status: The HTTP status.
        body: The bytes to send.
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
        status: The HTTP status to answer with.
        message: What the answer says.
        items: Events or ids that the request carried, where that is known.
        headers: Besides the usual ones.
    """

    def __init__(self, status: int, message: str, *, items: int = 0, headers: Mapping[str, str] | None = None) -> None:
        """Take the answer's parts."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.items = items
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the refusal in the form of Statsig's errors, `{"status": …, "message": …}`."""
        body = msgspec.json.encode({"status": self.status, "message": self.message})
        return Answer(self.status, body, self.items, self.message, self.headers)


def json_answer(content: object, status: int = HTTPStatus.OK, *, items: int = 0, note: str = "") -> Answer:
    """Return an answer whose body is `content` as JSON."""
    return Answer(status, msgspec.json.encode(content), items, note)
