"""What the report and the page tell: requests by call, what needs attention, and the page's overview of a run."""

from __future__ import annotations

import json
import math
import shlex
from bisect import bisect
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from heapq import nlargest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from target_statsig.emulator import console_api, events_api
from target_statsig.emulator.item_log import DeadLetters, ItemLog, Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from target_statsig.emulator.state import Change, RequestEntry, Run, Segment, State

MAX_ROWS = 100
"""Rows of a table of the page: runs, names, findings, segments, changes, calls, users, members."""

MAX_STEPS = 60
"""The most steps of the timeline; more bars would not fit on a phone."""

_FIRST_STEP_SECONDS = 1 / 64

_SLACK_SECONDS = 1.0
"""Seconds after its last connection in which a target may still write dead letters."""


def sum_calls(entries: Iterable[RequestEntry]) -> list[dict[str, Any]]:
    """Sum up lines of the request log by method and path, which comes without the prefix of its API.

    `size` is in bytes of the bodies on the wire. `answers` are the statuses in order of appearance, with their counts
    if there are several.
    """
    calls: defaultdict[tuple[str, str], list[RequestEntry]] = defaultdict(list)
    for entry in entries:
        calls[entry.method, entry.path].append(entry)
    sums = []
    for (method, path), same in calls.items():
        statuses = Counter("none" if entry.status is None else str(entry.status) for entry in same)
        answers = [f"{status} ({count:,})" for status, count in statuses.items()] if len(statuses) > 1 else statuses
        call = {"method": method, "path": _short(path), "times": len(same), "answers": ", ".join(answers)}
        sums.append(call | {name: sum(getattr(entry, name) for entry in same) for name in ("items", "size")})
    return sums


def _short(path: str) -> str:
    return path.removeprefix(console_api.PREFIX).removeprefix(events_api.PREFIX)


def is_lookup(entry: RequestEntry, segments: Mapping[str, Segment]) -> bool:
    """Return whether a request is a 404 for a segment that was created afterwards."""
    if entry.status != HTTPStatus.NOT_FOUND:
        return False
    segment = segments.get(console_api.split_path(entry.path)[0])
    return segment is not None and segment.created


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs attention: how often it happened, what, why or to what, and what to do about it.

    Attributes:
        example: An event, or what is shown of a dead letter; None for other findings.
    """

    count: int
    what: str
    why: str
    remedy: str = ""
    example: Mapping[str, Any] | None = None


def find(
    entries: Iterable[RequestEntry],
    logs: Collection[ItemLog],
    segments: Mapping[str, Segment],
    dead_letters: Mapping[str, Tally],
) -> list[Finding]:
    """Return everything that needs attention, the worst first; the dead letters are given by reason."""
    noted = Counter(_of_request(entry) for entry in entries if entry.note and not is_lookup(entry, segments))
    findings = [Finding(count, *texts) for texts, count in noted.most_common()]
    for log in logs:
        dropped = log.dropped.items()
        why = {f"{json.dumps(name, ensure_ascii=False)}: {reason}": tally for (name, reason), tally in dropped}
        findings += _of_tallies("silently dropped", why)
    findings += _of_tallies("dead-lettered", dead_letters)
    for log in logs:
        findings += _of_tallies("doubtful", log.remarks)
    return findings


def _of_tallies(what: str, tallies: Mapping[str, Tally]) -> list[Finding]:
    largest_first = sorted(tallies.items(), key=lambda item: -item[1].count)
    return [Finding(tally.count, what, why, example=next(iter(tally.samples), None)) for why, tally in largest_first]


def _of_request(entry: RequestEntry) -> tuple[str, str, str]:
    """Return the `what`, `why` and `remedy` of a request's finding."""
    if entry.note == console_api.NO_SEGMENT:
        segment_id, _ = console_api.split_path(entry.path)
        remedy = f"start with --segment {shlex.quote(segment_id)}, or set create_segment"
        return "404", f"segment '{segment_id}' not found", remedy
    answer = "no answer" if entry.status is None else str(entry.status)
    wrong_key = entry.status == HTTPStatus.UNAUTHORIZED
    remedy = "the target does not use the key that the emulator gave to COMMAND" if wrong_key else ""
    return f"{answer} {entry.method} {_short(entry.path)}", entry.note, remedy


def overview(state: State, dead_letters: DeadLetters, run: Run | None) -> dict[str, Any]:
    """Return the content of the page, apart from what a click opens, for a run, by default the newest."""
    run = run or (state.runs[-1] if state.runs else None)
    # There may be dead letters even before the first run.
    requests, logs = (run.requests, run.logs.values()) if run else ((), ())
    findings = find(requests, logs, state.segments, dead_letters.tallies(*_period(run, state.runs)))
    return {
        "active": state.active,
        "runs": [_run_line(run) for run in state.runs[: -MAX_ROWS - 1 : -1]],
        "run": _run(run, state) if run else None,
        "findings": [asdict(finding) for finding in findings[:MAX_ROWS]],
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
        {"cells": cells, "count": tally.count, "units": len(tally.ids)}
        | {"before": before.get(cells, 0) if previous else None}
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
