"""Runs `target-statsig` under a profiler, which shows the functions with the most processor time by thread.

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


def run_with_profile(profiles: list[cProfile.Profile], function, *args) -> None:
    """Call a function under a profiler for its thread."""
    # Processor time of the thread, since wall time would include waits for the interpreter's lock.
    profile = cProfile.Profile(time.thread_time)
    profiles.append(profile)
    profile.runcall(function, *args)


def run() -> None:
    """Run the target with the process's arguments, and print the functions with the most time of their own."""
    profiles: list[cProfile.Profile] = []
    run_thread = threading.Thread.run
    threading.Thread.run = lambda thread: run_with_profile(profiles, run_thread, thread)
    try:
        run_with_profile(profiles, main)
    except SystemExit as end:
        if end.code:
            raise
    # The profiles are in the order in which the threads started, the main thread first.
    for name, chosen in (("the thread that reads", profiles[:1]), ("the workers", profiles[1:])):
        if chosen:
            sys.stderr.write(f"\n## {name}\n")
            pstats.Stats(*chosen, stream=sys.stderr).strip_dirs().sort_stats("tottime").print_stats(SHOWN)


if __name__ == "__main__":
    run()
