"""The time and memory of a command."""

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

SAMPLE_SECONDS = 0.1
"""The interval of memory samples; each takes a millisecond."""

SHOWN_ERROR_CHARACTERS = 2_000
"""Characters of a failed command's standard error to show."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The time and memory of a run.

    Attributes:
        seconds: From its start to its end.
        processor_seconds: Processor time of all its threads.
        peak_bytes: The most memory (PSS) of the process and its children; shared memory counts once.
        main_peak_bytes: The most memory (RSS) of the process alone, with shared memory.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int
    main_peak_bytes: int


def run(command: Sequence[str], source: Path) -> Usage:
    """Run a command with a file as its input.

    Raises:
        SystemExit: It failed; with the end of its standard error.
    """
    with source.open("rb") as stdin, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=errors)
        with MemorySampler(process.pid) as sampler:
            _, status, resources = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace")[-SHOWN_ERROR_CHARACTERS:]
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{text}")
    return Usage(seconds, resources.ru_utime + resources.ru_stime, sampler.peak_bytes, sampler.main_peak_bytes)


class MemorySampler:
    """Samples the memory of a process and its children.

    Attributes:
        peak_bytes: The most memory of all of them together; shared memory counts once.
        main_peak_bytes: The most memory of the process alone.
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self.main_peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        process = Path("/proc") / str(self._pid)
        while not self._ended.wait(SAMPLE_SECONDS):
            with suppress(OSError):
                children = (process / "task" / process.name / "children").read_text().split()
                self.peak_bytes = max(self.peak_bytes, sum(memory(pid, "Pss") for pid in [process.name, *children]))
                self.main_peak_bytes = max(self.main_peak_bytes, memory(process.name, "Rss"))


def memory(pid: str, measure: str) -> int:
    """Return the bytes of a process: its `Rss`, or its `Pss`, which has its share of shared memory."""
    lines = (Path("/proc") / pid / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{measure}:")) * 1024
