"""The data of the page over HTTP, and its Clear button."""

from __future__ import annotations

import pytest
import requests

from target_statsig.emulator import Fault, StatsigEmulator
from target_statsig.emulator.state import Segment
from tests.emulator.calls import call_console, call_events

EVENT = {"eventName": "purchase", "user": {"userID": "u1"}, "value": 89.99}


def send(statsig, *events):
    call_events(statsig, {"events": events})


def change(statsig, segment, ids):
    return call_console(statsig, "PATCH", f"segments/{segment}/id_list", ids).status_code


def get_page_data(statsig, call=".json", **query):
    answer = requests.get(f"{statsig.url}/_emulator/page{call}", params=query, timeout=10)
    assert answer.status_code == 200
    return answer.json()


def clear(statsig):
    assert requests.post(f"{statsig.url}/_emulator/clear", timeout=10).status_code == 200


@pytest.fixture
def statsig_with_folder(tmp_path):
    """An emulator with a folder for the target, an initial segment and an initial fault."""

    segments, faults = [Segment("vip_users", ids={"a"})], [Fault(path="/v1/nowhere", status=503, times=1)]
    with StatsigEmulator(folder=tmp_path, segments=segments, faults=faults) as statsig:
        yield statsig


def test_the_page_may_connect_only_to_the_emulator(statsig):
    answer = requests.get(f"{statsig.url}/", timeout=10)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "http" not in answer.headers["content-security-policy"]
    assert "<title>Statsig emulator</title>" in answer.text


def test_requests_of_the_page_are_not_logged(statsig):
    statsig.faults.add(Fault(status=503))
    requests.get(f"{statsig.url}/", timeout=10)
    get_page_data(statsig)

    assert statsig.state.requests == []
    assert get_page_data(statsig)["run"] is None


def test_the_page_has_the_variables_for_a_target(statsig, statsig_with_folder):
    assert get_page_data(statsig)["exports"]["TARGET_STATSIG_EVENTS_URL"] == statsig.events_url
    assert not get_page_data(statsig)["remembers"]
    assert "TARGET_STATSIG_STORE_URL" in get_page_data(statsig_with_folder)["exports"]
    assert get_page_data(statsig_with_folder)["remembers"]


@pytest.mark.parametrize(
    ("hosts", "no_proxy"), [("", "127.0.0.1"), ("db.internal", "db.internal,127.0.0.1")], ids=["unset", "set"]
)
def test_the_variables_exclude_the_emulator_from_a_proxy(statsig, monkeypatch, hosts, no_proxy):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", hosts)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.internal:3128")

    assert (statsig.exports["no_proxy"], statsig.exports["NO_PROXY"]) == (no_proxy, no_proxy)


def test_page_data_is_sent_only_when_it_changed(statsig):
    send(statsig, EVENT, EVENT)

    shown = get_page_data(statsig)
    while (again := get_page_data(statsig, since=shown["version"]))["unchanged"] is False:
        shown = again

    assert shown["run"]["names"][0]["count"] == 2
    assert again == {"version": shown["version"], "unchanged": True}

    send(statsig, EVENT)
    assert get_page_data(statsig, since=shown["version"])["run"]["names"][0]["count"] == 3


def test_versions_differ_between_emulators(statsig_factory):
    one, other = statsig_factory(), statsig_factory()

    assert not get_page_data(other, since=get_page_data(one)["version"])["unchanged"]


def test_samples_members_and_users_are_sent_on_request(statsig):
    statsig.state.seed_segment("vip users")
    send(statsig, EVENT)
    change(statsig, "vip%20users", ["u-1", "u-2"])

    assert get_page_data(statsig, "/samples", run=1, name="purchase", tier="") == [EVENT]
    assert get_page_data(statsig, "/members", segment="vip users") == ["u-1", "u-2"]
    assert get_page_data(statsig, "/members", segment="vip users", find="2") == ["u-2"]
    assert get_page_data(statsig, "/users", run=1) == [{"id_type": "userID", "id": "u1", "events": 1}]


@pytest.mark.parametrize("run", ["", "0", "2", "-1", "²", "one"])
def test_an_unknown_run_has_no_samples_and_no_users(statsig, run):
    send(statsig, EVENT)

    assert (
        get_page_data(statsig, "/samples", run=run, name="purchase") == get_page_data(statsig, "/users", run=run) == []
    )
    assert get_page_data(statsig, run=run)["run"]["number"] == 1


