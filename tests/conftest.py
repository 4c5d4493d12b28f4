"""Fixtures for every test: a Statsig on loopback."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from target_statsig.emulator import Options, StatsigEmulator


@pytest.fixture
def statsig_factory():
    """Start emulators with `Options(**options)`; all are closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(StatsigEmulator(Options(**options)))


@pytest.fixture
def statsig(statsig_factory):
    """A started emulator with nothing in it."""
    return statsig_factory()
