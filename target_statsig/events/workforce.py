"""Processes that prepare records, so that more than one processor has to do with them.

Owns the processes. A worker that is not up yet, or that has died, costs time and nothing else: what it is asked for is
done here.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pickle
import queue
import select
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, cast

import msgspec

from target_statsig.events import worker
from target_statsig.events.worker import ANSWERS, ENCODER, Task

if TYPE_CHECKING:
    from target_statsig.events.prepare import Limits, Prepared, Prepares
    from target_statsig.singer.records import Batch

logger = logging.getLogger(__name__)

MOST_WORKERS = 3
"""The process that reads cannot keep more of them busy."""

PIPE_BYTES = 1 << 19
"""Room for a batch between two processes, so that the one that sends it need not wait for the other to read it."""

READ_BYTES = 1 << 16
"""Of an answer, read at once."""

COMMAND = "import sys; sys.path[:] = {path!r}; from {main.__module__} import main; main()"
"""With this process's own path: `-m` would look for the package where the run was started first."""

SETTINGS = ("TARGET_STATSIG_", "MELTANO_")
"""How the variables begin that may hold a key; no worker gets them."""

KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 26)}
"""Tells glibc to keep the memory of one batch for the next. To give it back and ask for it anew, page by page, takes a
tenth of a worker's time; other C libraries do not know these names."""

ANSWER_SECONDS = 120.0
"""Seconds after which a worker that has not taken a batch and answered counts as dead: that takes some milliseconds."""

PATIENCE = 5.0
"""Seconds in which a worker has to end that has nothing to do any more."""


def processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Workforce:
    """Workers, which any thread may ask."""

    def __init__(self, size: int | None = None) -> None:
        """Take how many workers there may be; by itself as many as there are processors, and none where that is one."""
        self._size = (min(processors(), MOST_WORKERS) if processors() > 1 else 0) if size is None else size
        self._workers: list[_Worker] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._begun = False

    def begin(self) -> None:
        """Start the workers, without waiting for them; where that cannot be done, the work is done here."""
        if self._begun or not sys.executable:
            return
        self._begun = True
        with contextlib.suppress(OSError):
            for _ in range(self._size):
                self._workers.append(_Worker())
                self._idle.put(self._workers[-1])

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
        """End the workers."""
        for each in self._workers:
            each.close()


class _Worker:
    """A process, asked by one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 -- this Python, and this package
            [sys.executable, "-c", COMMAND.format(path=sys.path, main=worker.main)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)} | KEEPS_MEMORY,
        )
        self._tasks = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        for pipe in (self._tasks, self._answers):
            with contextlib.suppress(OSError, AttributeError):  # more than this user may have, or no Linux
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._tasks.fileno(), False)
        self._known: dict[int, Prepares] = {}
        self._is_up = False
        self._is_dead = False

    @property
    def is_ready(self) -> bool:
        """Whether the process is up and alive."""
        if not (self._is_up or self._is_dead) and select.select([self._answers], [], [], 0)[0]:
            try:
                self._is_up = worker.receive(self._answers) == worker.READY
            except (EOFError, OSError):
                self._is_dead = True
        return self._is_up and not self._is_dead

    def prepare(self, preparation: Prepares, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        """Prepare a batch in the process; here while it is not up yet, and once it has died."""
        if self.is_ready:
            try:
                return self._ask(preparation, batch, limits, now_ms)
            except (EOFError, OSError, msgspec.MsgspecError):
                if not self._is_dead:
                    self.stop()
                    logger.warning(
                        "A worker process of this run ended before its time, or answers no more, perhaps for want of "
                        "memory. Nothing is lost by that; the run goes on without it, and slower."
                    )
        return preparation(batch, limits, now_ms)

    def _ask(self, preparation: Prepares, batch: Batch, limits: Limits, now_ms: int) -> Prepared:
        number = id(preparation)
        pickled = b"" if number in self._known else pickle.dumps(preparation)
        # Kept, so that no other one gets its number.
        self._known[number] = preparation
        task = Task(number, pickled, [*batch.lines], limits, now_ms)
        return ANSWERS.decode(self._exchange(ENCODER.encode(task)))

    def _exchange(self, message: bytes) -> bytes:
        """Send a message and return the answer, all in `ANSWER_SECONDS`: a stopped worker does not even read.

        Raises:
            EOFError: The worker has ended.
            OSError: It has ended, or its time is over.
        """
        end = time.monotonic() + ANSWER_SECONDS
        unsent = memoryview(worker.framed(message))
        answer = bytearray()
        while not worker.is_whole(answer):
            pipes = select.select([self._answers], [self._tasks] if unsent else [], [], max(end - time.monotonic(), 0))
            if pipes[1]:
                unsent = unsent[os.write(self._tasks.fileno(), unsent) :]
            if pipes[0]:
                part = os.read(self._answers.fileno(), READ_BYTES)
                if not part:
                    raise EOFError
                answer += part
            elif not pipes[1]:
                raise TimeoutError
        return bytes(answer[worker.LENGTH_BYTES :])

    def stop(self) -> None:
        """End the process at once; whoever waits for it waits no more."""
        self._is_dead = True
        self._process.kill()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it did not read any more
            self._tasks.close()
        self._answers.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
