"""No STATE passes a record that is not settled, whatever order acknowledgements come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_statsig.singer.state import STATE_PATIENCE, StateGate
from tests.fakes import FakeClock


def gate_and_written():
    written = []
    return StateGate(lambda state, number: written.append(state)), written


def test_a_state_with_nothing_before_it_is_written_at_once():
    gate, written = gate_and_written()
    gate.hold({"n": 1})
    assert written == [{"n": 1}]


def test_a_state_waits_for_every_ticket_that_was_open_when_it_came():
    gate, written = gate_and_written()
    first, second = gate.open(), gate.open()
    gate.hold({"n": 1})
    gate.close(second)
    assert written == []
    gate.close(first)
    assert written == [{"n": 1}]


def test_a_ticket_opened_after_a_state_does_not_hold_it():
    gate, written = gate_and_written()
    first = gate.open()
    gate.hold({"n": 1})
    gate.open()
    gate.close(first)
    assert written == [{"n": 1}]


def test_of_several_states_that_may_pass_only_the_newest_is_written():
    gate, written = gate_and_written()
    first = gate.open()
    gate.hold({"n": 1})
    gate.hold({"n": 2})
    gate.close(first)
    assert written == [{"n": 2}]


def test_a_state_that_repeats_the_one_before_it_is_not_written_again():
    gate, written = gate_and_written()
    gate.hold({"n": 1})
    gate.hold({"n": 1})
    assert written == [{"n": 1}]
    assert gate.received == 2


@given(
    actions=st.lists(st.sampled_from(["record", "state", "acknowledge"]), max_size=60),
    order=st.randoms(use_true_random=False),
)
def test_no_state_passes_an_unsettled_record_in_any_order(actions, order):
    unsettled = {}
    seen = 0
    covered_by = {}
    passed = []

    def write(state, number):
        passed.append(state["n"])
        assert not [record for record in covered_by[state["n"]] if record in unsettled]

    gate = StateGate(write)
    states = 0
    for action in actions:
        if action == "record":
            unsettled[seen] = gate.open()
            seen += 1
        elif action == "state":
            covered_by[states] = set(range(seen))
            gate.hold({"n": states})
            states += 1
        elif unsettled:
            record = order.choice(sorted(unsettled))
            ticket = unsettled.pop(record)
            gate.close(ticket)
    for record in sorted(unsettled):
        gate.close(unsettled.pop(record))
    assert passed == sorted(passed)
    assert not states or passed[-1] == states - 1
    assert not gate.waiting


def test_a_waiting_state_becomes_overdue_once():
    gate, clock = StateGate(lambda state, number: None), FakeClock()
    assert not gate.is_overdue(clock.monotonic())
    ticket = gate.open()
    gate.hold({"n": 1})
    assert not gate.is_overdue(clock.monotonic())
    clock.sleep(STATE_PATIENCE)
    assert [gate.is_overdue(clock.monotonic()), gate.is_overdue(clock.monotonic())] == [True, False]
    clock.sleep(STATE_PATIENCE - 1)
    gate.close(ticket)
    assert not gate.is_overdue(clock.monotonic())
    gate.open()
    gate.hold({"n": 2})
    clock.sleep(1)
    assert not gate.is_overdue(clock.monotonic())


def test_a_partly_settled_ticket_holds_only_the_states_behind_it():
    written = []
    gate = StateGate(lambda state, number: written.append((state, number)))
    ticket = gate.open()
    gate.hold("before")
    gate.hold("behind")
    gate.settle(ticket, 1)
    assert written == [("before", 1)]
    assert not gate.settled
    gate.close(ticket)
    assert written == [("before", 1), ("behind", 2)]
    assert gate.settled
