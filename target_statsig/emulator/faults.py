"""Faults that can be switched on: their conditions, and what they do to a request and its response."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from target_statsig.emulator import console_api, events_api
from target_statsig.emulator.http_server import NOT_DECODED, RefusalError, Request, Response, json_response

if TYPE_CHECKING:
    from target_statsig.emulator.state import State


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way in which the emulator misbehaves. All conditions must hold; effects may be combined.

    Attributes:
        method: Condition: the method, or `*`.
        path: Condition: a glob for the path, such as `/v1/log_event` or `*/id_list`.
        event: Condition: a glob for event names, which one event of the body must match.
        over_bytes: Condition: the decompressed body has more bytes than this.
        skip: The number of matching requests to leave alone at first.
        times: The number of matching requests to affect after that; None for all.
        probability: With which each of them is affected, from 0.0 to 1.0; `seed` is that of its generator.
        status: Effect: respond with this status, and with Statsig's body for it unless `body` is given.
        retry_after: Effect: the response's `Retry-After`, in seconds or as an HTTP date.
        drop: Effect: close the connection without a response.
        hang: Effect: do not respond until the emulator closes.
        latency: Effect: seconds to wait before anything else.
        taken: Whether the request takes effect although its response is lost or replaced.
        adds: Effect: ids that another client adds to the segment of the path just before.
        removes: Effect: ids that another client removes from it.
    """

    method: str = "*"
    path: str = "*"
    event: str | None = None
    over_bytes: int | None = None
    skip: int = 0
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    status: int | None = None
    body: str | None = None
    retry_after: int | str | None = None
    drop: bool = False
    hang: bool = False
    latency: float = 0.0
    taken: bool = False
    adds: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()

    @property
    def replaces(self) -> bool:
        """Whether the request's own response is replaced or lost."""
        return self.drop or self.hang or self.status is not None or self.body is not None

    @property
    def note(self) -> str:
        """The note in the request log; empty if there is no effect."""
        if self.drop:
            return "fault: answer lost" if self.taken else "fault: connection dropped"
        if self.hang:
            return "fault: no answer"
        if self.replaces:
            return f"fault: {self.status or 'another'} {'although taken' if self.taken else 'answered'}"
        if self.adds or self.removes:
            return "fault: a list changed meanwhile"
        return "fault: late" if self.latency else ""

    def matches(self, request: Request) -> bool:
        """Return whether a request meets all conditions."""
        return (
            self.method in {"*", request.method}
            and fnmatchcase(request.path, self.path)
            and (self.over_bytes is None or len(request.body) > self.over_bytes)
            and (self.event is None or any(fnmatchcase(event["eventName"], self.event) for event in events_of(request)))
        )

    def change_list(self, path: str, state: State) -> None:
        """Change the segment of a path, as another client would."""
        segment = state.segments.get(console_api.split_path(path)[0]) if self.adds or self.removes else None
        if segment is not None:
            with state.lock:
                if self.adds:
                    segment.change("add", self.adds, time=state.clock())
                if self.removes:
                    segment.change("remove", self.removes, time=state.clock())

    def response(self, path: str) -> Response:
        """Return what replaces the response of a path."""
        status = HTTPStatus.ACCEPTED if self.status is None else self.status
        if self.body is not None:
            response = Response(status, self.body.encode())
        elif path.startswith(events_api.PREFIX):
            response = json_response({"success": status < HTTPStatus.BAD_REQUEST}, status)
        else:
            response = RefusalError(status, "The emulator was asked to answer so").response
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return replace(response, headers=headers)


When = Callable[[Request], bool]


class ActiveFault:
    """A fault that is switched on, with its counters."""

    def __init__(self, fault: Fault, when: When | None) -> None:
        self.fault = fault
        self.when = when
        self.seen = 0
        self.hits = 0
        self._random = random.Random(fault.seed)  # noqa: S311 - not for security

    def meets(self, request: Request) -> bool:
        """Return whether the fault affects a request, and count it."""
        fault = self.fault
        if fault.times is not None and self.hits >= fault.times:
            return False
        if not (fault.matches(request) and (self.when is None or self.when(request))):
            return False
        self.seen += 1
        if self.seen <= fault.skip or self._random.random() >= fault.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The faults of one emulator. The first that matches a request affects it, and no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveFault] = []

    def add(self, fault: Fault | None = None, *, when: When | None = None, **fields: Any) -> ActiveFault:
        """Switch on a fault, given as such or by its fields, under the further condition `when`; return it."""
        active = ActiveFault(fault or Fault(**fields), when)
        with self._lock:
            self._active.append(active)
        return active

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def pick(self, request: Request) -> Fault | None:
        """Return the fault that affects a request, or None."""
        with self._lock:
            return next((active.fault for active in self._active if active.meets(request)), None)


def events_of(request: Request) -> list[dict[str, Any]]:
    """Return the events of a body, or none if the body is invalid."""
    try:
        return [event for event in msgspec.json.decode(request.body)["events"] if isinstance(event["eventName"], str)]
    except (*NOT_DECODED, KeyError, TypeError):
        return []
