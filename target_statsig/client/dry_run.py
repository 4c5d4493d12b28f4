"""The transport of a dry run: it sends reads, and records and answers changes.

Later reads include the recorded changes, so that a dry run behaves like a run.
"""

from __future__ import annotations

import gzip
import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec
from typing_extensions import override

from target_statsig.client.http import Request, Response, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_IDS = 5
"""Added and removed ids to keep for display, of each segment."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that was not sent, with its decompressed body, without headers and so without the key."""

    method: str
    path: str
    body: bytes


@dataclass(slots=True)
class ListChanges:
    """The recorded changes of one ID list, with the first ids; `created` is the segment as requested, if it is new."""

    requests: int = 0
    added: int = 0
    removed: int = 0
    some_added: list[str] = field(default_factory=list)
    some_removed: list[str] = field(default_factory=list)
    created: dict[str, Any] | None = None


class DryRunTransport(Transport):
    """Sends GETs and records everything else. Thread-safe.

    Attributes:
        lists: The recorded changes by the segment's id.
    """

    def __init__(self, reads: Transport, console_url: str, record: Callable[[Recorded], None]) -> None:
        """Take the transport of the GETs, and the function that gets each unsent request, in order."""
        segments = re.escape(f"{console_url.rstrip('/')}/segments")
        self._segment_url = re.compile(segments + r"(?:/(?P<id>[^/?]+)(?:/(?P<call>\w+))?)?(?:\?.*)?")
        self.lists: dict[str, ListChanges] = {}
        self._reads = reads
        self._record = record
        self._lock = threading.Lock()

    @override
    def send(self, request: Request) -> Response:
        match = self._segment_url.fullmatch(request.url)
        segment_id, call = (unquote(match["id"] or ""), match["call"] or "") if match else ("", "")
        if request.method == "GET":
            return self._read(request, segment_id, call)
        is_gzip, body = request.headers.get("content-encoding") == "gzip", request.body or b""
        recorded = Recorded(request.method, urlsplit(request.url).path, gzip.decompress(body) if is_gzip else body)
        with self._lock:
            self._record(recorded)
            if match is None:
                return _response(HTTPStatus.ACCEPTED, {"success": True})
            return self._change(recorded, segment_id, call)

    @override
    def close(self) -> None:
        self._reads.close()

    def _change(self, recorded: Recorded, segment_id: str, call: str) -> Response:
        body = msgspec.json.decode(recorded.body)
        if not segment_id:
            self.lists[body["id"]] = ListChanges(created={**body, "count": 0})
            return _response(HTTPStatus.CREATED, {"data": body})
        changes = self.lists.setdefault(segment_id, ListChanges())
        changes.requests += 1
        ids = body["ids"]
        if recorded.method == "DELETE" or call == "remove_ids":
            changes.removed += len(ids)
            changes.some_removed += ids[: SHOWN_IDS - len(changes.some_removed)]
        else:
            changes.added += len(ids)
            changes.some_added += ids[: SHOWN_IDS - len(changes.some_added)]
        return _response(HTTPStatus.OK, {"message": "Recorded."})

    def _read(self, request: Request, segment_id: str, call: str) -> Response:
        changes = self.lists.get(segment_id)
        if changes is None:
            return self._reads.send(request)
        if changes.created is not None:
            created = {"": {**changes.created}, "id_list": {"ids": []}, "idlist_metadata": {"currentVersion": 0}}
            body = {"data": created[call]}
        else:
            response = self._reads.send(request)
            if response.status != HTTPStatus.OK:
                return response
            body = msgspec.json.decode(response.body)
        data = body["data"]
        if "currentVersion" in data:
            data["currentVersion"] = (data["currentVersion"] or 0) + changes.requests
        elif "type" in data:
            data["count"] = max((data.get("count") or 0) + changes.added - changes.removed, 0)
        return _response(HTTPStatus.OK, body)


def _response(status: int, body: object) -> Response:
    return Response(status, {"content-type": "application/json"}, msgspec.json.encode(body))
