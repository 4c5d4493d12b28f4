"""Items over several runs: no row is sent twice or lost, whatever the object type."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from tests.items import ITEM_SAMPLES
from tests.singer import record, schema, state

ALSO_IN_A_WORKER = True

SCHEMA = schema("orders", bookmark_properties=["at"])
ONE_BY_ONE = {"batch_size_rows": 1, "max_parallel_requests": 1, "opening": schema("orders")}


def bookmark(second):
    value = f"2026-11-01T00:00:{second:02}Z"
    return state(orders={"replication_key": "at", "replication_key_value": value})


class Orders:
    """A stream of orders that become items of one type, and the target that they are piped into."""

    def __init__(self, items, run_target, statsig):
        self._items = items
        self._run_target = run_target
        self._statsig = statsig

    def row(self, number, second=None, **columns):
        at = f"2026-11-01T00:00:{second or number:02}Z"
        return record("orders", self._items.row(number, **{"id": number, "at": at, **columns}))

    def rows(self, *numbers):
        return [self.row(number) for number in numbers]

    def run(self, rows, state, *, opening=SCHEMA, **settings):
        return self._run_target([opening, *rows, state], object_type=self._items.object_type, **settings)

    @property
    def arrived(self):
        return len(self._items.arrived(self._statsig))


@pytest.fixture(params=[pytest.param(items, id=items.object_type) for items in ITEM_SAMPLES])
def orders(request, run_target, statsig):
    return Orders(request.param, run_target, statsig)


def counts_of(outcome):
    return outcome.report["streams"]["orders"]


@pytest.mark.parametrize(
    ("settings", "again"), [pytest.param({}, 4, id="forgotten"), pytest.param({"dedupe_days": 9}, 0, id="kept")]
)
def test_rows_behind_the_bookmark_are_counted_after_a_reset(orders, settings, again):
    for first, last in ((0, 3), (3, 4), (4, 6)):
        outcome = orders.run(orders.rows(*range(first, last + 1)), bookmark(last), **settings)
        assert counts_of(outcome)["behind_bookmark"] == 0
    # Meltano did not save the last STATE, and the tap resumes from the one before.
    assert counts_of(orders.run(orders.rows(4, 5, 6), bookmark(6), **settings))["behind_bookmark"] == 0
    counts = counts_of(orders.run(orders.rows(*range(9)), bookmark(8), **settings))
    assert (counts["behind_bookmark"], counts["delivered"], counts["skipped_duplicates"]) == (
        again,
        again + 2,
        7 - again,
    )


def test_dead_letters_behind_the_bookmark_are_not_counted(orders, run_target, statsig):
    fault = statsig.faults.add(status=400, when=lambda _: True)
    assert counts_of(orders.run(orders.rows(0, 1), bookmark(1)))["rejected"] == 2
    statsig.faults.clear()
    assert fault.hits
    orders.run(orders.rows(1, 2), bookmark(2))
    orders.run(orders.rows(2, 3), bookmark(3))
    counts = counts_of(run_target.replay(object_type=orders._items.object_type))
    assert counts["behind_bookmark"] == 0


def test_three_runs_over_an_unchanged_table_send_nothing_after_the_first(orders):
    assert counts_of(orders.run(orders.rows(*range(10)), bookmark(9)))["delivered"] == 10
    for _ in range(2):
        # What an incremental tap sends again: the rows at its bookmark.
        outcome = orders.run(orders.rows(9), bookmark(9))
        assert counts_of(outcome)["skipped_duplicates"] == 1
        assert counts_of(outcome)["delivered"] == 0
        assert outcome.states == [bookmark(9)["value"]]
    assert orders.arrived == 10


def test_a_run_that_failed_before_its_state_can_be_repeated(orders, statsig):
    rows = orders.rows(*range(700))
    statsig.faults.add(path="/v1/*", status=500, skip=1)
    first = orders.run(rows, bookmark(9), max_parallel_requests=1)
    assert (first.exit_code, first.states) == (1, [])
    statsig.faults.clear()
    second = orders.run(rows, bookmark(9))
    assert second.exit_code == 0
    assert counts_of(second)["skipped_duplicates"] == 500
    assert orders.arrived == 700


def test_new_rows_among_known_ones_are_sent_and_wrong_ones_rejected(orders):
    settings = {"batch_size_rows": 2, "max_parallel_requests": 1, "dedupe_days": 30, "opening": schema("orders")}
    orders.run(orders.rows(*range(8)), state(orders={}), **settings)
    wrong = orders.row(9, user_id=None)
    rows = [*orders.rows(0, 1, 2, 3, 10, 11, 4, 5), wrong, *orders.rows(6, 7, 12), wrong, wrong]
    counts = counts_of(orders.run(rows, state(orders={}), **settings))
    assert (counts["skipped_duplicates"], counts["delivered"], counts["rejected"]) == (8, 3, 3)
    assert orders.arrived == 8 + 3


def test_two_identical_rows_are_two_items_in_every_run(orders):
    orders.run(orders.rows(1, 1), bookmark(1))
    assert orders.arrived == 2
    outcome = orders.run(orders.rows(1, 1, 1), bookmark(1))
    assert counts_of(outcome)["skipped_duplicates"] == 2
    assert orders.arrived == 3


def test_rows_below_the_bookmark_are_forgotten_one_state_late(orders):
    orders.run(orders.rows(1), bookmark(1))
    orders.run(orders.rows(1, 2), bookmark(2))
    assert counts_of(orders.run(orders.rows(1), bookmark(2)))["skipped_duplicates"] == 1
    orders.run(orders.rows(3), bookmark(3))
    orders.run(orders.rows(4), bookmark(4))
    assert counts_of(orders.run(orders.rows(1), bookmark(4)))["delivered"] == 1


def test_dedupe_days_remembers_a_full_table(orders):
    for _ in range(4):
        orders.run(orders.rows(*range(5)), state(orders={}), opening=schema("orders"), dedupe_days=30)
    assert orders.arrived == 5


def test_without_dedupe_no_store_is_made(orders, run_target):
    orders.run(orders.rows(1), bookmark(1), dedupe=False)
    assert orders.arrived == 1
    assert not (run_target.directory / "store.db").exists()


def test_a_run_does_not_skip_what_it_sent_itself(orders):
    orders.run(orders.rows(*[1] * 1200), bookmark(1))
    assert orders.arrived == 1200


@pytest.mark.usefixtures("waits_take_no_time")
def test_a_lost_answer_is_retried_and_counted(orders, statsig):
    statsig.faults.add(path="/v1/*", drop=True, taken=True, times=1)
    outcome = orders.run(orders.rows(1, 2), bookmark(2), retry_timeout=60)
    assert outcome.exit_code == 0
    assert counts_of(outcome)["maybe_duplicated"] == 2
    assert orders.arrived == 4


def test_the_next_run_counts_rows_whose_answer_was_lost(orders, statsig):
    statsig.faults.add(path="/v1/*", drop=True, taken=True)
    first = orders.run(orders.rows(1, 2), bookmark(2))
    assert (first.exit_code, first.states) == (1, [])
    statsig.faults.clear()
    counts = counts_of(orders.run(orders.rows(1, 2), bookmark(2)))
    assert (counts["delivered"], counts["maybe_duplicated"]) == (2, 2)


@pytest.mark.parametrize("changed", [{"_sdc_batched_at": "now"}, {"_sdc_extracted_at": "later"}])
def test_singer_columns_do_not_make_another_item(orders, changed):
    orders.run(orders.rows(1), bookmark(1))
    orders.run([orders.row(1, **changed) | {"time_extracted": "2026-11-22T00:00:00Z"}], bookmark(1))
    assert orders.arrived == 1


def test_a_stream_with_another_object_type_is_sent_again(run_target, statsig):
    """The same rows as another object type are no duplicates: Statsig has none of those items."""
    for items in ITEM_SAMPLES:
        rows = [record("orders", {**ITEM_SAMPLES[0].columns, **ITEM_SAMPLES[1].columns, **ITEM_SAMPLES[2].row(1)})]
        run_target([SCHEMA, *rows, bookmark(1)], object_type=items.object_type)
    assert [len(items.arrived(statsig)) for items in ITEM_SAMPLES] == [1, 1, 1]


def test_bookmarks_in_two_time_formats_are_compared_as_times(orders):
    """As text, a blank sorts before a T, so ten o'clock would come before nine."""
    nine, ten, eleven = (
        orders.row(number, at=at)
        for number, at in enumerate(["2026-11-20T09:00:00", "2026-11-20 10:00:00", "2026-11-20T11:00:00"], 1)
    )
    at_ten, at_eleven = (
        state(orders={"replication_key": "at", "replication_key_value": f"2026-11-20T{hour}:00:00"})
        for hour in (10, 11)
    )
    orders.run([nine, ten, at_ten, eleven], at_eleven, batch_size_rows=2, max_parallel_requests=1)
    # The last STATE was not saved.
    outcome = orders.run([ten, eleven], at_eleven)
    assert counts_of(outcome)["skipped_duplicates"] == 2
    assert orders.arrived == 3


