from __future__ import annotations

import logging
import signal

import pytest

from target_statsig.target import TargetStatsig
from tests.command import Command
from tests.singer import TargetRunner


@pytest.fixture
def command(statsig, tmp_path):
    """Start the command as a process; what still runs is killed after the test."""
    command = Command(statsig, tmp_path)
    yield command
    command.close()


@pytest.fixture(params=[pytest.param(True, id="straight"), pytest.param(False, id="through singer-sdk")])
def run_target(request, monkeypatch, statsig, tmp_path, capsys, caplog):
    """Run targets within this process, both ways; singer-sdk's signal handlers do not outlive the test."""
    monkeypatch.setattr(TargetStatsig, "go_straight", request.param)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caplog.set_level(logging.DEBUG)
    yield TargetRunner(statsig, tmp_path, capsys, caplog)
    for number, handler in handlers.items():
        signal.signal(number, handler)
