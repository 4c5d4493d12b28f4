"""The page, and the emulator's own calls behind it, whose JSON stays small."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from dataclasses import asdict
from functools import cache
from heapq import nlargest
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.http_server import RefusalError, Request, Response, json_response
from target_statsig.emulator.item_log import ItemLog, Tally
from target_statsig.emulator.summary import DeadLetterReader, find, is_lookup, sum_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.emulator.server import StatsigEmulator
    from target_statsig.emulator.state import Change, Run, Segment, State

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
    run = state.run(number) or (state.runs[-1] if state.runs else None)
    # There may be dead letters even before the first run.
    requests, logs = (run.requests, run.logs.values()) if run else ((), ())
    letters = dead_letters.tallies(*_period(run, state.runs))
    return {
        "active": state.active,
        "runs": [_run_line(run) for run in state.runs[: -MAX_RUNS - 1 : -1]],
        "run": _run(run, state) if run else None,
        "findings": find(requests, logs, state.segments, letters)[:MAX_ROWS],
        "segments": [_segment(segment, state) for segment in list(state.segments.values())[:MAX_ROWS]],
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


def _run(run: Run, state: State) -> dict[str, Any]:
    events, previous = run.logs["events"], state.run(run.number - 1)
    tiers: Counter[str] = Counter()
    for (_, tier), tally in events.tallies.items():
        tiers[tier] += tally.count
    return _run_line(run) | {
        "names": _lines(events, previous.logs["events"] if previous else None),
        "items": [
            {
                "title": log.type.title,
                "count": log.count,
                "columns": log.type.columns,
                "units": log.type.ids_title,
                "lines": _lines(log),
                "more": max(len(log.tallies) - MAX_ROWS, 0),
            }
            for log in run.logs.values()
            if log is not events and log.tallies
        ],
        "segments_changed": sum(
            any(_run_of(change, state) == run.number for change in segment.history)
            for segment in state.segments.values()
        ),
        "tiers": [{"tier": tier, "count": count} for tier, count in tiers.most_common()],
        "users": {id_type: len(counts) for id_type, counts in events.ids.items()},
        "timeline": _timeline(run, state.segments),
        "calls": sum_calls(run.requests)[:MAX_ROWS],
    }


def _lines(log: ItemLog, previous: ItemLog | None = None) -> list[dict[str, Any]]:
    """Return the rows of a log, with those that only the log of the previous run had."""
    before = {cells: tally.count for cells, tally in previous.rows()} if previous else {}
    rows = log.rows() + [(cells, Tally()) for cells in before if cells not in log.tallies]
    return [
        {
            "cells": cells,
            "count": tally.count,
            "units": len(tally.ids),
            "before": before.get(cells, 0) if previous else None,
        }
        for cells, tally in rows[:MAX_ROWS]
    ]


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


def _segment(segment: Segment, state: State) -> dict[str, Any]:
    latest = segment.history[: -MAX_ROWS - 1 : -1]
    return segment.facts | {
        "changes": len(segment.history),
        "history": [asdict(change) | {"run": _run_of(change, state)} for change in latest],
    }


def _run_of(change: Change, state: State) -> int | None:
    """Return the number of the run in which a list was changed, or None if that was before the first one."""
    return bisect(state.runs, change.time, key=lambda run: run.started) or None


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


def answer(request: Request, emulator: StatsigEmulator) -> Response | None:
    """Answer one of the emulator's own calls, which need no key and are not logged.

    Returns:
        The response, or None if the request is for one of Statsig's APIs.

    Raises:
        RefusalError: There is no such call.
    """
    if (request.method, request.path) == ("GET", "/"):
        return Response(HTTPStatus.OK, _page(), headers=PAGE_HEADERS)
    if not request.path.startswith(CALLS):
        return None
    handler = _HANDLERS.get((request.method, request.path.removeprefix(CALLS)))
    if handler is None:
        raise RefusalError(HTTPStatus.NOT_FOUND, f"Cannot {request.method} {request.path}")
    with emulator.state.lock:
        return handler(request, emulator)


@cache
def _page() -> bytes:
    return files(__package__).joinpath("page.html").read_bytes()


def _overview(request: Request, emulator: StatsigEmulator) -> Response:
    """Return the overview, or only its version if `since` names the same one."""
    state, letters = emulator.state, emulator.dead_letters
    version = f"{state.revision}-{letters.refresh()}"
    if request.query.get("since") == version:
        return json_response({"version": version, "unchanged": True})
    shown = {
        "version": version,
        "unchanged": False,
        "exports": emulator.exports,
        "remembers": emulator.folder is not None,
        "keeps": state.options.keep_events,
    }
    return json_response(shown | overview(state, letters, _number(request)))


def _samples(request: Request, emulator: StatsigEmulator) -> Response:
    run, cells = emulator.state.run(_number(request)), (request.query.get("name", ""), request.query.get("tier", ""))
    tally = run.logs["events"].tallies.get(cells) if run else None
    return json_response(tally.samples if tally else [])


def _members(request: Request, emulator: StatsigEmulator) -> Response:
    segment = emulator.state.segments.get(request.query.get("segment", ""))
    return json_response(segment.find(request.query.get("find", ""), MAX_ROWS) if segment else [])


def _users(request: Request, emulator: StatsigEmulator) -> Response:
    run = emulator.state.run(_number(request))
    return json_response(users(run, request.query.get("find", "")) if run else [])


def _number(request: Request) -> int:
    """Return the number of the requested run, or 0."""
    number = request.query.get("run", "")
    return int(number) if number.isdecimal() else 0


def _state(_: Request, emulator: StatsigEmulator) -> Response:
    return json_response(emulator.state.to_json())


def _clear(_: Request, emulator: StatsigEmulator) -> Response:
    emulator.clear()
    return json_response({})


_HANDLERS: dict[tuple[str, str], Callable[[Request, StatsigEmulator], Response]] = {
    ("GET", "page.json"): _overview,
    ("GET", "page/samples"): _samples,
    ("GET", "page/members"): _members,
    ("GET", "page/users"): _users,
    ("GET", "state"): _state,
    ("POST", "clear"): _clear,
}