def get_segment(statsig, segment):
    return call_console(statsig, "GET", f"segments/{segment}").status_code


def create_segment(statsig, segment):
    body = {"id": segment, "name": segment, "type": "id_list"}
    return call_console(statsig, "POST", "segments", body=body).status_code


def test_a_404_before_a_segment_is_created_is_no_refusal(statsig):
    assert (get_segment(statsig, "vips"), get_segment(statsig, "nope")) == (404, 404)
    assert create_segment(statsig, "vips") == 201
    assert (get_segment(statsig, "vips"), create_segment(statsig, "vips")) == (200, 400)

    steps = get_page_data(statsig)["run"]["timeline"]["steps"]
    assert sum(step["requests"] for step in steps) == 5
    assert sum(step["refused"] for step in steps) == 2


def test_a_missing_segment_has_no_members(statsig):
    assert get_page_data(statsig, "/members", segment="nope") == []


def test_dead_letters_are_shown_without_any_request(statsig_with_folder, tmp_path):
    first = get_page_data(statsig_with_folder)["version"]
    (tmp_path / "dead-letters").mkdir()
    line = '{"type": "RECORD", "stream": "orders", "record": {"id": 1}, "reason": "missing_identifier"}\n'
    (tmp_path / "dead-letters" / "orders.singer").write_text(line, encoding="utf-8")

    (finding,) = get_page_data(statsig_with_folder, since=first)["findings"]

    assert (finding["what"], finding["why"], finding["count"]) == ("dead-lettered", "missing_identifier", 1)
    assert finding["example"] == {"stream": "orders", "record": {"id": 1}}


def test_clear_restores_the_initial_state(statsig_with_folder, tmp_path):
    send(statsig_with_folder, EVENT)
    change(statsig_with_folder, "vip_users", ["b"])
    requests.post(f"{statsig_with_folder.url}/v1/nowhere", timeout=10)
    (tmp_path / "store.db").write_text("the target's store", encoding="utf-8")
    (tmp_path / "state" / "run").mkdir(parents=True)

    clear(statsig_with_folder)

    assert get_page_data(statsig_with_folder)["run"] is None
    assert statsig_with_folder.state.events == statsig_with_folder.state.requests == []
    assert statsig_with_folder.state.ids("vip_users") == {"a"}
    assert requests.post(f"{statsig_with_folder.url}/v1/nowhere", timeout=10).status_code == 503
    assert list(tmp_path.iterdir()) == []


def test_clear_resets_the_quota(statsig):
    statsig.state.seed_segment("vip_users")
    while change(statsig, "vip_users", ["a"]) == 200:
        pass
    clear(statsig)
    statsig.state.seed_segment("vip_users")

    assert change(statsig, "vip_users", ["a"]) == 200
    assert get_page_data(statsig)["run"]["number"] == 1


def test_an_open_connection_begins_a_new_run_after_clear(statsig):
    with requests.Session() as target:
        for events in (2, 1):
            clear(statsig)
            url, headers = f"{statsig.events_url}/log_event", {"statsig-api-key": statsig.server_secret_key}
            target.post(url, json={"events": [EVENT] * events}, headers=headers, timeout=10)

    while statsig.state.active:
        pass
    assert [(run["number"], run["events"]) for run in get_page_data(statsig)["runs"]] == [(1, 1)]


def test_clear_works_without_a_folder(statsig):
    send(statsig, EVENT)
    clear(statsig)

    assert get_page_data(statsig)["runs"] == []


def test_a_target_started_again_is_another_run(statsig_factory):
    now = [1_800_000_000.0]
    statsig = statsig_factory(clock=lambda: now[0])
    for _ in range(2):
        with requests.Session() as target:
            target.headers["statsig-api-key"] = statsig.server_secret_key
            for _ in range(2):
                target.post(f"{statsig.events_url}/log_event", json={"events": [EVENT]}, timeout=10)
                now[0] += 60
        while get_page_data(statsig)["active"]:
            pass
        now[0] += 60

    assert [(run["number"], run["events"]) for run in get_page_data(statsig)["runs"]] == [(2, 2), (1, 2)]
