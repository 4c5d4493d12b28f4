from __future__ import annotations

import logging
import signal

import pytest

from tests.singer import TargetRunner


@pytest.fixture
def run_target(statsig, tmp_path, capsys, caplog):
    """Run targets within this process; singer-sdk's signal handlers do not outlive the test."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caplog.set_level(logging.DEBUG)
    yield TargetRunner(statsig, tmp_path, capsys, caplog)
    for number, handler in handlers.items():
        signal.signal(number, handler)
