"""The emulator: one project of Statsig on a port of 127.0.0.1, its faults and its request log."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from target_statsig.config.load import TRIAL
from target_statsig.emulator import console_api, events_api, page
from target_statsig.emulator.faults import Fault, Faults
from target_statsig.emulator.http_server import LoopbackServer, RefusalError, Request, Response, json_response
from target_statsig.emulator.state import Options, RequestEntry, State
from target_statsig.emulator.summary import DeadLetterReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from target_statsig.emulator.state import SegmentSeed


DEAD_LETTERS = "dead-letters"


class StatsigEmulator:
    """A Statsig on loopback, running between `start` and `close` or inside a `with`."""

    server_secret_key = events_api.SECRET_KEY
    console_api_key = console_api.API_KEY

    def __init__(
        self,
        options: Options | None = None,
        *,
        port: int = 0,
        folder: Path | None = None,
        segments: Sequence[SegmentSeed] = (),
        faults: Sequence[Fault] = (),
    ) -> None:
        """Create a project; nothing listens yet.

        Args:
            options: The behaviour.
            port: The port on 127.0.0.1; 0 for a free one.
            folder: A folder for a target's store, dead letters and Meltano state; None if these are elsewhere.
            segments: The segments at the start, and after `clear`.
            faults: The faults at the start, and after `clear`.
        """
        self.folder = folder
        self.dead_letters = DeadLetterReader(folder / DEAD_LETTERS if folder else None)
        self._options, self._first_segments, self._first_faults = options or Options(), segments, faults
        self._port = port
        self._closing = threading.Event()
        self._server: LoopbackServer | None = None
        self._begin()

    def start(self) -> Self:
        """Listen until `close`. May be called again after it, with the same port and state.

        Raises:
            OSError: The port is taken.
        """
        self._closing = threading.Event()
        self._server = LoopbackServer(self._port, self._answer, self._leave)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="statsig-emulator", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop listening, and end all waits and connections. The state can still be read."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def clear(self) -> None:
        """Return to the initial state, and remove the target's files."""
        self._begin()
        if self.folder:
            empty(self.folder)

    def _begin(self) -> None:
        state, faults = State(self._options), Faults()
        for seed in self._first_segments:
            state.seed_segment(seed.id, seed.ids, id_type=seed.id_type)
        for fault in self._first_faults:
            faults.add(fault)
        # Only now, because a target may be asking.
        self.state, self.faults = state, faults

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def events_url(self) -> str:
        """For the setting `events_url`."""
        return f"{self.url}/v1"

    @property
    def console_url(self) -> str:
        """For the setting `console_url`."""
        return f"{self.url}/console/v1"

    @property
    def exports(self) -> dict[str, str]:
        """The variables that direct a target and Meltano to the emulator.

        A trial must not move a real bookmark or change real memberships. So the state of a run is kept in the folder,
        and a target whose own configuration names another Statsig refuses to run.
        """
        variables = {
            TRIAL: self.url,
            "TARGET_STATSIG_EVENTS_URL": self.events_url,
            "TARGET_STATSIG_CONSOLE_URL": self.console_url,
            "TARGET_STATSIG_SERVER_SECRET_KEY": self.server_secret_key,
            "TARGET_STATSIG_CONSOLE_API_KEY": self.console_api_key,
        }
        if self.folder:
            variables |= {
                "TARGET_STATSIG_STORE_URL": f"sqlite:///{self.folder / 'store.db'}",
                "TARGET_STATSIG_DEAD_LETTER_PATH": str(self.folder / DEAD_LETTERS),
                "MELTANO_STATE_BACKEND_URI": (self.folder / "state").as_uri(),
            }
        if {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"} & os.environ.keys():
            hosts = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
            variables |= dict.fromkeys(("no_proxy", "NO_PROXY"), f"{hosts},127.0.0.1" if hosts else "127.0.0.1")
        return variables

    def _leave(self, connection: int) -> None:
        self.state.leave(connection)

    def _answer(self, request: Request) -> Response | None:
        if self._closing.is_set():
            return None
        if response := page.answer(request, self):
            return response
        state = self.state
        state.arrive(request.connection)
        fault = self.faults.pick(request)
        if fault is not None:
            return self._misbehave(fault, request, state)
        response = _take(request, state)
        _log(request, response, response.status, response.note, state)
        return response

    def _misbehave(self, fault: Fault, request: Request, state: State) -> Response | None:
        closing = self._closing
        if closing.wait(fault.latency):
            return None
        _change_list(fault, request, state)
        own = _take(request, state) if fault.taken or not fault.replaces else None
        response = _replacement(fault, request) if fault.replaces else own
        if fault.drop or fault.hang:
            response = None
        _log(request, own, response.status if response else None, fault.note, state)
        if fault.hang:
            closing.wait()
        return response


def _take(request: Request, state: State) -> Response:
    answer = console_api.answer if request.path.startswith(console_api.PREFIX) else events_api.answer
    try:
        return answer(request, state)
    except RefusalError as refusal:
        return refusal.response


def _change_list(fault: Fault, request: Request, state: State) -> None:
    segment_id, _ = console_api.split_path(request.path)
    with state.lock:
        segment = state.segments.get(segment_id)
        if segment is not None and fault.adds:
            segment.change("add", fault.adds, time=state.clock())
        if segment is not None and fault.removes:
            segment.change("remove", fault.removes, time=state.clock())


def _log(request: Request, own: Response | None, status: int | None, note: str, state: State) -> None:
    """Log a request, given its own response, if it was handled, and the status that was sent."""
    items, taken = (own.items, own.status < HTTPStatus.BAD_REQUEST) if own else (0, False)
    reviews = request.headers.get(console_api.REVIEW_HEADER) == "true"
    now = state.clock()
    state.log(RequestEntry(now, request.method, request.path, status, items, request.size, note, taken, reviews))


def _replacement(fault: Fault, request: Request) -> Response:
    status = HTTPStatus.ACCEPTED if fault.status is None else fault.status
    if fault.body is not None:
        response = Response(status, fault.body.encode())
    elif request.path.startswith(events_api.PREFIX):
        response = json_response({"success": status < HTTPStatus.BAD_REQUEST}, status)
    else:
        response = RefusalError(status, "The emulator was asked to answer so").response
    if fault.retry_after is None:
        return response
    return replace(response, headers={"Retry-After": str(fault.retry_after)})


def empty(folder: Path, *, but: Path | None = None) -> None:
    """Remove what is in a folder of the target's files, apart from one path."""
    for path in folder.iterdir():
        if path.is_dir() and path != but:
            # A target that is still running may be writing into it.
            shutil.rmtree(path, ignore_errors=True)
        elif path != but:
            path.unlink(missing_ok=True)
