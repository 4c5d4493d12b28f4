"""`--replay`: sends all dead-letter files as one input, and deletes them when every record in them is settled.

A record is settled when it was delivered, or was rejected again and so is in a new file. A tap sends the rows at its
bookmark in every run, and after a failed run all rows since the last STATE, so one rejected record is in the dead
letters of several runs. It is sent as often as the run with the most copies of it had it, as in the ledger.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from upath import UPath

from target_statsig.config import paths
from target_statsig.errors import StoreError
from target_statsig.reports.text import counted
from target_statsig.singer.columns import digest
from target_statsig.singer.dead_letters import LOCAL
from target_statsig.singer.message import is_too_deep
from target_statsig.store.tables import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_statsig.config.settings import Settings
    from target_statsig.run.run import Run
    from target_statsig.singer.dead_letters import DeadLetters

logger = logging.getLogger(__name__)

PATTERN = "*.singer"


def send_again(run: Run, run_to_end: Callable[[Iterable[bytes]], int]) -> int:
    """Send all dead letters again, and delete the files whose records are settled.

    `run_to_end` reads their lines and returns the exit code. Returns 0 if there are no dead letters.
    """
    run.command = Command.REPLAY
    try:
        letters = DeadLetterFiles(str(run.dead_letters.directory))
    except StoreError as error:  # their place is unknown
        run.fail(error)
        run.end(complete=False)
        return run.exit_code
    if not letters.paths:
        logger.info("There are no dead letters in %s.", run.dead_letters.directory)
        return 0
    logger.info("Sending the dead letters of %s again.", counted(len(letters.paths), "file"))
    exit_code = run_to_end(letters.lines())
    if run.is_acknowledged:
        letters.remove(run.dead_letters)
    return exit_code


@dataclass(frozen=True, slots=True)
class WaitingLetters:
    """The dead letters that `--replay` would send, counted by reason, or why they cannot be read.

    `writable` is whether this user may write there or create the directory; None if only writing would show it.
    """

    directory: str
    files: int
    reasons: Counter[str]
    unreadable: str | None = None
    writable: bool | None = None


def waiting_letters(settings: Settings) -> WaitingLetters:
    """Count the dead letters, without changing or creating anything.

    Raises:
        StoreError: Their place is unknown.
    """
    directory = paths.dead_letter_path(settings)
    try:
        place = UPath(directory)
        writable = paths.may_make(Path(place.path) / PATTERN) if place.protocol in LOCAL else None
        letters = DeadLetterFiles(directory)
        return WaitingLetters(directory, len(letters.paths), letters.reasons(), writable=writable)
    except Exception as error:  # noqa: BLE001 -- each file system has errors of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        return WaitingLetters(directory, 0, Counter(), reason)


class DeadLetterFiles:
    """The dead-letter files of earlier runs, in the order of their names."""

    def __init__(self, directory: str) -> None:
        """Find the files in a directory, which is a path or a `universal-pathlib` URL."""
        place = UPath(directory)
        self.paths = sorted(place.glob(PATTERN), key=str) if place.exists() else []

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of all files, without repeats of the same record from other runs."""
        repeats = _Repeats()
        for path in self.paths:
            with path.open("rb") as file:
                for line in _whole_lines(file, path.name):
                    if not repeats.has(line):
                        yield line

    def reasons(self) -> Counter[str]:
        """Return the number of records that would be sent again, by reason."""
        messages = map(_decode, self.lines())
        return Counter(str(message.get("reason")) for message in messages if message.get("type") == "RECORD")

    def remove(self, box: DeadLetters) -> None:
        """Delete the files, except those of `box`, which hold what was rejected again."""
        kept = set(box.paths)
        for path in self.paths:
            if str(path) not in kept:
                path.unlink()


class _Repeats:
    """Finds records that a file of an earlier run has held already."""

    def __init__(self) -> None:
        self._brought: Counter[tuple[str, bytes]] = Counter()
        self._in_run: Counter[tuple[str, bytes]] = Counter()
        self._run: object = None

    def has(self, line: bytes) -> bool:
        """Count a line, and return whether it repeats a record."""
        message = _decode(line)
        if message.get("type") != "RECORD" or not isinstance(message.get("record"), dict):
            return False
        if message.get("run") != self._run:
            self._run = message.get("run")
            self._in_run.clear()
        record = (str(message.get("stream")), digest(message["record"]))
        self._in_run[record] += 1
        if self._in_run[record] <= self._brought[record]:
            return True
        self._brought[record] += 1
        return False


def _whole_lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the complete lines of a file, each with its end.

    No STATE passed a cut-off line, so the tap sends its record again.
    """
    for line in file:
        if not line.endswith(b"\n") and not _decode(line):
            logger.warning(
                "The last line of %s is cut off, because its run was killed or the disk was full. It is skipped; the "
                "tap sends its record again.",
                name,
            )
            return
        yield line if line.endswith(b"\n") else line + b"\n"  # another file may follow


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) and not is_too_deep(message) else {}
