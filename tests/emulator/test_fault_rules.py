"""Which requests a fault meets."""

from __future__ import annotations

import msgspec
import pytest

from target_statsig.emulator.faults import Fault, Faults, decode_faults
from target_statsig.emulator.http_server import Request

EVENTS = Request("POST", "/v1/log_event", body=b'{"events": [{"eventName": "ok"}, {"eventName": "poison_1"}]}')
IDS = Request("PATCH", "/console/v1/segments/vip_users/id_list", body=b'{"ids": ["a"]}')


@pytest.mark.parametrize(
    ("conditions", "met"),
    [
        pytest.param({}, [EVENTS, IDS], id="everything"),
        pytest.param({"method": "POST"}, [EVENTS], id="method"),
        pytest.param({"path": "*/id_list"}, [IDS], id="path"),
        pytest.param({"event": "poison_*"}, [EVENTS], id="event"),
        pytest.param({"event": "*_2"}, [], id="no-such-event"),
        pytest.param({"over_bytes": len(IDS.body)}, [EVENTS], id="size"),
        pytest.param({"when": lambda request: b'"a"' in request.body}, [IDS], id="predicate"),
        pytest.param({"probability": 0.0}, [], id="never"),
    ],
)
def test_a_fault_meets_what_all_its_conditions_hold_for(conditions, met):
    faults = Faults()
    faults.add(status=503, **conditions)

    assert [request for request in (EVENTS, IDS) if faults.pick(request)] == met


def test_a_fault_skips_the_first_and_ends_after_so_many():
    faults = Faults()
    fault = faults.add(status=503, path="/v1/*", skip=2, times=2)

    assert [faults.pick(EVENTS) is not None for _ in range(6)] == [False, False, True, True, False, False]
    assert (fault.seen, fault.hits) == (4, 2)


def test_only_matching_requests_count_towards_the_skipped_ones():
    faults = Faults()
    faults.add(status=503, path="/v1/*", skip=1)

    assert faults.pick(EVENTS) is None
    assert faults.pick(IDS) is None
    assert faults.pick(EVENTS) is not None


def test_chance_follows_its_seed():
    def draw(seed):
        faults = Faults()
        faults.add(status=503, probability=0.5, seed=seed)
        return [faults.pick(EVENTS) is not None for _ in range(64)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert 16 < sum(draw(1)) < 48


def test_the_first_fault_that_meets_a_request_acts_alone():
    faults = Faults()
    faults.add(status=500, times=1)
    faults.add(status=503)

    assert [faults.pick(EVENTS).status for _ in range(2)] == [500, 503]


def test_cleared_faults_act_no_more():
    faults = Faults()
    faults.add(status=500)
    faults.clear()

    assert faults.pick(EVENTS) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"path": "/v1/*", "status": 503}', id="one"),
        pytest.param(b'[{"path": "/v1/*", "status": 503}]', id="a-list"),
    ],
)
def test_faults_are_read_from_json(text):
    assert decode_faults(text) == [Fault(path="/v1/*", status=503)]


@pytest.mark.parametrize("text", [b"", b'{"stat": 503}', b'{"status": "503"}', b"3"])
def test_what_is_no_fault_is_an_error(text):
    with pytest.raises(msgspec.DecodeError):
        decode_faults(text)