def text_state(number, **others):
    """Return a STATE whose bookmark is a text, whose order is not known."""
    return state(orders={"replication_key": "code", "replication_key_value": f"K-{number}"}, **others)


def test_rows_at_an_unordered_bookmark_are_known_after_a_lost_state(orders):
    first, second, third = orders.rows(1, 2, 3)
    orders.run([first, text_state(1), second, text_state(2), third], text_state(3), **ONE_BY_ONE)
    # The last STATE was not saved: the tap goes on from the second, and sends the rows at its bookmark again.
    outcome = orders.run([second, third], text_state(3), **ONE_BY_ONE)
    assert counts_of(outcome)["skipped_duplicates"] == 2
    assert orders.arrived == 3


def test_states_of_other_streams_forget_nothing(orders):
    others = [text_state(2, others={"position": number}) for number in range(5)]
    first, second, third = orders.rows(1, 2, 3)
    orders.run([first, text_state(1), second, text_state(2), *others, third], text_state(3), **ONE_BY_ONE)
    # The last STATE was not saved.
    outcome = orders.run([second, third], text_state(3), **ONE_BY_ONE)
    assert counts_of(outcome)["skipped_duplicates"] == 2
    assert orders.arrived == 3


def test_a_ledger_with_unordered_bookmarks_does_not_grow(orders, run_target):
    for number in range(1, 8):
        orders.run(orders.rows(number, number + 1), text_state(number + 1), opening=schema("orders"))
    assert orders.arrived == 8
    with contextlib.closing(sqlite3.connect(run_target.directory / "store.db")) as store:
        ((remembered,),) = store.execute("SELECT sum(length(digests)) / 16 FROM target_statsig_batches")
    assert remembered <= 6
