"""Processes that prepare batches, so that a run has more than one processor; and what goes on in one of them.

A worker has no key, no store and no settings but those of a stream's mapping. One that is not up yet, or that has died,
costs time and nothing else: what it is asked for is done here.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import logging
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

from target_statsig.singer.records import Batch, lines_of

if TYPE_CHECKING:
    from target_statsig.events.prepare import Limits, Prepared, Prepares

logger = logging.getLogger(__name__)

MOST_WORKERS = 3
"""The process that reads cannot keep more of them busy."""

PIPE_BYTES = 1 << 19
"""Room for a batch between two processes, so that the one that sends it need not wait for the other to read it."""

COMMAND = (
    "import gc, sys; gc.disable(); sys.path[:] = {path!r}; "
    "from target_statsig.events import item_types, prepare, workers; workers.main()"
)
"""With this process's own path: `-m` would look for the package where the run was started first. To look for garbage
in what is imported takes a tenth of the start."""

SETTINGS = ("TARGET_STATSIG_", "MELTANO_")
"""How the variables begin that may hold a key; no worker gets them."""

KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
"""Tells glibc to keep the memory of one batch for the next. To give it back and ask for it anew, page by page, takes a
tenth of a worker's time; other C libraries do not know these names."""

ANSWER_SECONDS = 120.0
"""Seconds after which a worker that has not taken a batch and answered is ended: that takes some milliseconds."""

COLLECTED_AFTER = 10_000
"""Objects more than before, after which Python looks for garbage that refers to itself; its choice is 700 or 2,000."""


def processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def spare_the_collector() -> None:
    """Let Python look for garbage seldom, and never at what is there by now: records are trees, and free themselves."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, *gc.get_threshold()[1:])
    gc.enable()


class Task(NamedTuple):
    """Lines to prepare.

    Attributes:
        number: Which preparation is asked for.
        preparation: The preparation, when the worker meets it first.
        lines: RECORD messages, end to end: many small objects take longer from one process to another than one large.
        limits: How large a request may be.
        now_ms: The present, unix milliseconds.
    """

    number: int
    preparation: Prepares | None
    lines: bytes
    limits: Limits
    now_ms: int


class Workers:
    """The workers of a run; any thread may ask them."""

    def __init__(self, size: int | None = None) -> None:
        """Take how many there may be; by itself as many as there are processors, and none where that is one."""
        self._size = (min(processors(), MOST_WORKERS) if processors() > 1 else 0) if size is None else size
        self._workers: list[_Worker] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._started = False
        self._closed = threading.Event()

    def start(self) -> None:
        """Start them, without waiting for them; where that cannot be done, the work is done here."""
        if self._started or not sys.executable or not self._size:
            return
        self._started = True
        with contextlib.suppress(OSError):
            for _ in range(self._size):
                self._workers.append(_Worker())
                self._idle.put(self._workers[-1])
        threading.Thread(target=self._end_late_ones, name="workers", daemon=True).start()

    def prepare(self, preparation: Prepares, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Prepare a batch as `Preparation` does: in a worker, and wait until one is free; here where there is none.

        A batch that is decoded already is prepared here: to hand it over would take longer.
        """
        if not self._workers or batch.messages is not None:
            return preparation(batch, limits, now_ms)
        idle = self._idle.get()
        try:
            return idle.prepare(preparation, batch, limits, now_ms)
        finally:
            self._idle.put(idle)

    def stop(self) -> None:
        """Wait for no worker any more; a signal handler may call this, too."""
        for each in self._workers:
            each.stop()

    def close(self) -> None:
        """End the workers: none has anything to lose."""
        self._closed.set()
        for each in self._workers:
            each.close()

    def _end_late_ones(self) -> None:
        while not self._closed.wait(min(ANSWER_SECONDS, 1.0)):
            for each in self._workers:
                each.end_if_late()


class _Worker:
    """A process, asked by one thread at a time."""

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
            with contextlib.suppress(OSError, AttributeError):  # more than this user may have, or no Linux
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._known: dict[int, Prepares] = {}
        self._is_up = self._is_stopped = False
        self._until: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the process is up; it says so by a first answer."""
        if not (self._is_up or self._is_stopped):
            self._is_up = bool(select.select([self._answers], [], [], 0)[0])
            if self._is_up:
                self._receive()
        return not self._is_stopped and self._is_up

    def prepare(self, preparation: Prepares, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Prepare a batch in the process; here while it is not up yet, and once it has died."""
        try:
            if self.is_ready:
                return self._ask(preparation, batch, limits, now_ms)
        except (EOFError, OSError, pickle.UnpicklingError):
            if not self._is_stopped:
                self.stop()
                logger.warning(
                    "A worker process of this run ended early or does not answer, perhaps because memory ran out. "
                    "Nothing is lost; the run goes on without it, more slowly."
                )
        return preparation(batch, limits, now_ms)

    def _ask(self, preparation: Prepares, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        number = id(preparation)
        unknown = None if number in self._known else preparation
        # Kept, so that no other one gets its number.
        self._known[number] = preparation
        self._until = time.monotonic() + ANSWER_SECONDS
        try:
            send(self._tasks, Task(number, unknown, b"".join(batch.lines), limits, now_ms))
            return cast("Prepared", self._receive())
        finally:
            self._until = None

    def _receive(self) -> object:
        # Not from anywhere, but from the process that was started here.
        return pickle.load(self._answers)  # noqa: S301

    def end_if_late(self) -> None:
        """End the process if the answer to what it was asked for is overdue; whoever waits for it gets none."""
        until = self._until
        if until is not None and time.monotonic() > until:
            self._process.kill()

    def stop(self) -> None:
        """End the process at once; whoever waits for it waits no more."""
        self._is_stopped = True
        self._process.kill()

    def close(self) -> None:
        self.stop()
        self._process.wait()
        for pipe in (self._tasks, self._answers):
            with contextlib.suppress(OSError):  # what it did not read any more
                pipe.close()


def send(pipe: IO[bytes], message: object) -> None:
    """Write an object.

    Raises:
        OSError: Nobody reads any more.
    """
    pipe.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    pipe.flush()


def serve(tasks: IO[bytes], answers: IO[bytes]) -> None:
    """Answer tasks until there are no more.

    Raises:
        EOFError: There are no more.
        UnpicklingError: Whoever asked was ended while it did.
        OSError: Nobody reads the answers any more.
    """
    preparations: dict[int, Prepares] = {}
    send(answers, None)
    while True:
        # Not from anywhere, but from the process that started this one.
        task: Task = pickle.load(tasks)  # noqa: S301
        if task.preparation is not None:
            preparations[task.number] = task.preparation
        send(answers, preparations[task.number](Batch(lines_of(task.lines)), task.limits, task.now_ms))


def main() -> None:
    """Serve the process that started this one; signals are for that one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    spare_the_collector()
    answers = sys.stdout.buffer
    # Whatever prints something must not print it between two answers.
    sys.stdout = sys.stderr
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        serve(sys.stdin.buffer, answers)
