"""Ways for a task to fail on its way; a preparer of Spark's with one of them stands in for the real one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pyspark import TaskContext

from target_statsig import spark

prepare_partition = spark._prepare


class Sabotage:
    """Prepares a partition, and fails in the middle of one of them."""

    def __init__(self, how, partition=1, attempts=1):
        self._how = how
        self._partition = partition
        self._attempts = attempts

    def __call__(self, preparer, batches):
        context = TaskContext.get()
        is_due = context.partitionId() == self._partition and context.attemptNumber() < self._attempts
        for place, batch in enumerate(prepare_partition(preparer, batches)):
            if is_due and place == 1:
                self._how()
            yield batch


def fail():
    raise RuntimeError


def kill_worker():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_executor():
    """Kill the JVM that started this worker: the first ancestor that is no Python."""
    pid = os.getpid()
    while "java" not in Path(f"/proc/{pid}/comm").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)


def dawdle():
    """Wait until this attempt is given up."""
    time.sleep(120)


def environments(preparer, batches):
    """Prepare a partition; a worker that finds the key in its environment, or its executor's, fails."""
    pid = os.getpid()
    while pid > 1:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if b"java" in Path(f"/proc/{pid}/cmdline").read_bytes():
            break
        assert b"secret-" not in environment
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert b"secret-" not in environment
    assert b"secret-" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    return prepare_partition(preparer, batches)
