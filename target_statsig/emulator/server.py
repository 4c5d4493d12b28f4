"""The emulator: one project of Statsig on a port of 127.0.0.1.

Joins the parts: routes a request to its API, carries faults out, keeps the request log.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from target_statsig.emulator import console_api, control_api, events_api
from target_statsig.emulator.console_api import ConsoleApi
from target_statsig.emulator.control_api import ControlApi
from target_statsig.emulator.events_api import EventsApi
from target_statsig.emulator.faults import Fault, Faults
from target_statsig.emulator.handler import LoopbackServer
from target_statsig.emulator.messages import Answer, Arrival, RefusalError, json_answer
from target_statsig.emulator.options import Options
from target_statsig.emulator.page import PageApi
from target_statsig.emulator.state import RequestEntry, State
from target_statsig.emulator.visitors import let_in
from target_statsig.emulator.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_POLL_SECONDS = 0.02
"""How long `close` may have to wait for the accepting thread to notice."""


class StatsigEmulator:
    """A Statsig on loopback, running between `start` and `close` or inside a `with`.

    Attributes:
        options: How it behaves.
        state: What arrived.
        faults: The faults that are switched on.
        workplace: What is kept for the target beside it.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        port: int = 0,
        workplace: Workplace | None = None,
        prepare: Callable[[State, Faults], None] | None = None,
    ) -> None:
        """Prepare a project; nothing listens yet.

        Args:
            options: How to behave; like Statsig where nothing is given.
            port: The port on 127.0.0.1; 0 picks a free one.
            workplace: What is kept for the target beside it; nothing where none is given.
            prepare: Puts in what it begins with, and begins with again after `clear`.
        """
        self.options = options or Options()
        self.state = State(self.options)
        self.faults = Faults()
        self.workplace = workplace or Workplace()
        self._prepare = prepare
        self._port = port
        self._closing = threading.Event()
        self._server: LoopbackServer | None = None
        self._thread: threading.Thread | None = None
        self._events_api = EventsApi(self.state, self.options)
        self._console_api = ConsoleApi(self.state, self.options)
        self._control = ControlApi(self.state, self.faults, self.clear)
        self._page = PageApi(self)
        if prepare:
            prepare(self.state, self.faults)

    def start(self) -> Self:
        """Listen and answer until `close`; after it this begins again, on the same port and with all it holds.

        Raises:
            OSError: The port is taken.
        """
        self._closing = threading.Event()
        self._server = LoopbackServer(self._port, self._answer, self.state.leave)
        self._port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="statsig-emulator", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening, end every wait and connection; what arrived can still be read."""
        self._closing.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def clear(self) -> None:
        """Forget all that arrived, and let the target forget it, too; begin again as in the beginning."""
        with self.state.lock:
            self.state.clear()
            self.faults.clear()
            # Its windows still count the changes that were just forgotten.
            self._console_api = ConsoleApi(self.state, self.options)
            if self._prepare:
                self._prepare(self.state, self.faults)
        self.workplace.clear()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def events_url(self) -> str:
        """The base of the events API, for the setting `events_url`."""
        return f"{self.url}/v1"

    @property
    def console_url(self) -> str:
        """The base of the Console API, for the setting `console_url`."""
        return f"{self.url}/console/v1"

    @property
    def server_secret_key(self) -> str:
        """The key that the events API accepts."""
        return self.options.server_secret_key

    @property
    def console_api_key(self) -> str:
        """The key that the Console API accepts."""
        return self.options.console_api_key

    def _answer(self, arrival: Arrival) -> Answer | None:
        if self._closing.is_set():
            return None
        try:
            let_in(arrival)
            if page := self._page.answer(arrival):
                return page
            if arrival.path.startswith(control_api.PREFIX):
                return self._control.answer(arrival)
        except RefusalError as refusal:
            return refusal.answer()
        self.state.arrive(arrival.connection)
        fault = self.faults.pick(arrival)
        if fault is None:
            answer = self._take(arrival)
            self._log(arrival, answer, answer.status, answer.note, taken=answer.status < HTTPStatus.BAD_REQUEST)
            return answer
        return self._misbehave(fault, arrival)

    def _take(self, arrival: Arrival) -> Answer:
        try:
            if arrival.path.startswith(console_api.PREFIX):
                return self._console_api.answer(arrival)
            return self._events_api.answer(arrival)
        except RefusalError as refusal:
            return refusal.answer()

    def _misbehave(self, fault: Fault, arrival: Arrival) -> Answer | None:
        closing = self._closing
        if closing.wait(fault.latency):
            return None
        self._change_list(fault, arrival)
        own = self._take(arrival) if fault.taken or not fault.answers else None
        answer = _replacement(fault, arrival) if fault.answers else own
        silent = fault.drop or fault.hang
        status = None if silent or answer is None else answer.status
        taken = own is not None and own.status < HTTPStatus.BAD_REQUEST
        self._log(arrival, own, status, fault.name, taken=taken)
        if fault.hang:
            closing.wait()
        return None if silent else answer

    def _change_list(self, fault: Fault, arrival: Arrival) -> None:
        segment_id, _ = console_api.split_path(arrival.path)
        with self.state.lock:
            segment = self.state.segments.get(segment_id)
            if segment is not None and fault.adds:
                segment.add(fault.adds, time=self.options.clock())
            if segment is not None and fault.removes:
                segment.remove(fault.removes, time=self.options.clock())

    def _log(self, arrival: Arrival, answer: Answer | None, status: int | None, note: str, *, taken: bool) -> None:
        items = answer.items if answer else 0
        now = self.options.clock()
        self.state.log(RequestEntry(now, arrival.method, arrival.path, status, items, arrival.size, note, taken))


def _replacement(fault: Fault, arrival: Arrival) -> Answer:
    status = HTTPStatus.ACCEPTED if fault.status is None else fault.status
    if fault.body is not None:
        answer = Answer(status, fault.body.encode())
    elif arrival.path.startswith(events_api.PREFIX):
        answer = json_answer({"success": status < HTTPStatus.BAD_REQUEST}, status)
    else:
        answer = RefusalError(status, "The emulator was asked to answer so").answer()
    if fault.retry_after is None:
        return answer
    return replace(answer, headers={"Retry-After": str(fault.retry_after)})
