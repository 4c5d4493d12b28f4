"""What the page shows, as JSON's types: summaries that stay small however much has arrived.

Pure: from the state to dicts and lists; the caller holds the lock. Refuses to know HTTP and how anything looks.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.console_api import split_path
from target_statsig.emulator.event_log import EventLog, Tally
from target_statsig.emulator.findings import DEAD_LETTERED, find, short_path
from target_statsig.emulator.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.emulator.dead_letters import DeadLetters
    from target_statsig.emulator.findings import Finding
    from target_statsig.emulator.item_log import ItemLog
    from target_statsig.emulator.runs import Run
    from target_statsig.emulator.segments import Segment
    from target_statsig.emulator.state import State

MAX_ROWS = 100
"""Rows of a table: names, findings, segments, changes, calls, users, members."""

MAX_RUNS = 20

_SLACK_SECONDS = 1.0
"""A target may write its last dead letters after its last connection."""


def overview(state: State, dead_letters: DeadLetters | None, number: int) -> dict[str, Any]:
    """Return everything but what a click opens.

    Args:
        state: What arrived.
        dead_letters: What the target gave up on, where that is known.
        number: The run to show; the newest where there is no such run.
    """
    runs = state.runs.all
    run = runs[number - 1] if 1 <= number <= len(runs) else runs[-1] if runs else None
    return {
        "active": state.runs.active,
        "runs": [_run_line(run) for run in runs[: -MAX_RUNS - 1 : -1]],
        "run": _run(run, runs, list(state.segments.values())) if run else None,
        "findings": [_finding(finding) for finding in _findings(state, dead_letters, run)[:MAX_ROWS]],
        "segments": [_segment(segment, runs) for segment in list(state.segments.values())[:MAX_ROWS]],
        "segment_count": len(state.segments),
    }


def samples(
    run: Run, name: str, tier: str, record_of: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None
) -> list[dict[str, Any]]:
    """Return the first events of a name and tier, each with its record where that is known."""
    tally = run.events.tallies.get((name, tier))
    events = tally.samples if tally else []
    return [{"event": event, "record": record_of(event) if record_of else None} for event in events]


def members(segment: Segment, text: str) -> list[str]:
    """Return the members of a segment whose ids contain a text."""
    return segment.find(text, MAX_ROWS)


def users(run: Run, text: str) -> list[dict[str, Any]]:
    """Return the users whose ids contain a text, those with the most events first."""
    found = (
        (count, kind, unit)
        for kind, counts in run.events.users.items()
        for unit, count in counts.items()
        if text in unit
    )
    most = nlargest(MAX_ROWS, found)
    return [{"id_type": kind, "id": unit, "events": count} for count, kind, unit in most]


def _run_line(run: Run) -> dict[str, Any]:
    return {
        "number": run.number,
        "started": run.started,
        "ended": run.ended,
        "events": run.events.count,
        "requests": run.traffic.count,
    }


def _run(run: Run, runs: Sequence[Run], segments: Sequence[Segment]) -> dict[str, Any]:
    previous = runs[run.number - 2] if run.number > 1 else None
    until = runs[run.number].started if run.number < len(runs) else math.inf
    tiers: Counter[str] = Counter()
    for tally in run.events.tallies.values():
        tiers[tally.tier] += tally.count
    timeline = run.traffic.timeline
    created = {segment.id for segment in segments if segment.created}
    # Whoever creates a segment asks first whether there is one.
    asked = [time for path, time in run.traffic.not_found if split_path(path)[0] in created]
    return _run_line(run) | {
        "names": _names(run, previous),
        "items": [_items(log) for log in run.items.values() if log.tallies],
        "segments_changed": sum(
            any(run.started <= change.time < until for change in segment.history) for segment in segments
        ),
        "tiers": [{"tier": tier, "count": count} for tier, count in tiers.most_common()],
        "users": {kind: len(counts) for kind, counts in run.events.users.items()},
        "timeline": {"seconds": timeline.seconds, "steps": [asdict(step) for step in timeline.pardon(asked)]},
        "calls": [
            {
                "method": method,
                "path": short_path(path),
                "times": call.times,
                "items": call.items,
                "size": call.size,
                "answers": call.answers(),
            }
            for (method, path), call in list(run.traffic.calls.items())[:MAX_ROWS]
        ],
    }


def _names(run: Run, previous: Run | None) -> list[dict[str, Any]]:
    """Return the events by name and tier; also those that only the run before had: they are missed now."""
    now = run.events.tallies
    before = previous.events.tallies if previous else {}
    nothing = Tally("", "")
    gone = [key for key in before if key not in now]
    keys = [*sorted(now, key=lambda key: -now[key].count), *sorted(gone, key=lambda key: -before[key].count)]
    rows = ((key, now.get(key, nothing)) for key in keys[:MAX_ROWS])
    return [
        {
            "name": name,
            "tier": tier,
            "count": tally.count,
            "users": len(tally.users),
            "before": before.get((name, tier), nothing).count if previous else None,
        }
        for (name, tier), tally in rows
    ]


def _items(log: ItemLog) -> dict[str, Any]:
    lines = log.lines()
    return {
        "title": log.kind.title,
        "count": log.count,
        "columns": log.kind.columns,
        "units": log.kind.units,
        "lines": [{"cells": tally.key, "count": tally.count, "units": len(tally.units)} for tally in lines[:MAX_ROWS]],
        "more": max(len(lines) - MAX_ROWS, 0),
    }


def _segment(segment: Segment, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "id": segment.id,
        "type": segment.type,
        "id_type": segment.id_type,
        "created": segment.created,
        "before": segment.before,
        "added": sum(change.added for change in segment.history),
        "removed": sum(change.removed for change in segment.history),
        "count": len(segment.ids),
        "version": segment.version,
        "changes": len(segment.history),
        "history": [
            asdict(change) | {"run": max((run.number for run in runs if run.started <= change.time), default=None)}
            for change in segment.history[: -MAX_ROWS - 1 : -1]
        ],
    }


def _findings(state: State, dead_letters: DeadLetters | None, run: Run | None) -> list[Finding]:
    """Return what to look at in a run; before the first one there may be dead letters all the same."""
    traffic, log = (run.traffic, run.events) if run else (Traffic.of(()), EventLog("counts"))
    piles = dead_letters.piles(*_period(run, state.runs.all)) if dead_letters else {}
    return find(traffic, log, state.segments, piles, run.items.values() if run else ())


def _period(run: Run | None, runs: Sequence[Run]) -> tuple[float, float]:
    """Return when the dead letters of a run are written; nobody says which run wrote a file."""
    number = run.number if run else 1
    after = runs[number - 2].ended + _SLACK_SECONDS if number > 1 else -math.inf
    until = runs[number - 1].ended + _SLACK_SECONDS if number < len(runs) else math.inf
    return after, until


def _finding(finding: Finding) -> dict[str, Any]:
    example = finding.example
    if example is not None and finding.what == DEAD_LETTERED:
        example = {"stream": example.get("stream"), "statsig": example.get("statsig"), "record": example.get("record")}
        example = {key: value for key, value in example.items() if value is not None}
    return {
        "count": finding.count,
        "what": finding.what,
        "why": finding.why,
        "remedy": finding.remedy,
        "example": example,
    }
