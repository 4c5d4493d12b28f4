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
    from collections.abc import Iterable
    from pathlib import Path

    from target_statsig.emulator.state import State

UNKNOWN_REASON = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how often, what it happened to, why, and what to do about it (or empty)."""

    count: int
    what: str
    why: str
    remedy: str = ""


def find(state: State, dead_letters: Counter[str]) -> list[Finding]:
    """Return everything that a user should look at, the worst first."""
    with state.lock:
        entries = Counter(
            (entry.status, entry.method, entry.path, entry.note) for entry in state.requests if entry.note
        )
        dropped = Counter(state.event_log.dropped)
        remarks = Counter(state.event_log.remarks)
    return [
        *(_of_requests(count, *key) for key, count in entries.most_common()),
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


def count_dead_letters(folder: Path) -> Counter[str]:
    """Count the records in the dead-letter files of a folder by their reason.

    A file holds Singer messages, a line each, and a record has its `reason` beside it.
    """
    reasons: Counter[str] = Counter()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open(encoding="utf-8", errors="replace") as lines:
                reasons.update(_reasons(lines))
    return reasons


def _reasons(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("type") == "RECORD":
            yield str(message.get("reason", UNKNOWN_REASON))


def _of_requests(count: int, status: int | None, method: str, path: str, note: str) -> Finding:
    segment_id, _ = console_api.split_path(path)
    answer = "no answer" if status is None else str(status)
    what = f"{answer} {method} {short_path(path)}"
    if status == HTTPStatus.NOT_FOUND and segment_id:
        remedy = f"start with --segment {shlex.quote(segment_id)}, or set create_segment"
        return Finding(count, what, f"segment '{segment_id}' not found", remedy)
    if status == HTTPStatus.UNAUTHORIZED:
        return Finding(count, what, note, "the target has another key than the emulator gave to COMMAND")
    return Finding(count, what, note)
