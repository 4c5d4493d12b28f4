"""The page's JSON over a socket, and beginning again."""

from __future__ import annotations

import pytest
import requests

from target_statsig.emulator import Fault, StatsigEmulator
from target_statsig.emulator.state import Segment

EVENT = {"eventName": "purchase", "user": {"userID": "u1"}, "value": 89.99}


def send(statsig, *events):
    headers = {"statsig-api-key": statsig.server_secret_key}
    url = f"{statsig.events_url}/log_event"
    return requests.post(url, json={"events": events}, headers=headers, timeout=10).status_code


def change(statsig, segment, ids):
    headers = {"statsig-api-key": statsig.console_api_key}
    url = f"{statsig.console_url}/segments/{segment}/id_list"
    return requests.patch(url, json={"ids": ids}, headers=headers, timeout=10).status_code


def ask(statsig, call=".json", **query):
    answer = requests.get(f"{statsig.url}/_emulator/page{call}", params=query, timeout=10)
    assert answer.status_code == 200
    return answer.json()


def clear(statsig):
    assert requests.post(f"{statsig.url}/_emulator/clear", timeout=10).status_code == 200


@pytest.fixture
def beside(tmp_path):
    """An emulator with a folder for the target, a segment and a fault to begin with."""

    segments, faults = [Segment("vip_users", ids={"a"})], [Fault(path="/v1/nowhere", status=503, times=1)]
    with StatsigEmulator(folder=tmp_path, segments=segments, faults=faults) as statsig:
        yield statsig


def test_the_page_is_one_file_that_may_reach_nothing_else(statsig):
    answer = requests.get(f"{statsig.url}/", timeout=10)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "http" not in answer.headers["content-security-policy"]
    assert "<title>Statsig emulator</title>" in answer.text


def test_looking_leaves_no_trace_in_the_request_log(statsig):
    statsig.faults.add(Fault(status=503))
    requests.get(f"{statsig.url}/", timeout=10)
    ask(statsig)

    assert statsig.state.requests == []
    assert ask(statsig)["run"] is None


def test_before_anything_has_arrived_the_page_can_tell_how_to_point_a_target_here(statsig, beside):
    assert ask(statsig)["exports"]["TARGET_STATSIG_EVENTS_URL"] == statsig.events_url
    assert not ask(statsig)["remembers"]
    assert "TARGET_STATSIG_STORE_URL" in ask(beside)["exports"]
    assert ask(beside)["remembers"]


@pytest.mark.parametrize(
    ("hosts", "passed_by"), [("", "127.0.0.1"), ("db.internal", "db.internal,127.0.0.1")], ids=["no other", "another"]
)
def test_a_target_passes_a_proxy_by(statsig, monkeypatch, hosts, passed_by):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", hosts)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.internal:3128")

    assert (statsig.exports["no_proxy"], statsig.exports["NO_PROXY"]) == (passed_by, passed_by)


def test_what_has_arrived_is_told_until_nothing_changes(statsig):
    send(statsig, EVENT, EVENT)

    shown = ask(statsig)
    while (again := ask(statsig, since=shown["version"]))["unchanged"] is False:
        shown = again

    assert shown["run"]["names"][0]["count"] == 2
    assert again == {"version": shown["version"], "unchanged": True}

    send(statsig, EVENT)
    assert ask(statsig, since=shown["version"])["run"]["names"][0]["count"] == 3


def test_another_emulator_has_other_versions(statsig_factory):
    one, other = statsig_factory(), statsig_factory()

    assert not ask(other, since=ask(one)["version"])["unchanged"]


def test_a_click_brings_samples_members_and_users(statsig):
    statsig.state.seed_segment("vip users")
    send(statsig, EVENT)
    change(statsig, "vip%20users", ["u-1", "u-2"])

    assert ask(statsig, "/samples", run=1, name="purchase", tier="") == [EVENT]
    assert ask(statsig, "/members", segment="vip users") == ["u-1", "u-2"]
    assert ask(statsig, "/members", segment="vip users", find="2") == ["u-2"]
    assert ask(statsig, "/users", run=1) == [{"id_type": "userID", "id": "u1", "events": 1}]


