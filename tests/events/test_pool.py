"""Batches under way: so many at once, and the first failure for whoever comes next."""

from __future__ import annotations

import threading

import pytest

from target_statsig.events.stream import DeliveryPool

PATIENCE = 30


@pytest.fixture
def pool():
    return DeliveryPool(2)


def fail(error):
    raise error


def test_all_jobs_are_done_when_it_has_finished(pool):
    done = []
    for number in range(20):
        pool.submit(lambda number=number: done.append(number))
    pool.finish()
    assert sorted(done) == list(range(20))


def test_whoever_hands_one_over_waits_while_all_workers_are_busy(pool):
    going_on, done = threading.Event(), []
    for number in range(2):
        pool.submit(lambda number=number: (going_on.wait(PATIENCE), done.append(number)))
    handing_over = threading.Thread(target=pool.submit, args=[lambda: done.append("third")])
    handing_over.start()
    handing_over.join(0.05)
    assert handing_over.is_alive()
    going_on.set()
    handing_over.join(PATIENCE)
    pool.finish()
    assert sorted(done, key=str) == [0, 1, "third"]


def test_the_first_failure_is_for_whoever_comes_next_however_often(pool):
    first = ValueError("first")
    pool.submit(lambda: fail(first))
    with pytest.raises(ValueError, match="first"):
        pool.finish()
    for step in [pool.check, lambda: pool.submit(lambda: None), pool.check, pool.finish] * 3:
        with pytest.raises(ValueError, match="first"):
            step()


def test_what_is_under_way_when_one_fails_is_still_done(pool):
    going_on, done = threading.Event(), []
    pool.submit(lambda: (going_on.wait(PATIENCE), done.append(True)))
    pool.submit(lambda: fail(ValueError("second")))
    going_on.set()
    with pytest.raises(ValueError, match="second"):
        pool.finish()
    assert done == [True]
