"""What the report and the page tell alike: the requests of each call, the dead letters, and what needs attention."""

from __future__ import annotations

import json
import math
import shlex
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from target_statsig.emulator import console_api, events_api
from target_statsig.emulator.item_log import Tally, add_tallies
from target_statsig.singer.message import decode_around_record, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from target_statsig.emulator.item_log import ItemLog
    from target_statsig.emulator.state import RequestEntry, Segment


@dataclass(frozen=True, slots=True)
class CallSum:
    """The requests of one method and path.

    Attributes:
        path: Without the prefix of its API.
        size: Bytes of the bodies on the wire.
        answers: The statuses in order of appearance, with their counts if there are several.
    """

    method: str
    path: str
    times: int
    items: int
    size: int
    answers: str


def sum_calls(entries: Iterable[RequestEntry]) -> list[CallSum]:
    """Sum up lines of the request log by method and path."""
    calls: defaultdict[tuple[str, str], list[RequestEntry]] = defaultdict(list)
    for entry in entries:
        calls[entry.method, entry.path].append(entry)
    sums = []
    for (method, path), same in calls.items():
        items, size = sum(entry.items for entry in same), sum(entry.size for entry in same)
        statuses = Counter("none" if entry.status is None else str(entry.status) for entry in same)
        answers = [f"{status} ({count:,})" for status, count in statuses.items()] if len(statuses) > 1 else statuses
        sums.append(CallSum(method, _short(path), len(same), items, size, ", ".join(answers)))
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


@dataclass(slots=True)
class _File:
    read: int = 0
    changed: float = 0.0
    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


class DeadLetterReader:
    """The dead letters in a folder, read while they are being written. Thread-safe."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder, which need not exist yet."""
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self._revision = 0
        self._lock = threading.Lock()

    def refresh(self) -> int:
        """Read the lines that are new since the last call, up to the last complete one.

        Returns:
            A number that changes with the dead letters.
        """
        with self._lock:
            found = {path for path in self._folder.rglob("*") if path.is_file()} if self._folder else set()
            for gone in self._files.keys() - found:
                del self._files[gone]
                self._revision += 1
            for path in sorted(found):
                with suppress(FileNotFoundError):  # sent again, and so deleted, just now
                    self._read(path, self._files.setdefault(path, _File()))
            return self._revision

    def tallies(self, after: float = -math.inf, until: float = math.inf) -> dict[str, Tally]:
        """Return the dead letters of files that were last written in a period, by reason and field at fault.

        The period is in seconds since 1970, and includes its end.
        """
        self.refresh()
        total: defaultdict[str, Tally] = defaultdict(Tally)
        with self._lock:
            for file in self._files.values():
                if after < file.changed <= until:
                    add_tallies(total, file.tallies)
        return total

    def _read(self, path: Path, file: _File) -> None:
        with path.open("rb") as handle:
            handle.seek(file.read)
            content = handle.read()
        complete = content[: content.rfind(b"\n") + 1]
        if complete:
            file.read += len(complete)
            file.changed = path.stat().st_mtime
            self._revision += 1
            for reason, shown in _letters(complete):
                file.tallies[reason].add(shown)


def _letters(lines: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the reason of each dead letter, and the members of its message that are shown."""
    for line in lines.splitlines():
        try:
            message = json.loads(line)
        except RecursionError:
            message = decode_around_record(line)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("type") == "RECORD":
            if is_too_deep(message.get("record")):
                message["record"] = {}  # too deep to be shown
            reason = message.get("reason", "no reason given")
            shown = {name: message[name] for name in ("stream", "statsig", "record") if message.get(name) is not None}
            yield (f"{reason} ({message['field']})" if "field" in message else str(reason)), shown
