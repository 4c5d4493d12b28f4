"""The faults that a test adds to the emulator, and its quotas."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from target_statsig.emulator import events_of
from target_statsig.emulator.faults import Fault, Faults
from target_statsig.emulator.http_server import Request
from tests.emulator.calls import call_console, call_events

EVENTS = Request("POST", "/v1/log_event", body=b'{"events": [{"eventName": "ok"}, {"eventName": "poison_1"}]}')
IDS = Request("PATCH", "/console/v1/segments/vip_users/id_list", body=b'{"ids": ["a"]}')


@pytest.mark.parametrize(
    ("conditions", "matched"),
    [
        pytest.param({}, [EVENTS, IDS], id="everything"),
        pytest.param({"method": "POST"}, [EVENTS], id="method"),
        pytest.param({"path": "*/id_list"}, [IDS], id="path"),
        pytest.param({"event": "poison_*"}, [EVENTS], id="event"),
        pytest.param({"event": "*_2"}, [], id="other-event"),
        pytest.param({"over_bytes": len(IDS.body)}, [EVENTS], id="size"),
        pytest.param({"when": lambda request: b'"a"' in request.body}, [IDS], id="predicate"),
        pytest.param({"probability": 0.0}, [], id="never"),
    ],
)
def test_a_fault_matches_requests_that_meet_all_conditions(conditions, matched):
    faults = Faults()
    faults.add(status=503, **conditions)

    assert [request for request in (EVENTS, IDS) if faults.pick(request)] == matched


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no JSON", id="not-json"),
        pytest.param(b'{"events": [{"eventName": "\xff"}]}', id="not-utf-8"),
        pytest.param(b"[" * 100_000, id="nested-too-deeply"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"events": [7]}', id="an-event-that-is-a-number"),
        pytest.param(b'{"events": [{"eventName": 7}]}', id="a-name-that-is-a-number"),
    ],
)
def test_an_invalid_body_matches_no_event_name(body):
    faults = Faults()
    faults.add(status=503, event="*")

    assert faults.pick(Request("POST", "/v1/log_event", body=body)) is None


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        pytest.param({"drop": True}, "connection dropped", id="dropped"),
        pytest.param({"drop": True, "taken": True}, "answer lost", id="dropped-but-taken"),
        pytest.param({"hang": True}, "no answer", id="hanging"),
        pytest.param({"status": 503}, "503 answered", id="status"),
        pytest.param({"status": 503, "taken": True}, "503 although taken", id="status-but-taken"),
        pytest.param({"body": "{}"}, "another answered", id="body"),
        pytest.param({"adds": ("a",)}, "a list changed meanwhile", id="adds"),
        pytest.param({"removes": ("a",)}, "a list changed meanwhile", id="removes"),
        pytest.param({"latency": 1.0}, "late", id="late"),
    ],
)
def test_the_note_of_a_fault_describes_it(fields, note):
    assert Fault(**fields).note == f"fault: {note}"


def test_skip_and_times_limit_a_fault():
    faults = Faults()
    fault = faults.add(status=503, path="/v1/*", skip=2, times=2)

    assert [faults.pick(EVENTS) is not None for _ in range(6)] == [False, False, True, True, False, False]
    assert (fault.seen, fault.hits) == (4, 2)


def test_only_matching_requests_are_skipped():
    faults = Faults()
    faults.add(status=503, path="/v1/*", skip=1)

    assert faults.pick(EVENTS) is None
    assert faults.pick(IDS) is None
    assert faults.pick(EVENTS) is not None


def test_probability_follows_the_seed():
    def draw(seed):
        faults = Faults()
        faults.add(status=503, probability=0.5, seed=seed)
        return [faults.pick(EVENTS) is not None for _ in range(64)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert 16 < sum(draw(1)) < 48


def test_only_the_first_matching_fault_acts():
    faults = Faults()
    faults.add(status=500, times=1)
    faults.add(status=503)

    assert [faults.pick(EVENTS).status for _ in range(2)] == [500, 503]


def test_cleared_faults_do_not_act():
    faults = Faults()
    faults.add(status=500)
    faults.clear()

    assert faults.pick(EVENTS) is None


BODY = {"events": [{"eventName": "ok", "user": {"userID": "u1"}}]}


def send(statsig, body=BODY):
    return call_events(statsig, body)


def change(statsig, method="PATCH"):
    return call_console(statsig, method, "segments/vip_users/id_list", ["a"])


def test_a_fault_answers_a_status_with_retry_after(statsig):
    statsig.faults.add(status=503, retry_after=7, times=1)

    answer = send(statsig)

    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (503, {"success": False}, "7")
    assert statsig.state.events == []
    assert send(statsig).status_code == 202


def test_retry_after_may_be_a_date(statsig):
    date = "Sun, 22 Nov 2026 10:00:00 GMT"
    statsig.faults.add(status=429, retry_after=date)
    statsig.state.seed_segment("vip_users")

    assert change(statsig).headers["Retry-After"] == date


@pytest.mark.parametrize("taken", [False, True])
def test_a_request_with_a_dropped_connection_may_be_taken(statsig, taken):
    statsig.faults.add(drop=True, taken=taken, times=1)

    with pytest.raises(requests.ConnectionError):
        send(statsig)

    assert len(statsig.state.events) == taken
    assert (statsig.state.requests[0].status, statsig.state.requests[0].taken) == (None, taken)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param('{"success": false}', '{"success": false}', id="success-false"),
        pytest.param("<html>", "<html>", id="not-json"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_fault_may_answer_202_without_success(statsig, body, text):
    statsig.faults.add(status=202, body=body)

    answer = send(statsig)

    assert (answer.status_code, answer.text) == (202, text)
    assert statsig.state.events == []


def test_a_fault_may_answer_an_error_to_a_taken_request(statsig):
    statsig.faults.add(status=504, taken=True)

    assert send(statsig).status_code == 504
    assert len(statsig.state.events) == 1


def test_an_event_name_may_refuse_its_whole_request(statsig):
    statsig.faults.add(event="poison", status=400)
    poison_body = {"events": [*BODY["events"], {"eventName": "poison"}]}

    assert send(statsig, poison_body).status_code == 400
    assert send(statsig).status_code == 202
    assert len(statsig.state.events) == 1


def test_a_python_condition_may_refuse_a_request(statsig):
    statsig.faults.add(
        path="/v1/*",
        status=400,
        when=lambda arrival: any(event["user"]["userID"] == "u7" for event in events_of(arrival)),
    )

    assert send(statsig, {"events": [{"eventName": "ok", "user": {"userID": "u7"}}]}).status_code == 400
    assert send(statsig).status_code == 202


def test_a_fault_may_refuse_large_bodies(statsig):
    statsig.faults.add(over_bytes=100, status=413)

    assert send(statsig, {"events": BODY["events"] * 10}).status_code == 413
    assert send(statsig).status_code == 202


def test_a_fault_may_revoke_a_key_in_mid_run(statsig):
    statsig.faults.add(path="/v1/*", skip=1, status=401)

    assert [send(statsig).status_code for _ in range(3)] == [202, 401, 401]


def test_a_fault_may_change_a_list_between_its_pages(statsig_factory):
    statsig = statsig_factory(page_size=2)
    statsig.state.seed_segment("vip_users", ["b", "c", "d", "e"])
    statsig.faults.add(method="GET", path="*/id_list", skip=1, times=1, adds=("a",), removes=("e",))

    pages = [call_console(statsig, "GET", f"segments/vip_users/id_list?page={n}").json() for n in (1, 2)]

    assert [page["data"]["ids"] for page in pages] == [["b", "c"], ["c", "d"]]
    assert statsig.state.ids("vip_users") == {"a", "b", "c", "d"}


def test_a_fault_may_delay_a_response(statsig):
    statsig.faults.add(latency=0.2, times=1)
    begun = time.monotonic()

    assert send(statsig).status_code == 202
    assert time.monotonic() - begun >= 0.2
    assert len(statsig.state.events) == 1


def test_closing_ends_delayed_and_hanging_requests(statsig):
    statsig.faults.add(path="*/log_event", latency=3_600)
    statsig.faults.add(path="*/id_list", hang=True)
    statsig.state.seed_segment("vip_users")
    matched = threading.Barrier(3, timeout=10)
    pick, ended = statsig.faults.pick, []

    def pick_and_wait(arrival):
        fault = pick(arrival)
        matched.wait()
        return fault

    def call(function):
        with pytest.raises(requests.ConnectionError):
            function(statsig)
        ended.append(function)

    statsig.faults.pick = pick_and_wait
    callers = [threading.Thread(target=call, args=(function,)) for function in (send, change)]
    for caller in callers:
        caller.start()
    matched.wait()
    statsig.close()
    for caller in callers:
        caller.join(timeout=10)

    assert len(ended) == 2


def test_closing_ends_connections_that_are_kept_alive(statsig_factory):
    statsig = statsig_factory()
    with requests.Session() as session:
        session.get(f"{statsig.url}/_emulator/state", timeout=10)
        statsig.close()
        with pytest.raises(requests.ConnectionError):
            session.get(f"{statsig.url}/_emulator/state", timeout=10)


def test_a_restarted_emulator_keeps_its_port_and_state(statsig):
    send(statsig)
    url = statsig.url
    statsig.close()
    with pytest.raises(requests.ConnectionError):
        send(statsig)

    statsig.start()

    assert send(statsig).status_code == 202
    assert (statsig.url, len(statsig.state.events)) == (url, 2)


def test_the_state_is_served_over_http(statsig, monkeypatch):
    monkeypatch.setattr("target_statsig.emulator.state.MAX_LISTED_IDS", 2)
    statsig.state.seed_segment("vip_users", ["a", "b"])
    statsig.state.seed_segment("too_big", ["a", "b", "c"])
    send(statsig)

    state = requests.get(f"{statsig.url}/_emulator/state", timeout=10).json()

    assert state["segments"]["vip_users"]["ids"] == ["a", "b"]
    assert (state["segments"]["too_big"]["ids"], state["segments"]["too_big"]["count"]) == (None, 3)
    assert state["events"] == BODY["events"]
    assert [entry["path"] for entry in state["requests"]] == ["/v1/log_event"]
    assert requests.get(f"{statsig.url}/_emulator/nothing", timeout=10).status_code == 404


def test_changes_over_the_quota_get_429_with_retry_after(statsig_factory):
    now = [1_000.0]
    statsig = statsig_factory(clock=lambda: now[0])
    statsig.state.seed_segment("vip_users")

    assert {change(statsig).status_code for _ in range(12)} == {200}
    refused = change(statsig)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    now[0] += 10
    assert change(statsig).status_code == 200


def test_reads_have_no_quota(statsig_factory):
    statsig = statsig_factory(clock=lambda: 0.0)
    statsig.state.seed_segment("vip_users")

    assert {change(statsig, method="GET").status_code for _ in range(15)} == {200}


def test_quotas_can_be_turned_off(statsig_factory):
    statsig = statsig_factory(clock=lambda: 0.0, id_list_windows=(), mutation_windows=())
    statsig.state.seed_segment("vip_users")

    assert {change(statsig).status_code for _ in range(13)} == {200}
