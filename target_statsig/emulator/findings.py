"""What a user should look at after a run: refused, silently dropped, doubtful, dead-lettered.

Pure: from the state to sentences. Refuses to know how they are shown.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from target_statsig.emulator import console_api, events_api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_statsig.emulator.dead_letters import Pile
    from target_statsig.emulator.event_log import EventLog
    from target_statsig.emulator.item_log import ItemLog
    from target_statsig.emulator.segments import Segment
    from target_statsig.emulator.traffic import Noted, Traffic

DEAD_LETTERED = "dead-lettered"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how often, what happened, why or to what, what to do about it (or empty), and what it was about.

    Attributes:
        example: An event, or the message of a dead letter; None where it is about neither.
    """

    count: int
    what: str
    why: str
    remedy: str = ""
    example: Mapping[str, Any] | None = None


def find(
    traffic: Traffic,
    log: EventLog,
    segments: Mapping[str, Segment],
    dead_letters: Mapping[str, Pile],
    others: Iterable[ItemLog] = (),
) -> list[Finding]:
    """Return everything that a user should look at, the worst first.

    Args:
        traffic: The requests.
        log: The events that they brought.
        segments: The project's segments, by id.
        dead_letters: What the target gave up on, by reason.
        others: What the requests brought besides events.
    """
    requests: Counter[tuple[str, str, str]] = Counter()
    for noted, count in traffic.noted.items():
        if _is_worth_a_look(noted, segments):
            requests[_of_request(noted)] += count
    logs: list[EventLog | ItemLog] = [log, *others]
    piles = sorted(dead_letters.items(), key=lambda item: -item[1].count)
    return [
        *(Finding(count, *told) for told, count in requests.most_common()),
        *(
            Finding(
                count,
                "silently dropped",
                f"{json.dumps(name, ensure_ascii=False)}: {reason}",
                example=log.examples.get((name, reason)),
            )
            for (name, reason), count in log.dropped.most_common()
        ),
        *(Finding(pile.count, DEAD_LETTERED, reason, example=pile.example) for reason, pile in piles),
        *(
            Finding(count, "doubtful", remark, example=one.examples.get((remark,)))
            for one in logs
            for remark, count in one.remarks.most_common()
        ),
    ]


def short_path(path: str) -> str:
    """Return a path without the prefix that all calls of an API have in common."""
    return path.removeprefix(console_api.PREFIX).removeprefix(events_api.PREFIX)


def _is_worth_a_look(noted: Noted, segments: Mapping[str, Segment]) -> bool:
    segment = segments.get(console_api.split_path(noted.path)[0])
    return not (noted.status == HTTPStatus.NOT_FOUND and segment is not None and segment.created)


def _of_request(noted: Noted) -> tuple[str, str, str]:
    """Return what happened to a request, why, and the remedy."""
    segment_id, _ = console_api.split_path(noted.path)
    if noted.status == HTTPStatus.NOT_FOUND and segment_id:
        remedy = f"start with --segment {shlex.quote(segment_id)}, or set create_segment"
        return "404", f"segment '{segment_id}' not found", remedy
    answer = "no answer" if noted.status is None else str(noted.status)
    wrong_key = noted.status == HTTPStatus.UNAUTHORIZED
    remedy = "the target has another key than the emulator gave to COMMAND" if wrong_key else ""
    return f"{answer} {noted.method} {short_path(noted.path)}", noted.note, remedy
