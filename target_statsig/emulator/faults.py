"""Faults that can be switched on: which requests they meet, and what they do to them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.json import Decoder

from target_statsig.emulator.http_server import Request


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One way to misbehave; all the conditions must hold, and the effects may be combined.

    Attributes:
        method: Condition: the method, or `*`.
        path: Condition: a glob over the path, such as `/v1/log_event` or `*/id_list`.
        event: Condition: a glob over event names; one event of the body suffices.
        over_bytes: Condition: the body, unpacked, has more bytes than this.
        skip: Leave the first so many matching requests alone.
        times: Meet so many of them and then no more; None: all that follow.
        probability: Meet each of them with this chance (0.0 to 1.0), by a generator of `seed`.
        seed: Of that generator.
        status: Effect: answer with this status. Without `body` it says what Statsig would.
        body: Effect: the response's body, as it stands.
        retry_after: Effect: the response's `Retry-After`, in seconds or as an HTTP date.
        drop: Effect: close the connection without a response.
        hang: Effect: never answer, until the emulator closes.
        latency: Effect: seconds to wait before anything else.
        taken: Let the request take effect all the same: only its response is lost or another.
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
        """What the request log says of it."""
        if self.drop:
            return "fault: answer lost" if self.taken else "fault: connection dropped"
        if self.hang:
            return "fault: no answer"
        if self.replaces:
            return f"fault: {self.status or 'another'} {'although taken' if self.taken else 'answered'}"
        return "fault: a list changed meanwhile" if self.adds or self.removes else "fault: late"

    def matches(self, request: Request) -> bool:
        """Return whether all the conditions on a single request hold."""
        return (
            self.method in {"*", request.method}
            and fnmatchcase(request.path, self.path)
            and (self.over_bytes is None or len(request.body) > self.over_bytes)
            and (self.event is None or any(fnmatchcase(event["eventName"], self.event) for event in events_of(request)))
        )


When = Callable[[Request], bool]


@dataclass(slots=True)
class ActiveFault:
    """A fault that is switched on, and how often it met a request."""

    fault: Fault
    when: When | None = None
    seen: int = 0
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.fault.seed)  # noqa: S311 - chance, not secrecy

    def meets(self, request: Request) -> bool:
        """Return whether the fault acts on this request, and count it."""
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
    """The faults of one emulator; for each request the first one that meets it acts, and no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[ActiveFault] = []

    def add(self, fault: Fault | None = None, *, when: When | None = None, **fields: Any) -> ActiveFault:
        """Switch a fault on, or one of these fields, and return it with its counters; `when` is one more condition."""
        active = ActiveFault(fault or Fault(**fields), when)
        with self._lock:
            self._active.append(active)
        return active

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def pick(self, request: Request) -> Fault | None:
        """Return the fault that acts on this request."""
        with self._lock:
            return next((active.fault for active in self._active if active.meets(request)), None)

    def to_json(self) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {"fault": msgspec.to_builtins(active.fault), "seen": active.seen, "hits": active.hits}
                for active in self._active
            ]


_FAULTS: Decoder[Fault | list[Fault]] = Decoder(Fault | list[Fault])


def decode_faults(data: bytes) -> list[Fault]:
    """Return the faults of a JSON text, which holds one or a list of them.

    Raises:
        msgspec.DecodeError: It is no JSON, or no fault.
    """
    decoded = _FAULTS.decode(data)
    return decoded if isinstance(decoded, list) else [decoded]


def events_of(request: Request) -> list[dict[str, Any]]:
    """Return the events of a body; of one that Statsig would not take either, none."""
    try:
        return [event for event in msgspec.json.decode(request.body)["events"] if isinstance(event["eventName"], str)]
    except (msgspec.DecodeError, KeyError, TypeError):
        return []
