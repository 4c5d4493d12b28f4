"""Whatever becomes of members, an audience that is known again is just these: any history of what the store is told."""

from __future__ import annotations

import itertools
from contextlib import closing

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from target_statsig.store import open_store
from tests.fakes import FakeClock


class RememberedAudience(RuleBasedStateMachine):
    """Members that change in every way there is, and audiences that are planned, carried out in part, and agreed."""

    known_again = 0

    def __init__(self, store, number):
        super().__init__()
        self.store = store
        self.name = f"segment {number}"

    @initialize(known=st.sets(st.sampled_from("abcd")))
    def begin(self, known):
        self.members = self.store.members(self.name)
        self.members.replace_known(known)

    @rule(
        words=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([True, True, True, False])), max_size=6),
        own_only=st.booleans(),
        additions=st.sampled_from([0, 1, 9]),
        removals=st.sampled_from([0, 1, 9]),
        clears=st.booleans(),
        agrees=st.booleans(),
    )
    def run_sees_an_audience(self, words, own_only, additions, removals, clears, agrees):
        self.sees(words, own_only, additions, removals, clears, agrees)

    @rule(seen=st.sets(st.sampled_from("abcd")), data=st.data())
    def two_runs_see_the_same_audience_and_carry_everything_out(self, seen, data):
        known_again = 0
        for _ in range(2):
            known_again = self.known_again
            words = [(id_, True) for id_ in data.draw(st.permutations(sorted(seen)))]
            self.sees(words, own_only=False, additions=9, removals=9, clears=True, agrees=True)
        assert self.known_again == known_again + self.members.is_known()

    def sees(self, words, own_only, additions, removals, clears, agrees):
        audience = self.store.audience(self.name)
        for id_, word in words:
            audience.take({id_: word})
        before, current = set(self.members.previous()), {id_ for id_, word in dict(words).items() if word}
        removable = before if not own_only or self.members.count_own() == len(before) else None
        plan = audience.plan(absent=True, own_only=own_only)
        assert audience.count_current() == len(current)
        if audience.is_agreed:
            type(self).known_again += 1
            assert before == current
            assert self.members.missing().count == 0
            assert self.members.is_known()
        assert plan.added == len(current - before)
        assert removable is None or plan.removed == len(removable - current)
        if clears:
            audience.clear_missing()
        for page in itertools.islice(audience.additions(1), additions):
            self.members.record_added(page)
        for page in itertools.islice(audience.removals(1), removals):
            self.members.record_removed(page)
        if agrees:
            lock = self.store.lock(self.name)
            lock.acquire()
            audience.agree(lock)
            lock.release()
        audience.close()

    @rule(ids=st.lists(st.sampled_from("abcd"), unique=True, max_size=2))
    def some_are_added(self, ids):
        self.members.record_added(ids)

    @rule(ids=st.lists(st.sampled_from("abcd"), unique=True, max_size=2))
    def some_are_removed(self, ids):
        self.members.record_removed(ids)

    @rule(ids=st.lists(st.sampled_from("abcd"), max_size=5))
    def the_list_is_read(self, ids):
        self.members.replace_known(ids)

    @rule(ids=st.lists(st.sampled_from("abcd"), unique=True, max_size=2))
    def some_are_held(self, ids):
        self.members.mark_missing(ids, since=100.0)

    @rule()
    def the_list_is_forgotten(self):
        self.members.forget()

    @invariant()
    def their_number_is_right(self):
        if hasattr(self, "members"):
            assert self.members.count_known() == len(list(self.members.previous()))


def test_no_history_makes_an_audience_pass_for_the_members_that_it_is_not(store_url):
    RememberedAudience.known_again = 0
    numbers = itertools.count()
    with closing(open_store(store_url, clock=FakeClock(), project="a project", run_id="a run")) as store:
        run_state_machine_as_test(
            lambda: RememberedAudience(store, next(numbers)),
            settings=settings(
                max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    assert RememberedAudience.known_again > 20
