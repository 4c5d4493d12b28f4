"""The emulator's own calls: its page under `/`, and under `/_emulator/` what the page and tests ask for."""

from __future__ import annotations

import secrets
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING

from msgspec.json import Decoder

from target_statsig.emulator import page
from target_statsig.emulator.faults import decode_faults
from target_statsig.emulator.http_server import RefusalError, Request, Response, decode, json_response
from target_statsig.emulator.segments import SegmentSeed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.emulator.server import StatsigEmulator
    from target_statsig.emulator.state import Run

PREFIX = "/_emulator/"

PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # What arrived is strangers' text. The page can reach nothing but its own origin, whatever that text says.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


_SEED = Decoder(SegmentSeed)


class ControlApi:
    """Answers these calls; they need no key and are not logged."""

    def __init__(self, emulator: StatsigEmulator) -> None:
        self._emulator = emulator
        self._state = emulator.state
        self._faults = emulator.faults
        # A page that outlives its emulator must not take the next one's revision for that of the last.
        self._name = secrets.token_hex(4)
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): lambda _: Response(HTTPStatus.OK, _page(), headers=PAGE_HEADERS),
            ("GET", f"{PREFIX}page.json"): self._overview,
            ("GET", f"{PREFIX}page/samples"): self._samples,
            ("GET", f"{PREFIX}page/members"): self._members,
            ("GET", f"{PREFIX}page/users"): self._users,
            ("GET", f"{PREFIX}state"): lambda _: json_response(self._state.to_json()),
            ("POST", f"{PREFIX}clear"): self._clear,
            ("GET", f"{PREFIX}faults"): lambda _: json_response(self._faults.to_json()),
            ("POST", f"{PREFIX}faults"): self._add_faults,
            ("DELETE", f"{PREFIX}faults"): self._clear_faults,
            ("POST", f"{PREFIX}segments"): self._seed_segment,
        }

    def answer(self, request: Request) -> Response | None:
        """Do what the request asks for; None where it is for one of Statsig's own APIs.

        Raises:
            RefusalError: There is no such call, or its body is wrong.
        """
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return route(request)
        if request.path.startswith(PREFIX):
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
        return None

    def _clear(self, _: Request) -> Response:
        self._emulator.clear()
        return json_response({})

    def _add_faults(self, request: Request) -> Response:
        for fault in decode(decode_faults, request.body):
            self._faults.add(fault)
        return json_response(self._faults.to_json(), HTTPStatus.CREATED)

    def _clear_faults(self, _: Request) -> Response:
        self._faults.clear()
        return json_response(self._faults.to_json())

    def _seed_segment(self, request: Request) -> Response:
        seed = decode(_SEED.decode, request.body)
        segment = self._state.seed_segment(seed.id, seed.ids, segment_type=seed.type, id_type=seed.id_type)
        return json_response({"id": segment.id, "count": len(segment.ids)}, HTTPStatus.CREATED)

    def _overview(self, request: Request) -> Response:
        """Return the overview; only its version where that is the one that `since` names."""
        workplace = self._emulator.workplace
        letters = workplace.dead_letters
        letters.refresh()
        with self._state.lock:
            version = f"{self._name}-{self._state.revision}-{letters.revision}"
            if request.query.get("since") == version:
                return json_response({"version": version, "unchanged": True})
            shown = page.overview(self._state, letters, _number(request.query))
        shown |= {
            "version": version,
            "unchanged": False,
            "exports": workplace.exports(self._emulator),
            "remembers": workplace.folder is not None,
            "keeps": self._emulator.options.keep_events,
        }
        return json_response(shown)

    def _samples(self, request: Request) -> Response:
        with self._state.lock:
            run, key = self._run(request), (request.query.get("name", ""), request.query.get("tier", ""))
            tally = run.logs["events"].tallies.get(key) if run else None
            return json_response(tally.samples if tally else [])

    def _members(self, request: Request) -> Response:
        with self._state.lock:
            segment = self._state.segments.get(request.query.get("segment", ""))
            return json_response(segment.find(request.query.get("find", ""), page.MAX_ROWS) if segment else [])

    def _users(self, request: Request) -> Response:
        with self._state.lock:
            run = self._run(request)
            return json_response(page.users(run, request.query.get("find", "")) if run else [])

    def _run(self, request: Request) -> Run | None:
        number = _number(request.query)
        return self._state.runs[number - 1] if 1 <= number <= len(self._state.runs) else None


def _number(query: Mapping[str, str]) -> int:
    """Return the run that is asked for; 0, which no run has, where there is none."""
    number = query.get("run", "")
    return int(number) if number.isdecimal() else 0


@cache
def _page() -> bytes:
    return files(__package__).joinpath("page.html").read_bytes()
