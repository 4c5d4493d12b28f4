from __future__ import annotations

import logging
import signal
from pathlib import Path

import pytest

from target_statsig import lanes
from target_statsig.events import lane
from tests.command import Command
from tests.fakes import WorkforceInHere
from tests.singer import TargetRunner

WHOLE_RUNS = frozenset(
    {
        "test_command",
        "test_dry_run",
        "test_failures_of_ours",
        "test_fault_matrix",
        "test_mirror_states",
        "test_odd_names",
        "test_run_histories",
        "test_sdk_standard",
        "test_taps",
    }
)
"""Modules of many runs from beginning to end: too long for the quick part."""

HISTORIES = frozenset({"test_ledger_histories", "test_mirror_crashes", "test_mirror_states"})
"""Modules that try many runs on one store: on a PostgreSQL they take minutes together."""

OF_EVENTS = frozenset(
    {
        "test_cases",
        "test_events",
        "test_failures_of_ours",
        "test_fault_matrix",
        "test_ledger",
        "test_odd_inputs",
        "test_run_histories",
        "test_told",
    }
)
"""Modules of runs whose records may be prepared in another process."""


def pytest_collection_modifyitems(items):
    """Leave whole runs, a real PostgreSQL, and the other ways through the target to the longer part."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and (
            item.path.stem in WHOLE_RUNS or any(way in item.name for way in ("postgresql", "in a worker"))
        ):
            item.add_marker(pytest.mark.e2e)
            if item.path.stem in HISTORIES and "postgresql" in item.name:
                item.add_marker(pytest.mark.slow)


def pytest_generate_tests(metafunc):
    """Run each test that delivers events with a worker, too."""
    if "run_target" in metafunc.fixturenames:
        ways = [pytest.param(False, id="here")]
        if Path(metafunc.definition.path).stem in OF_EVENTS:
            ways.append(pytest.param(True, id="in a worker"))
        metafunc.parametrize("run_target", ways, indirect=True)


@pytest.fixture
def command(statsig, tmp_path):
    """Start the command as a process; what still runs is killed after the test."""
    command = Command(statsig, tmp_path)
    yield command
    command.close()


@pytest.fixture
def run_target(request, monkeypatch, statsig, tmp_path, capsys, caplog):
    """Run targets within this process; singer-sdk's signal handlers do not outlive the test."""
    if request.param:
        monkeypatch.setattr(lane, "WORKERS_AFTER", 0)
        monkeypatch.setattr(lanes, "Workforce", WorkforceInHere)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caplog.set_level(logging.DEBUG)
    yield TargetRunner(statsig, tmp_path, capsys, caplog)
    for number, handler in handlers.items():
        signal.signal(number, handler)
