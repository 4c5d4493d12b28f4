"""Summaries for the report and the page: the requests of each call, and the findings that need attention."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from target_statsig.emulator import console_api, events_api

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from target_statsig.emulator.item_log import ItemLog, Pile
    from target_statsig.emulator.state import RequestEntry, Segment

DEAD_LETTERED = "dead-lettered"


@dataclass(slots=True)
class CallTally:
    """The requests of one method and path; `size` is in bytes on the wire."""

    times: int = 0
    items: int = 0
    size: int = 0
    statuses: Counter[int | None] = field(default_factory=Counter)

    def answers(self) -> str:
        """Return the statuses in order of appearance, with their counts if there are several."""
        names = {status: "none" if status is None else str(status) for status in self.statuses}
        if len(names) == 1:
            return next(iter(names.values()))
        return ", ".join(f"{name} ({self.statuses[status]:,})" for status, name in names.items())


def sum_calls(entries: Iterable[RequestEntry]) -> dict[tuple[str, str], CallTally]:
    """Return the tallies of lines of the request log, by method and path."""
    calls: dict[tuple[str, str], CallTally] = {}
    for entry in entries:
        call = calls.setdefault((entry.method, entry.path), CallTally())
        call.times += 1
        call.items += entry.items
        call.size += entry.size
        call.statuses[entry.status] += 1
    return calls


def short_path(path: str) -> str:
    """Return a path without the prefix of its API."""
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
        example: An event, or the message of a dead letter; None for other findings.
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
    dead_letters: Mapping[str, Pile],
) -> list[Finding]:
    """Return everything that needs attention, the worst first; the dead letters are given by reason."""
    noted = Counter(_of_request(entry) for entry in entries if entry.note and not is_lookup(entry, segments))
    findings = [Finding(count, *texts) for texts, count in noted.most_common()]
    for log in logs:
        dropped = log.dropped.items()
        why = {f"{json.dumps(name, ensure_ascii=False)}: {reason}": pile for (name, reason), pile in dropped}
        findings += _of_piles("silently dropped", why)
    findings += _of_piles(DEAD_LETTERED, dead_letters)
    for log in logs:
        findings += _of_piles("doubtful", log.remarks)
    return findings


def _of_piles(what: str, piles: Mapping[str, Pile]) -> list[Finding]:
    largest_first = sorted(piles.items(), key=lambda item: -item[1].count)
    return [Finding(pile.count, what, why, example=pile.example) for why, pile in largest_first]


def _of_request(entry: RequestEntry) -> tuple[str, str, str]:
    """Return the `what`, `why` and `remedy` of a request's finding."""
    segment_id, _ = console_api.split_path(entry.path)
    if entry.status == HTTPStatus.NOT_FOUND and segment_id:
        remedy = f"start with --segment {shlex.quote(segment_id)}, or set create_segment"
        return "404", f"segment '{segment_id}' not found", remedy
    answer = "no answer" if entry.status is None else str(entry.status)
    wrong_key = entry.status == HTTPStatus.UNAUTHORIZED
    remedy = "the target does not use the key that the emulator gave to COMMAND" if wrong_key else ""
    return f"{answer} {entry.method} {short_path(entry.path)}", entry.note, remedy
