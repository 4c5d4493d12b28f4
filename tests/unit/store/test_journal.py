"""Threads that write at once share a transaction, and each learns what became of its own write."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from target_statsig.exceptions import StoreError
from target_statsig.store.journal import Journal

PATIENCE = 30


class FakeLane:
    """A connection that keeps what was written in each transaction; one fails at its end where it was told to."""

    def __init__(self):
        self.committed = []
        self.failing = set()
        self._transactions = 0
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def writing(self, *, is_one_statement):
        assert self._turn.acquire(blocking=False), "two threads wrote at once"
        try:
            self._transactions += 1
            written = []
            yield written
            if self._transactions in self.failing:
                msg = f"transaction {self._transactions} failed"
                raise StoreError(msg)
            self.committed.append(written)
        finally:
            self._turn.release()


class Crowd:
    """One thread in the middle of a transaction, and others that queue up behind it in a known order."""

    def __init__(self, journal, pool):
        self._journal = journal
        self._pool = pool
        self._begun = threading.Event()
        self._may_end = threading.Event()
        self.first = pool.submit(journal.write, self._linger)
        assert self._begun.wait(PATIENCE)

    def _linger(self, written):
        written.append("first")
        self._begun.set()
        assert self._may_end.wait(PATIENCE)

    def queue(self, write):
        before = len(self._journal._queue)
        future = self._pool.submit(self._journal.write, write)
        deadline = time.monotonic() + PATIENCE
        while len(self._journal._queue) == before:
            assert time.monotonic() < deadline
        return future

    def go_on(self):
        self._may_end.set()


@pytest.fixture
def lane():
    return FakeLane()


@pytest.fixture
def journal(lane):
    return Journal(lane)


@pytest.fixture
def crowd(journal):
    with ThreadPoolExecutor(8) as pool:
        yield Crowd(journal, pool)


def test_a_thread_alone_writes_at_once(journal, lane):
    assert journal.write(lambda written: written.append("a") or 7) == 7
    assert journal.write(lambda written: written.append("b") or 8) == 8
    assert lane.committed == [["a"], ["b"]]


def test_writes_that_come_meanwhile_share_the_next_transaction_in_their_order(crowd, lane):
    futures = [crowd.queue(lambda written, name=name: written.append(name) or name) for name in "abcd"]
    crowd.go_on()
    assert [future.result(PATIENCE) for future in futures] == list("abcd")
    assert lane.committed == [["first"], ["a", "b", "c", "d"]]


def test_a_write_returns_only_when_its_own_transaction_is_committed(crowd, lane):
    seen = crowd.queue(lambda written: written.append("a"))
    assert not seen.done()
    crowd.go_on()
    seen.result(PATIENCE)
    assert lane.committed[-1] == ["a"]


def test_a_transaction_that_fails_fails_all_its_writes_and_no_others(crowd, lane, journal):
    lane.failing = {2}
    futures = [crowd.queue(lambda written, name=name: written.append(name)) for name in "abc"]
    crowd.go_on()
    assert crowd.first.result(PATIENCE) is None
    for future in futures:
        with pytest.raises(StoreError, match="transaction 2 failed"):
            future.result(PATIENCE)
    journal.write(lambda written: written.append("later"))
    assert lane.committed == [["first"], ["later"]]


def test_those_behind_a_transaction_that_fails_are_still_written(crowd, lane):
    lane.failing = {1}
    behind = crowd.queue(lambda written: written.append("behind"))
    crowd.go_on()
    behind.result(PATIENCE)
    with pytest.raises(StoreError, match="transaction 1 failed"):
        crowd.first.result(PATIENCE)
    assert lane.committed == [["behind"]]


def test_one_write_that_fails_takes_the_others_of_its_transaction_along(crowd, lane):
    def fail(_):
        msg = "a fault of ours"
        raise ValueError(msg)

    futures = [crowd.queue(write) for write in (lambda written: written.append("a"), fail)]
    crowd.go_on()
    for future in futures:
        with pytest.raises(ValueError, match="a fault of ours"):
            future.result(PATIENCE)
    assert lane.committed == [["first"]]


def test_nobody_is_left_waiting_however_many_write(journal, lane):
    start = threading.Barrier(8)

    def work(thread):
        start.wait(PATIENCE)
        return [journal.write(lambda written, name=(thread, n): written.append(name) or name) for n in range(200)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8), timeout=PATIENCE))
    assert answers == [[(thread, n) for n in range(200)] for thread in range(8)]
    written = [name for group in lane.committed for name in group]
    assert sorted(written) == sorted(name for answer in answers for name in answer)
    for thread in range(8):
        assert [n for other, n in written if other == thread] == list(range(200))
