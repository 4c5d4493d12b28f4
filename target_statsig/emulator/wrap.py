"""Runs a command beside the emulator: its signals, its end.

Knows processes. Refuses to know what the command is and what arrived.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

NOT_FOUND = 127
"""What a shell exits with when there is no such command."""

NOT_EXECUTABLE = 126
"""What a shell exits with when there is one that cannot be run."""

SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a command."""

_GRACE_SECONDS = 2.0
"""How long what the command left running may take to end after SIGTERM."""

_POLL_SECONDS = 0.02


def run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a command to its end, with this process's input and output.

    It gets a session of its own, so that a signal reaches all of a pipeline exactly once: from here.
    A single argument with blanks is a line for the shell.

    Returns:
        Its exit code; 128 and the signal's number where a signal ended it.

    Raises:
        OSError: It cannot be started.
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
    """Send a signal to all of a group; return whether there was anyone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _end_group(group: int) -> None:
    """End what the command left running."""
    if not _signal_group(group, signal.SIGTERM):
        return
    deadline = time.monotonic() + _GRACE_SECONDS
    while _signal_group(group, 0) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal_group(group, signal.SIGKILL)
