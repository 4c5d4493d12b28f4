"""Stores on both databases: every test that asks for `store_url`, or for a store, runs on each."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, closing

import pytest

from target_statsig.store import open_store
from tests.fakes import FakeClock
from tests.postgres import postgres_url

__all__ = ["postgres_url"]


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
            return stack.enter_context(closing(open_store(store_url, clock=clock, project=project, run_id=run_id)))

        yield opened


@pytest.fixture
def store(opening):
    """Give a store with nothing in it."""
    return opening()
