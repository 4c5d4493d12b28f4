"""Runs `target-statsig` under a profiler: in which functions its threads spend their processor time.

python -m tests.benchmarks.profiling --config config.json < input
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
import time

from target_statsig.__main__ import main

SHOWN = 20


def profiled(profiles: list[cProfile.Profile], function, *args) -> None:
    """Call a function under a profiler of its own thread."""
    # Processor time of the thread: a wall clock would charge whoever waits for the interpreter's lock.
    profile = cProfile.Profile(time.thread_time)
    profiles.append(profile)
    profile.runcall(function, *args)


def run() -> None:
    """Run the target with the process's arguments and write the functions with the most time of their own."""
    profiles: list[cProfile.Profile] = []
    run_thread = threading.Thread.run
    threading.Thread.run = lambda thread: profiled(profiles, run_thread, thread)
    try:
        profiled(profiles, main)
    except SystemExit as end:
        if end.code:
            raise
    # The profiles come in the order in which the threads began: the first is the main thread's.
    for name, chosen in (("the thread that reads", profiles[:1]), ("the workers", profiles[1:])):
        if chosen:
            sys.stderr.write(f"\n## {name}\n")
            pstats.Stats(*chosen, stream=sys.stderr).strip_dirs().sort_stats("tottime").print_stats(SHOWN)


if __name__ == "__main__":
    run()
