"""Fixtures for every test: a Statsig on loopback."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from target_statsig.emulator import Options, StatsigEmulator

# The same examples in every run, however busy the machine is: a failure is always a change's. To look for new ones:
# `pytest --hypothesis-profile explore`.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("explore", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture
def statsig_factory():
    """Start emulators with `Options(**options)`; all are closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(StatsigEmulator(Options(**options)))


@pytest.fixture
def statsig(statsig_factory):
    """A started emulator with nothing in it."""
    return statsig_factory()
