"""What the request log adds up to."""

from __future__ import annotations

from target_statsig.emulator.state import RequestEntry
from target_statsig.emulator.traffic import Noted, Traffic


def entry(status=202, path="/v1/log_event", note="", time=0.0):
    return RequestEntry(time, "POST", path, status, 5, 100, note, taken=status == 202)


def test_requests_are_summed_up_by_call():
    traffic = Traffic.of([entry(), entry(503), entry(None), entry(), entry(path="/console/v1/segments")])

    call = traffic.calls["POST", "/v1/log_event"]
    assert (call.times, call.items, call.size) == (4, 20, 400)
    assert call.answers() == "202 (2), 503 (1), none (1)"
    assert traffic.calls["POST", "/console/v1/segments"].answers() == "202"
    assert traffic.count == 5


def test_only_requests_with_a_note_are_noted():
    traffic = Traffic.of([entry(), entry(503, note="down"), entry(503, note="down"), entry(400, note="wrong")])

    assert traffic.noted == {
        Noted("POST", "/v1/log_event", 503, "down"): 2,
        Noted("POST", "/v1/log_event", 400, "wrong"): 1,
    }


def test_errors_and_lost_answers_are_refused_in_the_timeline():
    traffic = Traffic.of([entry(), entry(503), entry(None), entry(302)])

    assert [(step.requests, step.refused) for step in traffic.timeline.steps] == [(4, 2)]


def test_the_sum_of_nothing_is_nothing():
    traffic = Traffic.of([])

    assert (traffic.count, traffic.calls, traffic.timeline.steps) == (0, {}, [])
