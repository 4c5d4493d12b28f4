"""Fixtures for every test: an emulator, runs of the target, stores on both databases, a browser."""

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
from tests.fakes import FakeClock, InProcessWorkers, WaitlessClock
from tests.postgres import connection, postgres_url
from tests.singer import TargetRunner

__all__ = ["browser", "connection", "page", "postgres_url", "violations"]

# The same examples in every run, without deadlines, so that only a change of the code makes a test fail. To look for
# new examples: `pytest --hypothesis-profile explore`.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("explore", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")

# Compiling the modules takes a sixth of the time, and many containers tell Python not to keep bytecode. The variable is
# for the programs that tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# SQLite waits for the disk at every commit. A file system in memory, if there is one with room, halves the time.
MEMORY_FOLDER = Path("/dev/shm")
ENOUGH_BYTES = 2_000_000_000
if os.access(MEMORY_FOLDER, os.W_OK) and shutil.disk_usage(MEMORY_FOLDER).free > ENOUGH_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER))


def pytest_collection_modifyitems(items):
    """Mark tests on PostgreSQL and with workers as `e2e`.

    A module with `SLOW_ON_POSTGRESQL = True` has tests that take too long there; they are `slow`, too.
    """
    for item in items:
        on_postgresql = "postgresql" in item.name or "postgres_url" in item.fixturenames
        if on_postgresql or "in a worker" in item.name:
            item.add_marker(pytest.mark.e2e)
        if on_postgresql and getattr(item.module, "SLOW_ON_POSTGRESQL", False):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Exclude all imports and tests from garbage collection, which takes a twelfth of the time."""
    # In Python 3.14 Hypothesis warns if its random number generators are frozen before their first use.
    given(strategies.none())(lambda _: None)()
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc):
    """Run the tests of a module with `ALSO_IN_A_WORKER = True` with a worker, too."""
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
    """Start an empty emulator."""
    return statsig_factory()


@pytest.fixture
def removed(statsig):
    """Collect all ids that any request asks to remove."""
    ids = set()
    statsig.faults.add(method="DELETE", when=lambda arrival: ids.update(json.loads(arrival.body)["ids"]))
    return ids


@pytest.fixture
def command(statsig, tmp_path, monkeypatch):
    """Run the command, or start it as a process; processes that still run are killed after the test."""
    monkeypatch.chdir(tmp_path)
    command = Command(statsig, tmp_path)
    yield command
    command.close()


@pytest.fixture
def run_target(request, monkeypatch, statsig, tmp_path, capsys, caplog):
    """Run targets within this process; signal handlers are restored after the test."""
    if request.param:
        monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
        monkeypatch.setattr("target_statsig.commands.run.Workers", InProcessWorkers)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caplog.set_level(logging.DEBUG)
    yield TargetRunner(statsig, tmp_path, capsys, caplog)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def waits_take_no_time(monkeypatch):
    """Let runs within this process not wait, with a clock that moves on as if they had."""
    monkeypatch.setattr("target_statsig.commands.run.RunClock", WaitlessClock)


@pytest.fixture
def bound_by_permissions():
    """Apply file permissions to root, too, as which containers run tests.

    This thread, and the threads that it starts, drop the capabilities CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH:
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
    """Open stores on the same database, each for another run; all are closed after the test."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def opened(project="a project", run_id=None):
            run_id = run_id or f"run {next(numbers)}"
            return stack.enter_context(closing(Store(store_url, clock=clock, project=project, run_id=run_id)))

        yield opened


@pytest.fixture
def store(opening):
    """Give an empty store."""
    return opening()
