"""Batches under way: so many at once, and the first failure for whoever comes next."""

from __future__ import annotations

import threading

import pytest

from target_statsig.events.courier import Courier

PATIENCE = 30


@pytest.fixture
def courier():
    courier = Courier(2)
    yield courier
    courier._pool.shutdown()


def fail(error):
    raise error


def test_all_jobs_are_done_when_it_has_finished(courier):
    done = []
    for number in range(20):
        courier.submit(lambda number=number: done.append(number))
    courier.finish()
    assert sorted(done) == list(range(20))


def test_whoever_hands_one_over_waits_while_all_workers_are_busy(courier):
    going_on, done = threading.Event(), []
    for _ in range(2):
        courier.submit(lambda: going_on.wait(PATIENCE))
    assert not courier._places.acquire(blocking=False)
    going_on.set()
    courier.submit(lambda: done.append(True))
    courier.finish()
    assert done == [True]


def test_the_first_failure_is_for_whoever_comes_next_however_often(courier):
    first = ValueError("first")
    courier.submit(lambda: fail(first))
    courier._pool.shutdown()
    for step in [courier.check, lambda: courier.submit(lambda: None), courier.check, courier.finish] * 3:
        with pytest.raises(ValueError, match="first"):
            step()


def test_what_is_under_way_when_one_fails_is_still_done(courier):
    going_on, done = threading.Event(), []
    courier.submit(lambda: (going_on.wait(PATIENCE), done.append(True)))
    courier.submit(lambda: fail(ValueError("second")))
    going_on.set()
    with pytest.raises(ValueError, match="second"):
        courier.finish()
    assert done == [True]
