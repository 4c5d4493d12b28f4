"""What a user should look at after a run: refused, silently dropped, doubtful, dead-lettered.

Pure: from the state to sentences. Refuses to know how they are shown.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from target_statsig.emulator import console_api, events_api

if TYPE_CHECKING:
    from target_statsig.emulator.state import RequestEntry, State


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how often, what happened, why or to what, and what to do about it (or empty)."""

    count: int
    what: str
    why: str
    remedy: str = ""


def find(state: State, dead_letters: Counter[str]) -> list[Finding]:
    """Return everything that a user should look at, the worst first."""
    with state.lock:
        requests = Counter(_of_request(entry) for entry in state.requests if _is_worth_a_look(entry, state))
        dropped = Counter(state.event_log.dropped)
        remarks = Counter(state.event_log.remarks)
    return [
        *(Finding(count, *told) for told, count in requests.most_common()),
        *(
            Finding(count, "silently dropped", f"{json.dumps(name, ensure_ascii=False)}: {reason}")
            for (name, reason), count in dropped.most_common()
        ),
        *(Finding(count, "dead-lettered", reason) for reason, count in dead_letters.most_common()),
        *(Finding(count, "doubtful", remark) for remark, count in remarks.most_common()),
    ]


def short_path(path: str) -> str:
    """Return a path without the prefix that all calls of an API have in common."""
    return path.removeprefix(console_api.PREFIX).removeprefix(events_api.PREFIX)


def _is_worth_a_look(entry: RequestEntry, state: State) -> bool:
    segment = state.segments.get(console_api.split_path(entry.path)[0])
    created_later = entry.status == HTTPStatus.NOT_FOUND and segment is not None and segment.created
    return bool(entry.note) and not created_later


def _of_request(entry: RequestEntry) -> tuple[str, str, str]:
    """Return what happened to a request, why, and the remedy."""
    segment_id, _ = console_api.split_path(entry.path)
    if entry.status == HTTPStatus.NOT_FOUND and segment_id:
        remedy = f"start with --segment {shlex.quote(segment_id)}, or set create_segment"
        return "404", f"segment '{segment_id}' not found", remedy
    answer = "no answer" if entry.status is None else str(entry.status)
    wrong_key = entry.status == HTTPStatus.UNAUTHORIZED
    remedy = "the target has another key than the emulator gave to COMMAND" if wrong_key else ""
    return f"{answer} {entry.method} {short_path(entry.path)}", entry.note, remedy
