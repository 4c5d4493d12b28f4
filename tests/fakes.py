"""Fakes of the clock, the network, the workers and the disk."""

from __future__ import annotations

import io
import os
import pickle
import threading
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from typing_extensions import override

from target_statsig.client.events import EventsClient
from target_statsig.client.http import Request, Response, Transport
from target_statsig.client.sender import Sender
from target_statsig.clock import Clock, RunClock
from target_statsig.config.choices import Compression
from target_statsig.config.settings import Settings
from target_statsig.errors import InterruptedRunError
from target_statsig.events.workers import Task, Workers, send, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    ScriptedAnswer = Response | Exception | Callable[[Request], Response]

NOON = 1_795_348_800.0
"""2026-11-22T12:00:00Z, the start of a fake clock."""


class FakeClock(Clock):
    """A clock that moves on only by `sleep` and `advance`; `sleeps` has the seconds of each sleep.

    After `interrupt()` every sleep raises, as that of a run does after a signal.
    """

    def __init__(self, now: float = NOON) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self._begun = now
        self._interrupted = False
        self._lock = threading.Lock()

    @override
    def time(self) -> float:
        return self.now

    @override
    def monotonic(self) -> float:
        return self.now - self._begun

    @override
    def sleep(self, seconds: float) -> None:
        if self._interrupted:
            msg = "the run was asked to stop while it waited"
            raise InterruptedRunError(msg)
        with self._lock:
            self.sleeps.append(seconds)
            self.now += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass without a sleep, as a slow response does."""
        with self._lock:
            self.now += seconds

    def interrupt(self) -> None:
        """Ask the run to stop."""
        self._interrupted = True


class WaitlessClock(RunClock):
    """The machine's clock, moved on by each wait instead of waiting; for runs over real sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0
        self._lock = threading.Lock()

    @override
    def time(self) -> float:
        return super().time() + self.waited

    @override
    def monotonic(self) -> float:
        return super().monotonic() + self.waited

    @override
    def sleep(self, seconds: float) -> None:
        super().sleep(0)
        with self._lock:
            self.waited += seconds


class FakeTransport(Transport):
    """Returns the scripted answers, one for each request, and keeps the requests.

    An answer is a `Response`, an exception to raise, or a function of the request that returns a response.
    After the script the answer is `then`; without it a request fails.
    """

    def __init__(self, *script: ScriptedAnswer, then: ScriptedAnswer | None = None) -> None:
        self.requests: list[Request] = []
        self._script = deque(script)
        self._then = then
        self._lock = threading.Lock()

    @override
    def send(self, request: Request) -> Response:
        with self._lock:
            self.requests.append(request)
            answer = self._script.popleft() if self._script else self._then
        if answer is None:
            msg = f"nothing is scripted for request {len(self.requests)}: {request.method} {request.url}"
            raise AssertionError(msg)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else answer(request)

    def sent(self, index: int = -1) -> object:
        """Return the decoded body of a request that was sent without compression."""
        return msgspec.json.decode(self.requests[index].body or b"null")


def answer(status: int = 200, body: object = None, headers: Iterable[tuple[str, str]] = ()) -> Response:
    """Make a response: bytes as they are, anything else as JSON; without a body, Statsig's success."""
    if body is None:
        body = {"success": True}
    return Response(status, dict(headers), body if isinstance(body, bytes) else msgspec.json.encode(body))


class InProcessWorkers(Workers):
    """A worker within this process; tasks and results are pickled as between processes."""

    def __init__(self):
        super().__init__(size=0)

    @override
    def prepare(self, preparation, batch, limits, now_ms):
        if batch.messages is not None:
            return super().prepare(preparation, batch, limits, now_ms)
        tasks, answers = io.BytesIO(), io.BytesIO()
        send(tasks, Task(0, preparation, b"".join(batch.lines), limits, now_ms))
        tasks.seek(0)
        with suppress(EOFError):
            serve(tasks, answers)
        answers.seek(0)
        _, prepared = pickle.load(answers), pickle.load(answers)  # the first says that the worker is ready
        return prepared


def events_client(transport: Transport, clock: Clock, *, retry_timeout: float = 0) -> EventsClient:
    """Make a client of the events API without compression and jitter."""
    settings = Settings(
        server_secret_key="secret-abcdefghijklmnop",
        events_url="https://events.example/v1",
        compression=Compression.NONE,
    )
    return EventsClient(Sender(transport, clock, retry_timeout=retry_timeout, rng=lambda: 1.0), settings, clock)


@contextmanager
def no_room_for_dead_letters():
    """Let dead letters meet a full disk."""
    os_open = os.open

    def open_on_full_disk(path, *more):
        is_letter = Path(path).suffix == ".singer"
        return os_open("/dev/full", os.O_WRONLY) if is_letter else os_open(path, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.open", open_on_full_disk)
        yield
