"""Why records are in dead-letter files, read while they grow and before they go away.

Knows that a line is a Singer message and that a record has its reason beside it. Refuses to know who wrote it.
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_statsig.record import decode_around_record, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(slots=True)
class Pile:
    """The dead letters of one reason: how many, and the message of the first one."""

    count: int = 0
    example: dict[str, Any] | None = None


@dataclass(slots=True)
class _File:
    read: int = 0
    changed: float = 0.0
    piles: dict[str, Pile] = field(default_factory=dict)


class DeadLetters:
    """The dead letters under a folder; may be used from any thread.

    Attributes:
        revision: Another number after every change that `refresh` saw.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder, which need not exist."""
        self.revision = 0
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read what was written since the last time, up to the last complete line."""
        with self._lock:
            found = {path for path in self._folder.rglob("*") if path.is_file()}
            for gone in self._files.keys() - found:
                del self._files[gone]
                self.revision += 1
            for path in sorted(found):
                self._read(path, self._files.setdefault(path, _File()))

    def piles(self, after: float = -math.inf, until: float = math.inf) -> dict[str, Pile]:
        """Return the dead letters of files last written to in a period, by reason, and field where one is at fault.

        Args:
            after: The period's beginning, in seconds since 1970-01-01T00:00:00Z.
            until: Its end, which belongs to it.
        """
        total: dict[str, Pile] = {}
        with self._lock:
            for file in self._files.values():
                if after < file.changed <= until:
                    for reason, pile in file.piles.items():
                        _add(total, reason, pile.count, pile.example)
        return total

    def _read(self, path: Path, file: _File) -> None:
        with path.open("rb") as handle:
            handle.seek(file.read)
            content = handle.read()
        complete = content[: content.rfind(b"\n") + 1]
        if complete:
            file.read += len(complete)
            file.changed = path.stat().st_mtime
            self.revision += 1
            for reason, message in _letters(complete):
                _add(file.piles, reason, 1, message)


def _add(piles: dict[str, Pile], reason: str, count: int, example: dict[str, Any] | None) -> None:
    pile = piles.setdefault(reason, Pile())
    pile.count += count
    pile.example = pile.example or example


def _letters(lines: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines.splitlines():
        try:
            message = json.loads(line)
        except RecursionError:
            message = decode_around_record(line)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("type") == "RECORD":
            if is_too_deep(message.get("record")):
                message["record"] = {}  # nobody can read it
            reason = message.get("reason", "for no reason that it tells")
            yield (f"{reason} ({message['field']})" if "field" in message else str(reason)), message
