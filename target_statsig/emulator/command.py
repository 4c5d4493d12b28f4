"""The command that runs beside an emulator: its files, its dead letters, its process."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.item_log import Pile, add_piles
from target_statsig.singer.message import decode_around_record, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

NOT_FOUND = 127
"""The exit code of a shell if there is no such command."""

NOT_EXECUTABLE = 126
"""The exit code of a shell if the command cannot be run."""

SIGNALLED = 128
"""A shell adds this to the number of the signal that ended a command."""

_GRACE_SECONDS = 2.0
"""Seconds that processes which the command left running may take to end after SIGTERM."""

_POLL_SECONDS = 0.02


def empty(folder: Path, *, but: Path | None = None) -> None:
    """Remove what is in a folder of the target's files, apart from one path."""
    for path in folder.iterdir():
        if path.is_dir() and path != but:
            # A target that is still running may be writing into it.
            shutil.rmtree(path, ignore_errors=True)
        elif path != but:
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class _File:
    read: int = 0
    changed: float = 0.0
    piles: defaultdict[str, Pile] = field(default_factory=lambda: defaultdict(Pile))


class DeadLetterReader:
    """The dead letters in a folder, read while they are being written. Thread-safe.

    Attributes:
        revision: A number that changes when `refresh` finds a change.
    """

    def __init__(self, folder: Path | None) -> None:
        """Take the folder, which need not exist yet."""
        self.revision = 0
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read the lines that are new since the last call, up to the last complete one."""
        with self._lock:
            found = {path for path in self._folder.rglob("*") if path.is_file()} if self._folder else set()
            for gone in self._files.keys() - found:
                del self._files[gone]
                self.revision += 1
            for path in sorted(found):
                self._read(path, self._files.setdefault(path, _File()))

    def piles(self, after: float = -math.inf, until: float = math.inf) -> dict[str, Pile]:
        """Return the dead letters of files that were last written in a period, by reason and field at fault.

        An example is the message of the first one. The period is in seconds since 1970, and includes its end.
        """
        total: defaultdict[str, Pile] = defaultdict(Pile)
        with self._lock:
            for file in self._files.values():
                if after < file.changed <= until:
                    add_piles(total, file.piles)
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
                file.piles[reason].add(1, message)


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
                message["record"] = {}  # too deep to be shown
            reason = message.get("reason", "no reason given")
            yield (f"{reason} ({message['field']})" if "field" in message else str(reason)), message


def run_command(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a command to its end, with this process's input and output.

    It runs in its own session, to which this process forwards signals, so that each process of a pipeline gets a signal
    once. A single argument with blanks is a line for the shell.

    Returns:
        The exit code, or 128 plus the number of the signal that ended it.

    Raises:
        OSError: The command cannot be started.
    """
    if len(command) == 1 and len(command[0].split()) > 1 and shutil.which(command[0]) is None:
        command = ("/bin/sh", "-c", command[0])
    received: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: FrameType | None) -> None:
        if process is None:
            received.append(number)
        else:
            _signal_group(process.pid, number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        process = subprocess.Popen(command, env=os.environ | variables, start_new_session=True)  # noqa: S603 - what the user typed
        for number in received:
            _signal_group(process.pid, number)
        code = process.wait()
    finally:
        if process is not None:
            _end_group(process.pid)
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else SIGNALLED - code


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether the group exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _end_group(group: int) -> None:
    """End processes that the command left running."""
    if not _signal_group(group, signal.SIGTERM):
        return
    deadline = time.monotonic() + _GRACE_SECONDS
    while _signal_group(group, 0) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal_group(group, signal.SIGKILL)
