"""The page that shows in a browser what arrives, and the JSON that it asks for.

Knows paths and headers. Refuses to know what the page makes of the JSON.
"""

from __future__ import annotations

import secrets
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from target_statsig.emulator import page_data
from target_statsig.emulator.messages import Answer, Arrival, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.emulator.runs import Run
    from target_statsig.emulator.server import StatsigEmulator

PREFIX = "/_emulator/page"

HEADERS = {
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


class PageApi:
    """Answers `GET /` and the requests under `/_emulator/page`; they need no key and are not logged."""

    def __init__(self, emulator: StatsigEmulator) -> None:
        """Take what to show."""
        self._emulator = emulator
        self._state = emulator.state
        # A page that outlives its emulator must not take the next one's revision for that of the last.
        self._name = secrets.token_hex(4)
        self._routes: dict[str, Callable[[Mapping[str, str]], Any]] = {
            f"{PREFIX}.json": self._overview,
            f"{PREFIX}/samples": self._samples,
            f"{PREFIX}/members": self._members,
            f"{PREFIX}/users": self._users,
        }

    def answer(self, arrival: Arrival) -> Answer | None:
        """Return what was asked for, or None where the request is not for the page."""
        if arrival.method != "GET":
            return None
        if arrival.path == "/":
            return Answer(HTTPStatus.OK, _page(), headers=HEADERS)
        route = self._routes.get(arrival.path)
        return json_answer(route(arrival.query)) if route else None

    def _overview(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the overview; only its version where that is the one that `since` names."""
        workplace = self._emulator.workplace
        if workplace.dead_letters:
            workplace.dead_letters.refresh()
        with self._state.lock:
            letters = workplace.dead_letters.revision if workplace.dead_letters else 0
            version = f"{self._name}-{self._state.revision}-{letters}"
            if query.get("since") == version:
                return {"version": version, "unchanged": True}
            shown = page_data.overview(self._state, workplace.dead_letters, _number(query))
        return shown | {
            "version": version,
            "unchanged": False,
            "exports": workplace.exports(self._emulator),
            "remembers": workplace.folder is not None,
            "keeps": self._emulator.options.keep_events,
        }

    def _samples(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        with self._state.lock:
            run = self._run(query)
            record_of = self._emulator.options.record_of
            return page_data.samples(run, query.get("name", ""), query.get("tier", ""), record_of) if run else []

    def _members(self, query: Mapping[str, str]) -> list[str]:
        with self._state.lock:
            segment = self._state.segments.get(query.get("segment", ""))
            return page_data.members(segment, query.get("find", "")) if segment else []

    def _users(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        with self._state.lock:
            run = self._run(query)
            return page_data.users(run, query.get("find", "")) if run else []

    def _run(self, query: Mapping[str, str]) -> Run | None:
        runs = self._state.runs.all
        number = _number(query)
        return runs[number - 1] if 1 <= number <= len(runs) else None


def _number(query: Mapping[str, str]) -> int:
    """Return the run that is asked for; 0, which no run has, where there is none."""
    number = query.get("run", "")
    return int(number) if number.isdecimal() else 0


@cache
def _page() -> bytes:
    return files(__package__).joinpath("page.html").read_bytes()
