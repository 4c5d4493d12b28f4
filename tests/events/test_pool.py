"""The delivery pool: how many jobs it does at once, and how it fails."""

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


def test_finish_waits_for_all_jobs(pool):
    done = []
    for number in range(20):
        pool.submit(lambda number=number: done.append(number))
    pool.finish()
    assert sorted(done) == list(range(20))


def test_submit_waits_while_all_workers_are_busy(pool):
    may_go_on, done = threading.Event(), []
    for number in range(2):
        pool.submit(lambda number=number: (may_go_on.wait(PATIENCE), done.append(number)))
    submitting = threading.Thread(target=pool.submit, args=[lambda: done.append("third")])
    submitting.start()
    submitting.join(0.05)
    assert submitting.is_alive()
    may_go_on.set()
    submitting.join(PATIENCE)
    pool.finish()
    assert sorted(done, key=str) == [0, 1, "third"]


def test_every_call_after_a_failure_raises_it(pool):
    first = ValueError("first")
    pool.submit(lambda: fail(first))
    with pytest.raises(ValueError, match="first"):
        pool.finish()
    for step in [pool.check, lambda: pool.submit(lambda: None), pool.check, pool.finish] * 3:
        with pytest.raises(ValueError, match="first"):
            step()


def test_a_job_under_way_is_done_when_another_fails(pool):
    may_go_on, done = threading.Event(), []
    pool.submit(lambda: (may_go_on.wait(PATIENCE), done.append(True)))
    pool.submit(lambda: fail(ValueError("second")))
    may_go_on.set()
    with pytest.raises(ValueError, match="second"):
        pool.finish()
    assert done == [True]