@pytest.mark.parametrize("run", ["", "0", "2", "-1", "²", "one"])
def test_a_run_that_is_not_there_has_nothing(statsig, run):
    send(statsig, EVENT)

    assert ask(statsig, "/samples", run=run, name="purchase") == ask(statsig, "/users", run=run) == []
    assert ask(statsig, run=run)["run"]["number"] == 1


def look_for(statsig, segment):
    headers = {"statsig-api-key": statsig.console_api_key}
    return requests.get(f"{statsig.console_url}/segments/{segment}", headers=headers, timeout=10).status_code


def create(statsig, segment):
    headers = {"statsig-api-key": statsig.console_api_key}
    body = {"id": segment, "name": segment, "type": "id_list"}
    return requests.post(f"{statsig.console_url}/segments", json=body, headers=headers, timeout=10).status_code


def test_the_question_whether_a_segment_has_to_be_created_is_no_refusal(statsig):
    assert (look_for(statsig, "vips"), look_for(statsig, "nope")) == (404, 404)
    assert create(statsig, "vips") == 201
    assert (look_for(statsig, "vips"), create(statsig, "vips")) == (200, 400)

    steps = ask(statsig)["run"]["timeline"]["steps"]
    assert sum(step["requests"] for step in steps) == 5
    assert sum(step["refused"] for step in steps) == 2


def test_a_segment_that_is_not_there_has_no_members(statsig):
    assert ask(statsig, "/members", segment="nope") == []


def test_dead_letters_are_shown_although_nothing_arrived(beside, tmp_path):
    first = ask(beside)["version"]
    (tmp_path / "dead-letters").mkdir()
    line = '{"type": "RECORD", "stream": "orders", "record": {"id": 1}, "reason": "missing_identifier"}\n'
    (tmp_path / "dead-letters" / "orders.singer").write_text(line, encoding="utf-8")

    (finding,) = ask(beside, since=first)["findings"]

    assert (finding["what"], finding["why"], finding["count"]) == ("dead-lettered", "missing_identifier", 1)
    assert finding["example"] == {"stream": "orders", "record": {"id": 1}}


def test_clearing_begins_again_as_in_the_beginning(beside, tmp_path):
    send(beside, EVENT)
    change(beside, "vip_users", ["b"])
    requests.post(f"{beside.url}/v1/nowhere", timeout=10)
    (tmp_path / "store.db").write_text("what the target remembers", encoding="utf-8")
    (tmp_path / "state" / "run").mkdir(parents=True)

    clear(beside)

    assert ask(beside)["run"] is None
    assert beside.state.events == beside.state.requests == []
    assert beside.state.ids("vip_users") == {"a"}
    assert requests.post(f"{beside.url}/v1/nowhere", timeout=10).status_code == 503
    assert list(tmp_path.iterdir()) == []


def test_after_clearing_the_quota_is_whole(statsig):
    statsig.state.seed_segment("vip_users")
    while change(statsig, "vip_users", ["a"]) == 200:
        pass
    clear(statsig)
    statsig.state.seed_segment("vip_users")

    assert change(statsig, "vip_users", ["a"]) == 200
    assert ask(statsig)["run"]["number"] == 1


def test_after_clearing_an_open_connection_begins_again(statsig):
    with requests.Session() as target:
        for events in (2, 1):
            clear(statsig)
            url, headers = f"{statsig.events_url}/log_event", {"statsig-api-key": statsig.server_secret_key}
            target.post(url, json={"events": [EVENT] * events}, headers=headers, timeout=10)

    while statsig.state.active:
        pass
    assert [(run["number"], run["events"]) for run in ask(statsig)["runs"]] == [(1, 1)]


def test_clearing_where_there_is_no_folder_forgets_what_arrived(statsig):
    send(statsig, EVENT)
    clear(statsig)

    assert ask(statsig)["runs"] == []


def test_a_target_that_is_started_again_is_another_run(statsig_factory):
    now = [1_800_000_000.0]
    statsig = statsig_factory(clock=lambda: now[0])
    for _ in range(2):
        with requests.Session() as target:
            target.headers["statsig-api-key"] = statsig.server_secret_key
            for _ in range(2):
                target.post(f"{statsig.events_url}/log_event", json={"events": [EVENT]}, timeout=10)
                now[0] += 60
        while ask(statsig)["active"]:
            pass
        now[0] += 60

    assert [(run["number"], run["events"]) for run in ask(statsig)["runs"]] == [(2, 2), (1, 2)]
