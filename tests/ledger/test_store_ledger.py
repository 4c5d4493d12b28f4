"""What the ledger remembers of deliveries, and for how long, on both databases."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from target_statsig.errors import StoreError
from target_statsig.store.ledger import DIGEST_BYTES, Bookmark
from tests.store.rows import count_batches

DAY = 86_400


def digest(name):
    return hashlib.blake2b(name.encode(), digest_size=DIGEST_BYTES).digest()


def digests(names):
    return [digest(name) for name in names]


def at(number):
    return None if number is None else Bookmark("number", f"{number:09}")


class Run:
    """How one run uses the ledger; each letter is a record."""

    def __init__(self, store, keep_days=0):
        self.ledger = store.ledger("orders", keep_days=keep_days)

    def known(self, names, highest=None, epoch=0):
        answers = self.ledger.known(digests(names), highest=at(highest), epoch=epoch)
        return "".join(name for name, answer in zip(names, answers, strict=True) if answer)

    def in_doubt(self, names):
        return self.ledger.in_doubt(b"".join(digests(names)))

    def intend(self, names, highest=None, epoch=0):
        return self.ledger.intend(b"".join(digests(names)), highest=at(highest), epoch=epoch)

    def deliver(self, names, highest=None, epoch=0):
        self.ledger.acknowledge(self.intend(names, highest, epoch))

    def state(self, bookmark=None, epoch=1):
        self.ledger.state_written(at(bookmark), epoch=epoch)


@pytest.fixture
def run(opening):
    """Begin one more run on the same store."""
    return lambda **options: Run(opening(), **options)


@pytest.fixture(autouse=True)
def forget_at_every_state(monkeypatch):
    """Let each STATE forget at once what it may."""
    monkeypatch.setattr("target_statsig.store.deliveries._FORGET_EVERY", 0)


def test_an_empty_ledger_knows_nothing(run):
    assert run().known("abc") == ""


def test_what_an_earlier_run_delivered_is_known(run):
    run().deliver("ab")
    assert run().known("abc") == "ab"


def test_what_this_run_delivered_is_not_known(run):
    first = run()
    first.deliver("a")
    assert first.known("a") == ""
    second = run()
    assert second.known("b") == ""
    second.deliver("b")
    assert second.known("b") == ""


def test_a_record_is_known_as_often_as_it_was_delivered(run):
    first = run()
    first.deliver("aa")
    first.deliver("ab")
    second = run()
    assert second.known("aa") == "aa"
    assert second.known("bab") == "ba"
    assert second.known("ab") == ""


def test_a_record_counts_as_often_as_in_its_most_frequent_run(run):
    run().deliver("aaab")
    second = run()
    second.known("aa")
    second.deliver("bb")
    assert run().known("aaaaabbb") == "aaabb"


def test_a_known_record_stays_known_to_later_runs(run):
    run().deliver("a")
    for _ in range(3):
        again = run()
        assert again.known("a") == "a"
        again.state()
    assert run().known("a") == "a"


def test_a_skipped_record_and_a_sent_one_count_as_two(run):
    run().deliver("a")
    second = run()
    assert second.known("aa") == "a"
    second.deliver("a")
    assert run().known("aaa") == "aa"


def test_skipped_records_are_saved_without_a_batch_behind_them(run, monkeypatch):
    monkeypatch.setattr("target_statsig.store.deliveries._SKIPPED_BYTES", 3 * DIGEST_BYTES)
    run().deliver("abcd")
    second = run()
    second.known("ab")
    second.known("cd", highest=5)
    second.state()
    assert run().known("abcd") == "abcd"


def test_streams_and_projects_do_not_share_deliveries(opening, run):
    run().deliver("a")
    assert opening().ledger("refunds").known(digests("a"), highest=None, epoch=0) == [False]
    assert opening(project="another").ledger("orders").known(digests("a"), highest=None, epoch=0) == [False]


def test_a_stream_has_one_ledger_in_a_run(store):
    assert store.ledger("orders") is store.ledger("orders")


def test_a_batch_without_an_answer_is_in_doubt_and_not_known(run):
    run().intend("aab")
    second = run()
    assert second.known("ab") == ""
    assert second.in_doubt("abc") == 2


def test_a_batch_without_an_answer_is_counted_once(run):
    run().intend("aa")
    second = run()
    assert [second.in_doubt("a") for _ in range(3)] == [1, 1, 0]


def test_a_batch_that_was_sent_again_is_no_longer_in_doubt(run):
    run().intend("a")
    second = run()
    assert second.in_doubt("a") == 1
    second.deliver("a")
    third = run()
    assert third.known("a") == "a"
    assert third.in_doubt("a") == 0


def test_a_record_can_be_known_and_also_in_doubt(run):
    first = run()
    first.deliver("a")
    first.intend("a")
    second = run()
    assert second.known("aa") == "a"
    assert second.in_doubt("aa") == 1


def test_a_refused_batch_is_not_in_doubt(run):
    first = run()
    first.ledger.withdraw(first.intend("ab"))
    first.deliver("a")
    second = run()
    assert second.known("ab") == "a"
    assert second.in_doubt("b") == 0


def test_a_batch_of_this_run_is_not_in_doubt(run):
    first = run()
    first.intend("a")
    assert first.in_doubt("a") == 0


def test_a_state_forgets_what_is_below_the_state_before_it(run):
    first = run()
    first.deliver("a", highest=1)
    first.deliver("b", highest=2)
    first.state(2)
    first.deliver("c", highest=3, epoch=1)
    first.state(3, epoch=2)
    assert run().known("abc") == "bc"


def test_the_first_state_forgets_nothing(run):
    first = run()
    first.deliver("ab", highest=1)
    first.state(2)
    assert run().known("ab") == "ab"


def test_a_state_forgets_deliveries_of_earlier_runs(run):
    first = run()
    first.deliver("a", highest=1)
    first.deliver("b", highest=2)
    first.state(2)
    second = run()
    assert second.known("b", highest=2) == "b"
    second.state(2)
    assert run().known("ab") == "b"


def test_a_state_keeps_low_values_that_came_after_the_one_before_it(run):
    first = run()
    first.deliver("a", highest=1)
    first.state(5)
    second = run()  # that STATE was not saved, so the tap begins again
    assert second.known("a", highest=1) == "a"
    second.state(5)
    assert run().known("a") == "a"


def test_an_unreadable_bookmark_forgets_what_came_before_its_predecessor(run):
    first = run()
    first.deliver("a", highest=1)
    first.state(None)
    first.deliver("b", epoch=1)
    first.state(None, epoch=2)
    assert run().known("ab") == "ab", "the tap sends the rows at the first bookmark again"
    first.state(None, epoch=3)
    assert run().known("ab") == "b"


def test_an_unreadable_bookmark_keeps_an_earlier_run_that_is_met_again(run):
    first = run()
    first.deliver("a")
    first.deliver("b")
    second = run()  # no STATE of the first was saved, so the tap begins again
    assert second.known("a") == "a"
    for epoch in (1, 2, 3):
        second.state(epoch=epoch)
    assert run().known("ab") == "ab"


def test_an_unreadable_bookmark_forgets_an_earlier_run_that_is_not_met(run):
    run().deliver("ab")
    second = run()
    for epoch, name in enumerate("cdefg"):
        assert second.known(name, epoch=epoch) == ""
        second.deliver(name, epoch=epoch)
        second.state(epoch=epoch + 1)
    assert run().known("abg") == "g"


def test_a_batch_without_a_highest_value_is_forgotten_by_its_order(run):
    first = run()
    first.deliver("a")
    first.deliver("b", highest=9)
    for epoch in (1, 2, 3):
        first.state(4 + epoch, epoch=epoch)
    assert run().known("ab") == "b"


def test_bookmarks_of_different_kinds_are_not_compared(run):
    first = run()
    batch = first.ledger.intend(b"".join(digests("a")), highest=Bookmark("time", "9"), epoch=0)
    first.ledger.acknowledge(batch)
    for epoch in (1, 2, 3):
        first.state(4 + epoch, epoch=epoch)
    assert run().known("a") == ""


def test_keep_days_decides_what_is_forgotten_and_no_state(run, clock):
    first = run(keep_days=2)
    first.deliver("a", highest=1)
    first.state(5)
    first.state(6, epoch=2)
    clock.advance(DAY)
    second = run(keep_days=2)
    assert second.known("a") == "a"
    second.deliver("b")
    clock.advance(DAY + 1)
    third = run(keep_days=2)
    assert third.known("b") == "b"
    third.state(7)
    clock.advance(DAY)
    assert run(keep_days=2).known("ab") == "b"


@pytest.fixture
def forget_after_three_batches(monkeypatch, forget_at_every_state):
    monkeypatch.setattr("target_statsig.store.deliveries._FORGET_EVERY", 3)


@pytest.mark.usefixtures("forget_after_three_batches")
def test_states_forget_once_there_are_enough_batches(run):
    first = run()
    for epoch, name in enumerate("abcde"):
        first.deliver(name, highest=epoch, epoch=epoch)
        first.state(epoch, epoch=epoch + 1)
    assert run().known("abcde") == "bcde"


@pytest.mark.usefixtures("forget_after_three_batches")
def test_states_forget_at_the_end_of_the_run(opening):
    store = opening()
    first = Run(store)
    first.deliver("ab", highest=0)
    for epoch in (1, 2):
        first.state(epoch, epoch=epoch)
    store.close()
    assert Run(opening()).known("ab") == ""


@pytest.mark.usefixtures("forget_after_three_batches")
def test_states_of_a_killed_run_forget_nothing(run):
    first = run()
    first.deliver("a", highest=0)
    first.state(0)
    first.state(1, epoch=2)
    second = run()
    assert second.known("a", highest=0) == "a"
    second.deliver("b", highest=1)
    second.state(1)
    assert run().known("ab") == "ab"


@pytest.mark.usefixtures("forget_after_three_batches")
def test_states_of_a_stream_without_new_rows_write_nothing(run, monkeypatch):
    first = run()
    first.deliver("a", highest=0)
    with monkeypatch.context() as broken:
        broken.setattr(first.ledger, "_connection", None)
        for epoch in range(1, 10):
            first.state(epoch, epoch=epoch)


def test_runs_over_the_same_rows_do_not_grow_the_store(opening):
    Run(opening()).deliver("abc")
    for _ in range(5):
        store = opening()
        again = Run(store)
        assert again.known("abc") == "abc"
        again.state(1)
    assert count_batches(store) <= 2


def test_the_only_run_that_knows_a_record_is_kept(run):
    run().deliver("abc")
    run().known("ab")
    run().known("ab")
    assert run().known("abc") == "abc"


def test_the_write_after_a_failed_one_saves_the_skipped_records(opening):
    Run(opening()).deliver("ab")
    second = Run(store := opening())
    assert second.known("a") == "a"
    store._quick.run("ALTER TABLE target_statsig_batches RENAME TO elsewhere")
    with pytest.raises(StoreError, match="store_url"):
        second.intend("c")
    store._quick.run("ALTER TABLE elsewhere RENAME TO target_statsig_batches")
    second.deliver("d")
    store.close()
    third = Run(opening())
    assert third.known("abcd") == "abd"
    assert third.in_doubt("c") == 0


def lose_the_next_insert(run, *, committed):
    connection = run.ledger._connection
    insert = connection.insert

    def insert_and_lose(*arguments):
        connection.insert = insert
        if committed:
            insert(*arguments)
        msg = "the connection is lost"
        raise StoreError(msg)

    connection.insert = insert_and_lose
    with pytest.raises(StoreError, match="lost"):
        run.intend("c")


def test_a_commit_whose_answer_is_lost_counts_nothing_twice(opening):
    Run(opening()).deliver("a")
    second = Run(store := opening())
    assert second.known("a") == "a"
    lose_the_next_insert(second, committed=True)
    store.close()
    assert Run(opening()).known("aa") == "a"


def test_a_commit_that_failed_forgets_nothing(opening):
    first = Run(opening())
    first.deliver("a")
    first.deliver("b")
    second = Run(store := opening())
    assert second.known("a") == "a"
    lose_the_next_insert(second, committed=False)
    second.deliver("d", epoch=1)
    for epoch in (2, 3, 4):
        second.state(epoch=epoch)
    store.close()
    assert Run(opening()).known("ab") == "ab"


def test_threads_may_share_a_ledger(run):
    first = run()
    names = [f"record {number}" for number in range(400)]

    def deliver(start):
        first.deliver(names[start : start + 10])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deliver, range(0, 400, 10)))
    second = run()
    assert second.ledger.known(digests(names), highest=None, epoch=0) == [True] * 400
