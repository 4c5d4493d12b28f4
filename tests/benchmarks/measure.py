"""One run of a command: how long it took and how much memory it had."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

LOOK_SECONDS = 0.1
"""How often memory is looked at; it takes a millisecond."""

SHOWN_OF_ERRORS = 2_000
"""Characters of a failed command's standard error that are worth showing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run took.

    Attributes:
        seconds: From its start to its end.
        processor_seconds: Of all its threads together.
        peak_bytes: The most memory (PSS) that it and the processes that it started had at once; what they share counts
            once.
        main_peak_bytes: The most memory (RSS) that it had by itself, with what it shares.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int
    main_peak_bytes: int


def run(command: Sequence[str], source: Path) -> Usage:
    """Run a command with a file as its input, from before it starts until it has ended.

    Raises:
        SystemExit: It failed; with the end of its standard error.
    """
    with source.open("rb") as stdin, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=errors)
        with Scales(process.pid) as scales:
            _, status, resources = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            words = errors.read().decode(errors="replace")[-SHOWN_OF_ERRORS:]
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{words}")
    return Usage(seconds, resources.ru_utime + resources.ru_stime, scales.peak_bytes, scales.main_peak_bytes)


class Scales:
    """Looks at the memory of a process and its children, now and then.

    Attributes:
        peak_bytes: The most that was seen of all of them together; what they share counts once.
        main_peak_bytes: The most that was seen of the process alone.
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self.main_peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        process = Path("/proc") / str(self._pid)
        while not self._ended.wait(LOOK_SECONDS):
            with suppress(OSError):
                children = (process / "task" / process.name / "children").read_text().split()
                self.peak_bytes = max(self.peak_bytes, sum(memory(pid, "Pss") for pid in [process.name, *children]))
                self.main_peak_bytes = max(self.main_peak_bytes, memory(process.name, "Rss"))


def memory(pid: str, measure: str) -> int:
    """Return the bytes of a process: its `Rss`, or its `Pss`, in which what it shares with others counts in part."""
    lines = (Path("/proc") / pid / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{measure}:")) * 1024
