"""Which run a request belongs to."""

from __future__ import annotations

import pytest

from target_statsig.emulator.runs import QUIET_SECONDS, Runs

LATER = QUIET_SECONDS + 1


@pytest.fixture
def runs():
    return Runs("all")


def numbers(runs):
    return [run.number for run in runs.all]


def test_the_first_request_begins_the_first_run(runs):
    runs.arrive(1, 10.0)

    assert numbers(runs) == [1]
    assert (runs.all[0].started, runs.all[0].ended, runs.active) == (10.0, 10.0, True)


def test_a_wait_on_an_open_connection_is_the_same_run(runs):
    runs.arrive(1, 0.0)
    runs.arrive(1, 900.0)

    assert numbers(runs) == [1]
    assert runs.all[0].ended == 900.0


def test_one_of_several_connections_suffices(runs):
    runs.arrive(1, 0.0)
    runs.arrive(2, 0.0)
    runs.leave(1, 0.0)
    runs.arrive(3, LATER)

    assert numbers(runs) == [1]


def test_without_a_connection_for_a_while_another_run_begins(runs):
    runs.arrive(1, 0.0)
    runs.leave(1, 5.0)
    assert not runs.active
    runs.arrive(2, 5.0 + LATER)

    assert numbers(runs) == [1, 2]
    assert (runs.all[0].ended, runs.all[1].started) == (5.0, 5.0 + LATER)


def test_who_is_back_soon_goes_on(runs):
    runs.arrive(1, 0.0)
    runs.leave(1, 0.0)
    runs.arrive(2, QUIET_SECONDS)

    assert numbers(runs) == [1]


def test_a_connection_that_asked_for_nothing_is_no_targets(runs):
    assert not runs.leave(7, 0.0)
    assert runs.all == []


def test_after_clearing_an_open_connection_begins_again(runs):
    runs.arrive(1, 0.0)
    runs.clear()
    assert not runs.leave(1, 1.0)
    runs.arrive(1, 2.0)

    assert [(run.number, run.started) for run in runs.all] == [(1, 2.0)]
