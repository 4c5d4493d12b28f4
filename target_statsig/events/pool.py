"""Batches under way: so many at once, in worker threads, and no more waiting behind them.

Whoever hands one over waits while all workers are busy, so that memory stays bounded however slow Statsig is.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class DeliveryPool:
    """Runs jobs in worker threads and keeps the first failure for the one who hands over the next."""

    def __init__(self, workers: int) -> None:
        """Take how many jobs may be under way at once."""
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="pool")
        self._places = threading.BoundedSemaphore(workers)
        self._failure: BaseException | None = None

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job as soon as a worker is free, and wait until one is.

        Raises:
            BaseException: What an earlier job failed with; this job is not run.
        """
        self._places.acquire()
        try:
            self.check()
        except BaseException:
            self._places.release()
            raise
        self._pool.submit(self._run, job)

    def check(self) -> None:
        """See whether all is well so far.

        Raises:
            BaseException: What the first job that failed failed with.
        """
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Wait for all jobs.

        Raises:
            BaseException: What the first of them that failed failed with.
        """
        self._pool.shutdown(wait=True)
        self.check()

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001 -- it is raised again by the thread that reads the input
            if self._failure is None:
                self._failure = error
        finally:
            self._places.release()
