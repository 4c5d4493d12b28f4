"""Worker processes, which prepare batches, so that a run can use more than one processor.

A worker has no key, no store, and only the settings of a stream's mapping. While a worker starts, and after it has
died, its batches are prepared in the main process.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
import math
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from target_statsig.singer.message import lines_of
from target_statsig.singer.records import Batch

if TYPE_CHECKING:
    from target_statsig.events.prepare import Limits, Preparation, Prepared

logger = logging.getLogger(__name__)

MOST_WORKERS = 3
"""The main process cannot keep more of them busy."""

TASKS_AT_ONCE = 2
"""Tasks that a worker has: while it prepares one, the next already waits in its pipe."""

PIPE_BYTES = 1 << 19
"""The size of a pipe: room for a batch, so that the main process need not wait until the worker reads it."""

COMMAND = (
    "import gc, sys; gc.disable(); sys.path[:] = {path!r}; "
    "from target_statsig.events import items, prepare, workers; workers.main()"
)
"""The path is that of this process, because `-m` would search the working directory first. Python's collector is off,
because it takes a tenth of a worker's start."""

SETTINGS = ("TARGET_STATSIG_", "MELTANO_")
"""The prefixes of environment variables that may hold a key. Workers do not get these."""

KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
"""Makes glibc keep the memory of one batch for the next, which saves a tenth of a worker's time. Other C libraries
ignore these variables."""

ANSWER_SECONDS = 120.0
"""Seconds after which a worker that does not answer is ended. An answer usually takes some milliseconds."""

COLLECTED_AFTER = 10_000
"""New objects after which Python's collector runs; the default is 700 or 2,000."""


def processors() -> int:
    """Return the number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def collect_seldom() -> None:
    """Let Python's collector run seldom, and ignore all existing objects. Records have no cycles that it could free."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, *gc.get_threshold()[1:])
    gc.enable()


class Task(NamedTuple):
    """Lines to prepare.

    Attributes:
        number: The number of the preparation.
        preparation: The preparation, if the worker does not have it yet.
        lines: RECORD messages, concatenated, because one large object is passed on faster than many small ones.
        limits: How large a request may be.
        now_ms: The present, unix milliseconds.
    """

    number: int
    preparation: Preparation | None
    lines: bytes
    limits: Limits
    now_ms: int


