"""`--replay`: the dead letters, sent instead of input.

A replay sends all dead-letter files as one input, except those that a running run still writes. It deletes them when
every record in them is settled. A record is settled when it was delivered, or was rejected again and so is in a new
file. A tap sends the rows at its bookmark in every run, and after a failed run all rows since the last STATE, so one
rejected record is in the dead letters of several runs. It is sent as often as the run with the most copies of it had
it, as in the ledger.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from target_statsig.config import paths
from target_statsig.errors import FatalRunError, Heading, InputError, InterruptedRunError
from target_statsig.events.remembered import digest
from target_statsig.reports.text import counted
from target_statsig.singer.dead_letters import LOCAL, cause_of, may_grow
from target_statsig.singer.message import is_too_deep
from target_statsig.store.tables import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_statsig.commands.run import Run
    from target_statsig.config.settings import Settings

logger = logging.getLogger(__name__)

SUFFIX = ".singer"


def dead_letters(run: Run) -> Iterator[bytes] | None:
    """Return the lines of all dead letters; at its end the run deletes the files whose records are settled.

    None if there are none, and if they cannot be read, which ends the run.
    """
    run.command = Command.REPLAY
    try:
        directory = paths.dead_letter_path(run.settings)
        with _reading(directory):
            found = _files(directory)
            files = [file for file in found if not may_grow(file)]
    except InputError as error:
        run.fail(error)
        run.end(complete=False)
        return None
    if growing := len(found) - len(files):
        logger.info("Leaving %s of runs that have not ended to a later replay.", counted(growing, "file"))
    if not files:
        logger.info("There are no dead letters in %s.", directory)
        return None
    logger.info("Sending the dead letters of %s again.", counted(len(files), "file"))
    run.when_acknowledged = partial(_delete, run, files)
    return _readable_lines(directory, files)


def _delete(run: Run, files: Iterable[UPath]) -> None:
    rejected_again = set(run.dead_letters.paths)
    try:
        for file in files:
            with suppress(FileNotFoundError):  # another replay has deleted it
                if str(file) not in rejected_again and not may_grow(file):
                    file.unlink()
    except Exception as error:
        msg = (
            f"The files in {run.dead_letters.directory} were sent again, but cannot be deleted: {cause_of(error)}. "
            "Delete them, or the next `--replay` sends them once more."
        )
        raise FatalRunError(msg, heading=Heading.DEAD_LETTERS) from error


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
    """Count the dead letters, without changing or creating anything."""
    directory = paths.dead_letter_path(settings)
    try:
        place = UPath(directory)
        writable = paths.may_make(Path(place.path) / SUFFIX) if place.protocol in LOCAL else None
        files = _files(directory)
        records = (message for _, message in _lines(files) if message.get("type") == "RECORD")
        reasons = Counter(str(record.get("reason")) for record in records)
        return WaitingLetters(directory, len(files), reasons, writable=writable)
    except Exception as error:  # noqa: BLE001 -- each file system has errors of its own
        return WaitingLetters(directory, 0, Counter(), cause_of(error))


def _files(directory: str) -> list[UPath]:
    """Return the dead-letter files in a directory, a path or a `universal-pathlib` URL, in the order of their names."""
    place = UPath(directory)
    is_local = place.protocol in LOCAL
    try:
        # Neither `glob` nor `exists`: in a directory that they may not read, they find nothing.
        names = [*map(str, Path(place.path).iterdir())] if is_local else place.fs.ls(place.path, detail=False)
    except FileNotFoundError:
        return []
    place = UPath(place.path) if is_local else place
    return [place / name.rpartition("/")[2] for name in sorted(names) if name.endswith(SUFFIX)]


def _readable_lines(directory: str, files: Iterable[UPath]) -> Iterator[bytes]:
    with _reading(directory):
        for line, _ in _lines(files):
            yield line


@contextmanager
def _reading(directory: str) -> Iterator[None]:
    """Name the setting in any error, because each file system has errors of its own; a signal is none."""
    try:
        yield
    except InterruptedRunError:  # by a signal while a file was read
        raise
    except Exception as error:
        msg = (
            f"The dead letters in {directory} cannot be read: {cause_of(error)}. They stay. Let this user read the "
            "directory and its files, or change `dead_letter_path`."
        )
        raise InputError(msg) from error


def _lines(files: Iterable[UPath]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the lines of all files as `_lines_of` does, without repeats of the same record from other runs."""
    sent: Counter[tuple[str, bytes]] = Counter()
    in_run: Counter[tuple[str, bytes]] = Counter()
    run: object = None
    for file in files:
        for line, message in _lines_of(file):
            if message.get("type") == "RECORD" and isinstance(message.get("record"), dict):
                if message.get("run") != run:
                    run = message.get("run")
                    in_run.clear()
                record = (str(message.get("stream")), digest(message["record"]))
                in_run[record] += 1
                if in_run[record] <= sent[record]:
                    continue
                sent[record] += 1
            yield line, message


def _lines_of(path: UPath) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each complete line of a file, with its end, and its message, which is empty if the line holds none.

    No STATE passed a cut-off line, so the tap sends its record again.
    """
    with path.open("rb") as file:
        for line in file:
            message = _decode(line)
            if not line.endswith(b"\n") and not message:
                logger.warning(
                    "The last line of %s is cut off, because its run was killed or the disk was full. It is skipped; "
                    "the tap sends its record again.",
                    path.name,
                )
                return
            yield line if line.endswith(b"\n") else line + b"\n", message  # another file may follow


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) and not is_too_deep(message) else {}
