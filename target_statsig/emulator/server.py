"""The emulator: one project of Statsig on a port of 127.0.0.1, its faults, its request log, and its page."""

from __future__ import annotations

import os
import shutil
import threading
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from target_statsig.config.load import TRIAL
from target_statsig.emulator import console_api, events_api
from target_statsig.emulator.faults import Fault, Faults
from target_statsig.emulator.http_server import LoopbackServer, RefusalError, Request, Response, json_response
from target_statsig.emulator.item_log import DeadLetters
from target_statsig.emulator.state import Options, RequestEntry, State
from target_statsig.emulator.summary import MAX_ROWS, overview, users

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from target_statsig.emulator.state import Run, Segment

DEAD_LETTERS = "dead-letters"

_NO_FAULT = Fault()

_OWN_CALLS = "/_emulator/"

_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The page shows untrusted text, so it may connect to nothing but its own origin.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


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
        segments: Sequence[Segment] = (),
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
        self.dead_letters = DeadLetters(folder / DEAD_LETTERS if folder else None)
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
            self._server.end()
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
        return f"{self.url}/v1"

    @property
    def console_url(self) -> str:
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
        if (request.method, request.path) == ("GET", "/"):
            return Response(HTTPStatus.OK, files(__package__).joinpath("page.html").read_bytes(), headers=_PAGE_HEADERS)
        if request.path.startswith(_OWN_CALLS):
            return self._own_call(request)
        state, closing = self.state, self._closing
        state.arrive(request.connection)
        fault = self.faults.pick(request) or _NO_FAULT
        if closing.wait(fault.latency):
            return None
        fault.change_list(request.path, state)
        own = _take(request, state) if fault.taken or not fault.replaces else None
        response = fault.response(request.path) if fault.replaces else own
        if fault.drop or fault.hang:
            response = None
        items, note, taken = (own.items, own.note, own.status < HTTPStatus.BAD_REQUEST) if own else (0, "", False)
        status = response.status if response else None
        reviews = request.headers.get(console_api.REVIEW_HEADER) == "true"
        entry = (request.method, request.path, status, items, request.size, fault.note or note, taken, reviews)
        state.log(RequestEntry(state.clock(), *entry))
        if fault.hang:
            closing.wait()
        return response

    def _own_call(self, request: Request) -> Response:
        """Answer the page's calls, which need no key and are not logged.

        Raises:
            RefusalError: There is no such call.
        """
        state, query = self.state, request.query
        number, text = query.get("run", ""), query.get("find", "")
        run = state.run(int(number) if number.isdecimal() else 0)
        content: object = []
        with state.lock:
            match request.method, request.path.removeprefix(_OWN_CALLS):
                case "GET", "page.json":
                    content = self._overview(run, query.get("since"))
                case "GET", "page/samples" if run:
                    tally = run.logs["events"].tallies.get((query.get("name", ""), query.get("tier", "")))
                    content = tally.samples if tally else []
                case "GET", "page/members" if segment := state.segments.get(query.get("segment", "")):
                    content = segment.find(text, MAX_ROWS)
                case "GET", "page/users" if run:
                    content = users(run, text)
                case "GET", "page/samples" | "page/members" | "page/users":
                    pass
                case "GET", "state":
                    content = state.to_json()
                case "POST", "clear":
                    self.clear()
                case _:
                    raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
            return json_response(content)

    def _overview(self, run: Run | None, since: str | None) -> dict[str, Any]:
        """Return the overview, or only its version if `since` names the same one."""
        state, letters = self.state, self.dead_letters
        version = f"{state.revision}-{hash(tuple(letters.files()))}"
        if since == version:
            return {"version": version, "unchanged": True}
        return overview(state, letters, run) | {
            "version": version,
            "unchanged": False,
            "exports": self.exports,
            "remembers": self.folder is not None,
            "keeps": state.options.keep_events,
        }


def _take(request: Request, state: State) -> Response:
    answer = console_api.answer if request.path.startswith(console_api.PREFIX) else events_api.answer
    try:
        return answer(request, state)
    except RefusalError as refusal:
        return refusal.response


def empty(folder: Path, *, but: Path | None = None) -> None:
    """Remove what is in a folder of the target's files, apart from one path."""
    for path in folder.iterdir():
        if path.is_dir() and path != but:
            shutil.rmtree(path, ignore_errors=True)  # a target that is still running may be writing into it
        elif path != but:
            path.unlink(missing_ok=True)