class Workers:
    """The workers of a run. Thread-safe."""

    def __init__(self, size: int | None = None) -> None:
        """Take the number of workers; by default one for each processor, or none if there is one processor only."""
        self._size = (min(processors(), MOST_WORKERS) if processors() > 1 else 0) if size is None else size
        self._workers: list[_Worker] = []
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._started = False
        self._closed = threading.Event()

    def start(self) -> None:
        """Start the workers without waiting for them. If none can be started, the main process prepares alone."""
        if self._started or not sys.executable or not self._size:
            return
        self._started = True
        with contextlib.suppress(OSError):
            for _ in range(self._size):
                self._workers.append(_Worker())
        for worker in self._workers * TASKS_AT_ONCE:
            self._free.put(worker)
        threading.Thread(target=self._end_late_ones, name="workers", daemon=True).start()

    def prepare(self, preparation: Preparation, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Wait until a worker is free, and prepare a batch in it; without workers, prepare it here.

        A decoded batch is always prepared here, because passing it to a worker would take longer.
        """
        if not self._workers or batch.messages is not None:
            return preparation(batch, limits, now_ms)
        worker = self._free.get()
        try:
            return worker.prepare(preparation, batch, limits, now_ms)
        finally:
            self._free.put(worker)

    def stop(self) -> None:
        """End the workers at once, and the waits for them. Safe in a signal handler."""
        for worker in self._workers:
            worker.stop()

    def close(self) -> None:
        """End the workers, and wait until they have ended."""
        self._closed.set()
        for worker in self._workers:
            worker.close()

    def _end_late_ones(self) -> None:
        while not self._closed.wait(min(ANSWER_SECONDS, 1.0)):
            for worker in self._workers:
                worker.end_if_late()


class _Worker:
    """A worker process, used by up to `TASKS_AT_ONCE` threads at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 -- this Python, and this package
            [sys.executable, "-c", COMMAND.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)} | KEEPS_MEMORY,
        )
        self._tasks = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        for pipe in (self._tasks, self._answers):
            with contextlib.suppress(OSError, AttributeError):  # over the user's limit, or not Linux
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._preparations: dict[int, Preparation] = {}
        self._is_up = self._is_stopped = False
        self._due: list[float] = []
        self._sending, self._receiving = threading.Lock(), threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether the process has started, which its first answer shows."""
        if not (self._is_up or self._is_stopped) and select.select([self._answers], [], [], 0)[0]:
            self._receive()
            self._is_up = True
        return not self._is_stopped and self._is_up

    def prepare(self, preparation: Preparation, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Prepare a batch in the process; while it starts, and after it has died, prepare the batch here."""
        due = time.monotonic() + ANSWER_SECONDS
        self._due.append(due)
        try:
            answer = self._ask(preparation, batch, limits, now_ms)
        except (EOFError, OSError, pickle.UnpicklingError):
            self._warn_and_stop()
            answer = None
        finally:
            self._due.remove(due)
        return preparation(batch, limits, now_ms) if answer is None else answer

    def _ask(self, preparation: Preparation, batch: Batch, limits: Limits, now_ms: int) -> Prepared | None:
        """Let the process prepare a batch, if it is ready."""
        with self._sending:
            if not self.is_ready:
                return None
            number = id(preparation)
            unknown = None if number in self._preparations else preparation
            self._preparations[number] = preparation  # kept, so that its id is not reused
            send(self._tasks, Task(number, unknown, b"".join(batch.lines), limits, now_ms))
            # Before another thread sends a task, so that each receives the answer to its own.
            self._receiving.acquire()
        try:
            return cast("Prepared", self._receive())
        finally:
            self._receiving.release()

    def _receive(self) -> object:
        # The data comes from the process that was started here.
        return pickle.load(self._answers)  # noqa: S301

    def _warn_and_stop(self) -> None:
        with self._sending:
            if not self._is_stopped:
                self.stop()
                logger.warning(
                    "A worker process of this run ended early or does not answer, perhaps because memory ran out. "
                    "Nothing is lost; the run goes on without it, more slowly."
                )

    def end_if_late(self) -> None:
        """End the process if an answer is overdue; this also ends the waits for it."""
        if min(self._due, default=math.inf) < time.monotonic():
            self._process.kill()

    def stop(self) -> None:
        """End the process at once, which also ends the wait for its answer."""
        self._is_stopped = True
        self._process.kill()

    def close(self) -> None:
        self.stop()
        self._process.wait()
        for pipe in (self._tasks, self._answers):
            with contextlib.suppress(OSError):  # unread data
                pipe.close()


def send(pipe: IO[bytes], message: object) -> None:
    """Write an object.

    Raises:
        OSError: The reader has closed the pipe.
    """
    pipe.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    pipe.flush()


def serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Answer tasks until the main process closes the pipe.

    Raises:
        EOFError: There are no more tasks.
        UnpicklingError: The main process ended in the middle of a task.
        OSError: The main process reads no more answers.
    """
    preparations: dict[int, Preparation] = {}
    send(answers, None)
    while True:
        # The data comes from the process that started this one.
        task: Task = pickle.load(tasks)  # noqa: S301
        if task.preparation is not None:
            preparations[task.number] = task.preparation
        send(answers, preparations[task.number](Batch(lines_of(task.lines)), task.limits, task.now_ms))


def main() -> None:
    """Serve the process that started this one. Signals are left to that process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    collect_seldom()
    answers = sys.stdout.buffer
    # Nothing else may be printed between two answers.
    sys.stdout = sys.stderr
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        serve(sys.stdin.buffer, answers)
