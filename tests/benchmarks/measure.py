"""One run of a command: how long it took and how much memory it had.

Refuses to know what the command does. This module's process must stay small: on Linux a child's peak begins with the
memory of whoever started it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else 1024

SHOWN_OF_ERRORS = 2_000
"""Characters of a failed command's standard error that are worth showing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run took.

    Attributes:
        seconds: From its start to its end.
        processor_seconds: Of all its threads together.
        peak_bytes: The most memory that it had at once.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int


def run(command: Sequence[str], source: Path) -> Usage:
    """Run a command with a file as its input, from before it starts until it has ended.

    Raises:
        SystemExit: It failed; with the end of its standard error.
    """
    with source.open("rb") as stdin, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, resources = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            words = errors.read().decode(errors="replace")[-SHOWN_OF_ERRORS:]
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
    return Usage(seconds, resources.ru_utime + resources.ru_stime, resources.ru_maxrss * BYTES_PER_MAXRSS)
