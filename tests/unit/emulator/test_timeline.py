"""Requests over time, in a bounded number of steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_statsig.emulator.timeline import MAX_STEPS, Step, Timeline

TIMES = st.lists(st.floats(0, 100_000), min_size=1, max_size=50)


def filled(*times):
    timeline = Timeline(0.0)
    for time in times:
        timeline.add(time, Step(1, 0, 2, 30))
    return timeline


@given(TIMES)
def test_every_request_is_in_one_step_and_the_steps_are_few(times):
    steps = filled(*times).steps

    assert sum(step.requests for step in steps) == len(times)
    assert sum(step.items for step in steps) == 2 * len(times)
    assert sum(step.size for step in steps) == 30 * len(times)
    assert len(steps) <= MAX_STEPS


@given(TIMES)
def test_the_last_request_is_in_the_last_step(times):
    timeline = filled(*sorted(times))

    assert timeline.steps[-1].requests
    assert (len(timeline.steps) - 1) * timeline.seconds <= max(times) < len(timeline.steps) * timeline.seconds


def test_the_order_does_not_matter():
    assert filled(90.0, 0.0, 1.5).steps == filled(0.0, 1.5, 90.0).steps


def test_a_clock_that_is_set_back_loses_nothing():
    assert [step.requests for step in filled(0.0, -5.0).steps] == [2]


def test_what_was_no_refusal_after_all_is_pardoned_wherever_it_lies_by_now():
    timeline = Timeline(0.0)
    for second in (0, 30, 30, 7200):
        timeline.add(second, Step(1, 1))
    pardoned = timeline.pardon([30.0, 7200.0])
    assert [step.refused for step in pardoned if step.requests] == [2, 0]
    assert sum(step.requests for step in pardoned) == 4
    assert sum(step.refused for step in timeline.steps) == 4
