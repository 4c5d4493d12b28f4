"""What the page shows, as JSON's types: summaries that stay small however much has arrived.

The caller holds the state's lock.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from heapq import nlargest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.item_log import ItemLog, Tally
from target_statsig.emulator.summary import DEAD_LETTERED, find, is_lookup, short_path, sum_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_statsig.emulator.command import DeadLetters
    from target_statsig.emulator.segments import Segment
    from target_statsig.emulator.state import Run, State

MAX_ROWS = 100
"""Rows of a table: names, findings, segments, changes, calls, users, members."""

MAX_RUNS = 20

MAX_STEPS = 60
"""Steps of the timeline: a bar for each still fits the width of a phone."""

_FIRST_STEP_SECONDS = 1 / 64

_SLACK_SECONDS = 1.0
"""A target may write its last dead letters after its last connection."""


def overview(state: State, dead_letters: DeadLetters, number: int) -> dict[str, Any]:
    """Return everything but what a click opens.

    Args:
        state: What arrived.
        dead_letters: What the target gave up on.
        number: The run to show; the newest where there is no such run.
    """
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
    """Return the users whose ids contain a text, those with the most events first."""
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
    """Return the events by name and tier; also those that only the run before had: they are missed now."""
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


@dataclass(slots=True)
class _Step:
    requests: int = 0
    refused: int = 0
    items: int = 0
    size: int = 0


def _timeline(run: Run, segments: Mapping[str, Segment]) -> dict[str, Any]:
    """Return the requests over time, in at most `MAX_STEPS` steps of so many seconds; `size` is in bytes."""
    # One from before the start, after the clock was set back, falls into the first step.
    offsets = [max(0.0, entry.time - run.started) for entry in run.requests]
    last, seconds = max(offsets, default=0.0), _FIRST_STEP_SECONDS
    while last / seconds >= MAX_STEPS:
        seconds *= 2
    steps = [_Step() for _ in range(int(last / seconds) + 1)] if offsets else []
    for entry, offset in zip(run.requests, offsets, strict=True):
        step = steps[int(offset / seconds)]
        refused = entry.status is None or entry.status >= HTTPStatus.BAD_REQUEST
        step.requests += 1
        step.refused += refused and not is_lookup(entry, segments)
        step.items += entry.items
        step.size += entry.size
    return {"seconds": seconds, "steps": [asdict(step) for step in steps]}


def _segment(segment: Segment, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "id": segment.id,
        "type": segment.type,
        "id_type": segment.id_type,
        "created": segment.created,
        "before": segment.before,
        "added": segment.added,
        "removed": segment.removed,
        "count": len(segment.ids),
        "version": segment.version,
        "changes": len(segment.history),
        "history": [
            asdict(change) | {"run": max((run.number for run in runs if run.started <= change.time), default=None)}
            for change in segment.history[: -MAX_ROWS - 1 : -1]
        ],
    }


def _findings(state: State, dead_letters: DeadLetters, run: Run | None) -> list[dict[str, Any]]:
    """Return what to look at in a run; before the first one there may be dead letters all the same."""
    piles = dead_letters.piles(*_period(run, state.runs))
    requests, logs = (run.requests, run.logs.values()) if run else ((), ())
    findings = [asdict(finding) for finding in find(requests, logs, state.segments, piles)]
    for finding in findings:
        if finding["what"] == DEAD_LETTERED and finding["example"]:
            shown = ((key, finding["example"].get(key)) for key in ("stream", "statsig", "record"))
            finding["example"] = {key: value for key, value in shown if value is not None}
    return findings


def _period(run: Run | None, runs: Sequence[Run]) -> tuple[float, float]:
    """Return when the dead letters of a run are written; no file says which run wrote it."""
    number = run.number if run else 1
    after = runs[number - 2].ended + _SLACK_SECONDS if number > 1 else -math.inf
    until = runs[number - 1].ended + _SLACK_SECONDS if number < len(runs) else math.inf
    return after, until
