"""Fixtures for every test: a Statsig on loopback, runs of the target, stores on both databases, a browser."""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import logging
import os
import shutil
import signal
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from target_statsig.emulator import Options, StatsigEmulator
from target_statsig.events import stream as event_stream
from target_statsig.store.store import Store
from tests.browser import browser, page, violations
from tests.command import Command
from tests.fakes import FakeClock, WaitlessClock, WorkersInHere
from tests.postgres import connection, postgres_url
from tests.singer import TargetRunner

__all__ = ["browser", "connection", "page", "postgres_url", "violations"]

# The same examples in every run, however busy the machine is: a failure is always a change's. To look for new ones:
# `pytest --hypothesis-profile explore`.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("explore", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")

# Compiling the tests and what they import is a sixth of the time, and Python is told in many containers to keep nothing
# that it compiled. Also for the programs that tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# SQLite waits for the disk at every commit, and nothing here outlives the session: a file system in memory, where there
# is one with room, halves the time.
IN_MEMORY = Path("/dev/shm")
ROOM = 2_000_000_000
if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


def pytest_collection_modifyitems(items):
    """Leave a real PostgreSQL and runs with workers to the longer part.

    A module says of itself that its histories are too long for a real PostgreSQL: `SLOW_ON_POSTGRESQL = True`.
    """
    for item in items:
        on_postgresql = "postgresql" in item.name or "postgres_url" in item.fixturenames
        if on_postgresql or "in a worker" in item.name:
            item.add_marker(pytest.mark.e2e)
        if on_postgresql and getattr(item.module, "SLOW_ON_POSTGRESQL", False):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Let the collector of garbage not look through all imports and tests each time: a twelfth of the time."""
    # Hypothesis warns where it cannot see what holds its random numbers; in Python 3.14 it does not see what is frozen.
    given(strategies.none())(lambda _: None)()
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc):
    """Run the tests of a module that says `ALSO_IN_A_WORKER = True` with a worker, too."""
    if "run_target" in metafunc.fixturenames:
        ways = [pytest.param(False, id="here")]
        if getattr(metafunc.module, "ALSO_IN_A_WORKER", False):
            ways.append(pytest.param(True, id="in a worker"))
        metafunc.parametrize("run_target", ways, indirect=True)


@pytest.fixture
def statsig_factory():
    """Start emulators with `Options(**options)`; all are closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(StatsigEmulator(Options(**options)))


@pytest.fixture
def statsig(statsig_factory):
    """A started emulator with nothing in it."""
    return statsig_factory()


@pytest.fixture
def removed(statsig):
    """Collect all ids that any request asks to remove."""
    ids = set()
    statsig.faults.add(method="DELETE", when=lambda arrival: ids.update(json.loads(arrival.body)["ids"]))
    return ids


@pytest.fixture
def command(statsig, tmp_path, monkeypatch):
    """Run the command, or start it as a process; what still runs is killed after the test."""
    monkeypatch.chdir(tmp_path)
    command = Command(statsig, tmp_path)
    yield command
    command.close()


@pytest.fixture
def run_target(request, monkeypatch, statsig, tmp_path, capsys, caplog):
    """Run targets within this process; singer-sdk's signal handlers do not outlive the test."""
    if request.param:
        monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
        monkeypatch.setattr("target_statsig.commands.run.Workers", WorkersInHere)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caplog.set_level(logging.DEBUG)
    yield TargetRunner(statsig, tmp_path, capsys, caplog)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def waits_take_no_time(monkeypatch):
    """Let runs within this process wait for nothing, and go by a clock that says that they have."""
    monkeypatch.setattr("target_statsig.commands.run.RunClock", WaitlessClock)


@pytest.fixture
def bound_by_permissions():
    """Bind root, as whom containers run tests, to the permissions of files, like any other user.

    This thread, and those that it starts, give up the capabilities CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH:
    https://man7.org/linux/man-pages/man2/capset.2.html.
    """
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x2008_0522)  # the third version, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, their low halves first
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    effective = sets[0]
    sets[0] &= ~0b110
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
    yield
    sets[0] = effective
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    """Give the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'memory' / 'store.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def opening(store_url, clock):
    """Open stores on the same database, each for a run of its own; all are closed after the test."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def opened(project="a project", run_id=None):
            run_id = run_id or f"run {next(numbers)}"
            return stack.enter_context(closing(Store(store_url, clock=clock, project=project, run_id=run_id)))

        yield opened


@pytest.fixture
def store(opening):
    """Give a store with nothing in it."""
    return opening()
