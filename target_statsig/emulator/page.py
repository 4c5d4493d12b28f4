"""The page, and the emulator's own calls for it and for tests, whose JSON stays small."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from dataclasses import asdict
from functools import cache
from heapq import nlargest
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.faults import Fault
from target_statsig.emulator.http_server import RefusalError, Request, Response, decode, json_response
from target_statsig.emulator.item_log import ItemLog, Tally
from target_statsig.emulator.state import SegmentSeed
from target_statsig.emulator.summary import DEAD_LETTERED, find, is_lookup, short_path, sum_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.emulator.command import DeadLetterReader
    from target_statsig.emulator.server import StatsigEmulator
    from target_statsig.emulator.state import Run, Segment, State


MAX_ROWS = 100
"""Rows of a table: names, findings, segments, changes, calls, users, members."""

MAX_RUNS = 20

MAX_STEPS = 60
"""The most steps of the timeline; more bars would not fit on a phone."""

_FIRST_STEP_SECONDS = 1 / 64

_SLACK_SECONDS = 1.0
"""Seconds after its last connection in which a target may still write dead letters."""


def overview(state: State, dead_letters: DeadLetterReader, number: int) -> dict[str, Any]:
    """Return the content of the page, apart from what a click opens, for a run, by default the newest."""
    runs = state.runs
    run = runs[number - 1] if 1 <= number <= len(runs) else runs[-1] if runs else None
    return {
        "active": state.active,
        "runs": [_run_line(run) for run in runs[: -MAX_RUNS - 1 : -1]],
        "run": _run(run, runs, state.segments) if run else None,
        "findings": _findings(state, dead_letters, run)[:MAX_ROWS],
        "segments": [_segment(segment, runs) for segment in list(state.segments.values())[:MAX_ROWS]],
        "segment_count": len(state.segments),
    }


def users(run: Run, text: str) -> list[dict[str, Any]]:
    """Return the users whose ids contain a text, most events first."""
    found = (
        (count, id_type, user)
        for id_type, counts in run.logs["events"].ids.items()
        for user, count in counts.items()
        if text in user
    )
    return [{"id_type": id_type, "id": user, "events": count} for count, id_type, user in nlargest(MAX_ROWS, found)]


def _run_line(run: Run) -> dict[str, Any]:
    return {
        "number": run.number,
        "started": run.started,
        "ended": run.ended,
        "events": run.logs["events"].count,
        "requests": len(run.requests),
    }


def _run(run: Run, runs: Sequence[Run], segments: Mapping[str, Segment]) -> dict[str, Any]:
    events = run.logs["events"]
    until = runs[run.number].started if run.number < len(runs) else math.inf
    tiers: Counter[str] = Counter()
    for (_, tier), tally in events.tallies.items():
        tiers[tier] += tally.count
    return _run_line(run) | {
        "names": _names(events, runs[run.number - 2].logs["events"] if run.number > 1 else None),
        "items": [_items(log) for log in run.logs.values() if log is not events and log.tallies],
        "segments_changed": sum(
            any(run.started <= change.time < until for change in segment.history) for segment in segments.values()
        ),
        "tiers": [{"tier": tier, "count": count} for tier, count in tiers.most_common()],
        "users": {id_type: len(counts) for id_type, counts in events.ids.items()},
        "timeline": _timeline(run, segments),
        "calls": [
            {
                "method": method,
                "path": short_path(path),
                "times": call.times,
                "items": call.items,
                "size": call.size,
                "answers": call.answers(),
            }
            for (method, path), call in list(sum_calls(run.requests).items())[:MAX_ROWS]
        ],
    }


def _names(events: ItemLog, previous: ItemLog | None) -> list[dict[str, Any]]:
    """Return the events by name and tier, with those that only the previous run had."""
    before = previous.tallies if previous else {}
    nothing = Tally(())
    keys = [tally.key for tally in events.rows()]
    if previous:
        keys += [tally.key for tally in previous.rows() if tally.key not in events.tallies]
    return [
        {
            "name": key[0],
            "tier": key[1],
            "count": events.tallies.get(key, nothing).count,
            "users": len(events.tallies.get(key, nothing).ids),
            "before": before.get(key, nothing).count if previous else None,
        }
        for key in keys[:MAX_ROWS]
    ]


def _items(log: ItemLog) -> dict[str, Any]:
    rows = log.rows()
    return {
        "title": log.type.title,
        "count": log.count,
        "columns": log.type.columns,
        "units": log.type.ids_title,
        "lines": [{"cells": tally.key, "count": tally.count, "units": len(tally.ids)} for tally in rows[:MAX_ROWS]],
        "more": max(len(rows) - MAX_ROWS, 0),
    }


def _timeline(run: Run, segments: Mapping[str, Segment]) -> dict[str, Any]:
    """Return the requests over time, in at most `MAX_STEPS` steps of equal length; `size` is in bytes."""
    # A request before the start, because the clock was set back, falls into the first step.
    offsets = [max(0.0, entry.time - run.started) for entry in run.requests]
    last, seconds = max(offsets, default=0.0), _FIRST_STEP_SECONDS
    while last / seconds >= MAX_STEPS:
        seconds *= 2
    count = int(last / seconds) + 1 if offsets else 0
    steps = [{"requests": 0, "refused": 0, "items": 0, "size": 0} for _ in range(count)]
    for entry, offset in zip(run.requests, offsets, strict=True):
        step = steps[int(offset / seconds)]
        refused = entry.status is None or entry.status >= HTTPStatus.BAD_REQUEST
        step["requests"] += 1
        step["refused"] += refused and not is_lookup(entry, segments)
        step["items"] += entry.items
        step["size"] += entry.size
    return {"seconds": seconds, "steps": steps}


def _segment(segment: Segment, runs: Sequence[Run]) -> dict[str, Any]:
    return segment.facts | {
        "changes": len(segment.history),
        "history": [
            asdict(change) | {"run": max((run.number for run in runs if run.started <= change.time), default=None)}
            for change in segment.history[: -MAX_ROWS - 1 : -1]
        ],
    }


def _findings(state: State, dead_letters: DeadLetterReader, run: Run | None) -> list[dict[str, Any]]:
    """Return the findings of a run. There may be dead letters even before the first run."""
    piles = dead_letters.piles(*_period(run, state.runs))
    requests, logs = (run.requests, run.logs.values()) if run else ((), ())
    findings = [asdict(finding) for finding in find(requests, logs, state.segments, piles)]
    for finding in findings:
        if finding["what"] == DEAD_LETTERED and finding["example"]:
            shown = ((key, finding["example"].get(key)) for key in ("stream", "statsig", "record"))
            finding["example"] = {key: value for key, value in shown if value is not None}
    return findings


def _period(run: Run | None, runs: Sequence[Run]) -> tuple[float, float]:
    """Return the period in which a run writes dead letters, whose files do not name the run."""
    number = run.number if run else 1
    after = runs[number - 2].ended + _SLACK_SECONDS if number > 1 else -math.inf
    until = runs[number - 1].ended + _SLACK_SECONDS if number < len(runs) else math.inf
    return after, until


CALLS = "/_emulator/"

PAGE_HEADERS = {
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


class ControlApi:
    """Answers the emulator's own calls, which need no key and are not logged."""

    def __init__(self, emulator: StatsigEmulator) -> None:
        self._emulator = emulator
        self._state = emulator.state
        self._faults = emulator.faults
        # A page may stay open while another emulator takes the port; their versions must differ.
        self._name = secrets.token_hex(4)
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): lambda _: Response(HTTPStatus.OK, _page(), headers=PAGE_HEADERS),
            ("GET", f"{CALLS}page.json"): self._overview,
            ("GET", f"{CALLS}page/samples"): self._samples,
            ("GET", f"{CALLS}page/members"): self._members,
            ("GET", f"{CALLS}page/users"): self._users,
            ("GET", f"{CALLS}state"): lambda _: json_response(self._state.to_json()),
            ("POST", f"{CALLS}clear"): self._clear,
            ("POST", f"{CALLS}faults"): self._add_fault,
            ("DELETE", f"{CALLS}faults"): self._clear_faults,
            ("POST", f"{CALLS}segments"): self._seed_segment,
        }

    def answer(self, request: Request) -> Response | None:
        """Answer a request; return None if it is for one of Statsig's APIs.

        Raises:
            RefusalError: There is no such call, or its body is wrong.
        """
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return route(request)
        if request.path.startswith(CALLS):
            raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
        return None

    def _clear(self, _: Request) -> Response:
        self._emulator.clear()
        return json_response({})

    def _add_fault(self, request: Request) -> Response:
        self._faults.add(decode(request.body, Fault))
        return json_response({}, HTTPStatus.CREATED)

    def _clear_faults(self, _: Request) -> Response:
        self._faults.clear()
        return json_response({})

    def _seed_segment(self, request: Request) -> Response:
        seed = decode(request.body, SegmentSeed)
        segment = self._state.seed_segment(seed.id, seed.ids, segment_type=seed.type, id_type=seed.id_type)
        return json_response({"id": segment.id, "count": len(segment.ids)}, HTTPStatus.CREATED)

    def _overview(self, request: Request) -> Response:
        """Return the overview, or only its version if `since` names the same one."""
        letters = self._emulator.dead_letters
        letters.refresh()
        with self._state.lock:
            version = f"{self._name}-{self._state.revision}-{letters.revision}"
            if request.query.get("since") == version:
                return json_response({"version": version, "unchanged": True})
            shown = overview(self._state, letters, _number(request.query))
        shown |= {
            "version": version,
            "unchanged": False,
            "exports": self._emulator.exports,
            "remembers": self._emulator.folder is not None,
            "keeps": self._state.options.keep_events,
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
            return json_response(segment.find(request.query.get("find", ""), MAX_ROWS) if segment else [])

    def _users(self, request: Request) -> Response:
        with self._state.lock:
            run = self._run(request)
            return json_response(users(run, request.query.get("find", "")) if run else [])

    def _run(self, request: Request) -> Run | None:
        number = _number(request.query)
        return self._state.runs[number - 1] if 1 <= number <= len(self._state.runs) else None


def _number(query: Mapping[str, str]) -> int:
    """Return the number of the requested run, or 0."""
    number = query.get("run", "")
    return int(number) if number.isdecimal() else 0


@cache
def _page() -> bytes:
    return files(__package__).joinpath("page.html").read_bytes()
