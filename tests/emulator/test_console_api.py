"""The emulated Console API, over a socket."""

from __future__ import annotations

from time import tzset

import pytest

from target_statsig.config.settings import RateWindow
from target_statsig.emulator import console_api
from tests.emulator.calls import call_console, call_events


def read_all(statsig, segment_id, limit):
    ids, page = [], 1
    while True:
        content = call_console(statsig, "GET", f"segments/{segment_id}/id_list?limit={limit}&page={page}").json()
        ids += content["data"]["ids"]
        page += 1
        if content["pagination"]["nextPage"] is None:
            return ids


def test_adding_and_removing_members_is_idempotent(statsig):
    statsig.state.seed_segment("vip_users", ["a", "b"])

    for _ in range(2):
        assert call_console(statsig, "PATCH", "segments/vip_users/id_list", ["b", "c"]).status_code == 200
        assert call_console(statsig, "DELETE", "segments/vip_users/id_list", ["a", "z"]).status_code == 200

    assert statsig.state.ids("vip_users") == {"b", "c"}
    history = statsig.state.segments["vip_users"].history
    assert [(change.action, change.added, change.removed) for change in history] == [
        ("add", 1, 0),
        ("remove", 0, 1),
        ("add", 0, 0),
        ("remove", 0, 0),
    ]


def test_an_id_in_the_path_is_percent_decoded(statsig):
    statsig.state.seed_segment("vip users/2", ["a"])

    assert call_console(statsig, "GET", "segments/vip%20users%2F2").json()["data"]["id"] == "vip users/2"


@pytest.mark.parametrize(
    ("path", "split"),
    [
        pytest.param("/console/v1/segments", ("", "segments"), id="all"),
        pytest.param("/console/v1/segments/a%2Fb", ("a/b", "segments/*"), id="one"),
        pytest.param("/console/v1/segments/a/id_list", ("a", "segments/*/id_list"), id="part-of-a-segment"),
        pytest.param("/v1/log_event", ("", ""), id="another-api"),
    ],
)
def test_a_path_is_split_into_id_and_route(path, split):
    assert console_api.split_path(path) == split


def test_a_segment_has_a_type_and_a_count(statsig):
    statsig.state.seed_segment("devices", ["a", "b"], segment_type="user_store_id_list", id_type="stableID")

    data = call_console(statsig, "GET", "segments/devices").json()["data"]

    assert (data["type"], data["idType"], data["count"]) == ("user_store_id_list", "stableID", 2)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "segments/nope"),
        ("GET", "segments/nope/id_list"),
        ("PATCH", "segments/nope/id_list"),
        ("GET", "segments/nope/idlist_metadata"),
    ],
)
def test_a_missing_segment_is_404_with_statsig_s_message(statsig, method, path):
    answer = call_console(statsig, method, path, ["a"])

    assert (answer.status_code, answer.json()) == (404, {"status": 404, "message": "Segment not found"})


def test_lists_are_read_in_pages_of_limited_size(statsig_factory):
    statsig = statsig_factory(page_size=3)
    statsig.state.seed_segment("vip_users", [f"u{n}" for n in range(8)])

    assert read_all(statsig, "vip_users", 100) == [f"u{n}" for n in range(8)]
    pagination = call_console(statsig, "GET", "segments/vip_users/id_list?limit=100&page=2").json()["pagination"]
    assert pagination["itemsPerPage"] == 3
    assert pagination["pageNumber"] == 2
    assert pagination["totalItems"] == 8
    assert pagination["previousPage"]
    assert pagination["nextPage"]


def test_a_page_past_the_end_is_empty(statsig):
    statsig.state.seed_segment("vip_users", ["a"])

    content = call_console(statsig, "GET", "segments/vip_users/id_list?page=2").json()

    assert content["data"]["ids"] == []
    assert content["pagination"]["nextPage"] is None


@pytest.mark.parametrize("query", ["page=0", "limit=0", "page=x"])
def test_an_invalid_page_is_400(statsig, query):
    statsig.state.seed_segment("vip_users", ["a"])

    assert call_console(statsig, "GET", f"segments/vip_users/id_list?{query}").status_code == 400


def test_ids_may_be_joined_by_commas_and_repeated(statsig_factory):
    statsig = statsig_factory(joined_ids=2, repeated_ids=True)
    statsig.state.seed_segment("vip_users", ["a", "b", "c", "d"])

    assert read_all(statsig, "vip_users", 3) == ["a,b", "c", "c,d"]


def test_each_type_of_list_has_its_own_calls(statsig):
    statsig.state.seed_segment("plain")
    statsig.state.seed_segment("stored", segment_type="user_store_id_list")

    answer = call_console(statsig, "PATCH", "segments/stored/id_list", ["a"])
    assert answer.status_code == 400
    assert "Segment must be of type 'id_list'" in answer.json()["message"]
    assert call_console(statsig, "PATCH", "segments/plain/add_ids", ["a"]).status_code == 400
    assert call_console(statsig, "PATCH", "segments/stored/add_ids", ["a", "b"]).status_code == 200
    assert call_console(statsig, "PATCH", "segments/stored/remove_ids", ["a"]).status_code == 200
    assert statsig.state.ids("stored") == {"b"}


@pytest.mark.parametrize(
    ("segment", "path", "most"),
    [
        pytest.param("plain", "segments/plain/id_list", 100_000, id="id-list"),
        pytest.param("stored", "segments/stored/add_ids", 1_000, id="user-store"),
    ],
)
def test_too_many_ids_are_400(statsig, segment, path, most):
    statsig.state.seed_segment("plain")
    statsig.state.seed_segment("stored", segment_type="user_store_id_list")
    ids = [str(n) for n in range(most + 1)]

    assert call_console(statsig, "PATCH", path, ids).status_code == 400
    assert call_console(statsig, "PATCH", path, ids[:-1]).status_code == 200
    assert len(statsig.state.ids(segment)) == most


def test_the_number_of_ids_of_a_project_is_limited(statsig, monkeypatch):
    monkeypatch.setattr(console_api, "MAX_IDS_PER_PROJECT", 3)
    statsig.state.seed_segment("vip_users", ["a"])
    statsig.state.seed_segment("beta", ["b"])

    assert call_console(statsig, "PATCH", "segments/beta/id_list", ["b", "c"]).status_code == 200
    assert call_console(statsig, "PATCH", "segments/beta/id_list", ["d"]).status_code == 400
    assert call_console(statsig, "DELETE", "segments/beta/id_list", ["b"]).status_code == 200
    assert call_console(statsig, "PATCH", "segments/beta/id_list", ["d"]).status_code == 200


def test_ids_must_be_strings(statsig):
    statsig.state.seed_segment("vip_users")

    assert call_console(statsig, "PATCH", "segments/vip_users/id_list", [1]).status_code == 400


def test_a_created_segment_is_empty(statsig):
    answer = call_console(
        statsig, "POST", "segments", body={"name": "VIP users", "type": "id_list", "idType": "stableID"}
    )

    assert answer.status_code == 201
    assert answer.json()["data"]["id"] == "vip_users"
    assert statsig.state.ids("vip_users") == set()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"name": "vip users", "type": "id_list"}, id="exists"),
        pytest.param({"name": "ab", "type": "id_list"}, id="too-short"),
        pytest.param({"name": "vip/users", "type": "id_list"}, id="bad-character"),
        pytest.param({"name": "audience"}, id="no-type"),
        pytest.param({"name": "audience", "type": "list"}, id="unknown-type"),
        pytest.param({"name": "audience", "type": "id_list", "idType": "userId"}, id="unknown-id-type"),
    ],
)
def test_a_segment_that_cannot_be_created_is_400(statsig, body):
    statsig.state.seed_segment("vip_users")

    assert call_console(statsig, "POST", "segments", body=body).status_code == 400


def test_segments_and_unit_id_types_are_listed(statsig):
    statsig.state.seed_segment("vip_users", id_type="companyID")

    segments = call_console(statsig, "GET", "segments").json()["data"]
    types = call_console(statsig, "GET", "unit_id_types").json()["data"]

    assert [segment["id"] for segment in segments] == ["vip_users"]
    assert [kind["name"] for kind in types] == ["userID", "stableID", "companyID"]


@pytest.mark.parametrize(
    ("key", "ending"),
    [("", "was sent."), ("secret-emulator", "Key ended in ator."), ("client-1", "Key ended in nt-1.")],
)
def test_the_console_api_requires_the_console_key(statsig, key, ending):
    answer = call_console(statsig, "GET", "segments", key=key)

    assert answer.status_code == 401
    assert "CONSOLE key" in answer.json()["message"]
    assert answer.json()["message"].endswith(ending)


def test_refused_requests_count_towards_the_quota(statsig_factory):
    now = [0.0]
    statsig = statsig_factory(clock=lambda: now[0], id_list_windows=(RateWindow(2, 10),))
    statsig.state.seed_segment("vip_users", [])

    def attempt(seconds):
        now[0] = seconds
        response = call_console(statsig, "PATCH", "segments/vip_users/id_list", ["a"])
        return response.status_code, response.headers.get("Retry-After")

    assert [attempt(0), attempt(0)] == [(200, None), (200, None)]
    assert [attempt(4), attempt(4.5)] == [(429, "6"), (429, "10")]
    assert attempt(10) == (429, "5")
    assert attempt(15) == (200, None)


def test_the_quota_of_lists_is_separate(statsig_factory):
    statsig = statsig_factory(clock=lambda: 0.0, id_list_windows=(RateWindow(1, 10),))
    new = ({"name": name, "type": "id_list"} for name in ("vip_users", "beta"))

    assert [call_console(statsig, "POST", "segments", body=one).status_code for one in new] == [201, 201]
    assert [call_console(statsig, "PATCH", "segments/beta/id_list", ["a"]).status_code for _ in range(2)] == [
        200,
        429,
    ]


def log_events(statsig, *events):
    body = {"events": [{"user": {"userID": "u1"}, **event} for event in events]}
    assert call_events(statsig, body).status_code == 202


def test_events_of_a_name_are_listed_newest_first(statsig):
    first = {"eventName": "Plan Upgraded", "time": 1_720_567_904_601, "value": 12, "metadata": {"plan": "pro"}}
    log_events(statsig, first, {"eventName": "login"}, {"eventName": "Plan Upgraded"})
    content = call_console(statsig, "GET", "events/Plan%20Upgraded?limit=1&page=2").json()
    assert content["data"] == [
        {
            "timestamp": "1720567904601",
            "name": "Plan Upgraded",
            "source": "http-api",
            "value": "12",
            "userID": "u1",
            "metadata": {"plan": "pro"},
        }
    ]
    pages = content["pagination"]
    assert (pages["itemsPerPage"], pages["pageNumber"], pages["totalItems"], pages["nextPage"]) == (1, 2, 2, None)


@pytest.fixture
def in_tokyo(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    yield
    monkeypatch.undo()
    tzset()


@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize("time", ["2026-11-01T01:00:00+01:00", "2026-11-01t00:00:00z", "2026-11-01T00:00:00"])
def test_event_times_are_listed_in_unix_milliseconds(statsig, time):
    log_events(statsig, {"eventName": "login", "time": time})

    assert call_console(statsig, "GET", "events/login").json()["data"][0]["timestamp"] == "1793491200000"


def test_only_the_newest_events_are_listed(statsig, monkeypatch):
    monkeypatch.setattr(console_api, "MAX_LISTED_EVENTS", 2)
    log_events(statsig, *({"eventName": "login", "value": value} for value in (1, 2, 3)))

    assert [event["value"] for event in call_console(statsig, "GET", "events/login").json()["data"]] == ["3", "2"]


def test_events_that_statsig_drops_are_not_listed(statsig):
    log_events(statsig, {"eventName": "a|b"})
    assert call_console(statsig, "GET", "events/a%7Cb").json()["data"] == []


def test_listing_events_requires_the_console_key(statsig):
    assert call_console(statsig, "GET", "events/login", key="console-another").status_code == 401


def log_exposures(statsig, *exposures):
    body = {"exposures": [{"user": {"userID": "u1"}, "group": "a", **exposure} for exposure in exposures]}
    assert call_events(statsig, body, "log_custom_exposure").status_code == 202


def test_exposures_are_counted_by_experiment_and_gate(statsig):
    gate = {"gateName": "checkout", "passes": True}
    log_exposures(statsig, {"experimentName": "checkout"}, {"experimentName": "b c"}, gate, {**gate, "passes": False})
    content = call_console(
        statsig, "GET", "exposure_count?experiments=checkout&experiments=b%20c&gates=checkout&gates=d"
    ).json()
    assert content["message"] == "Exposure count fetched successfully."
    assert content["data"] == {
        "gates": [{"id": "checkout", "pastDay": 2, "past7Days": 2}, {"id": "d", "pastDay": 0, "past7Days": 0}],
        "experiments": [{"id": "checkout", "pastDay": 1, "past7Days": 1}, {"id": "b c", "pastDay": 1, "past7Days": 1}],
        "dynamicConfigs": [],
    }


def test_exposures_are_counted_for_a_day_and_for_a_week(statsig_factory):
    now = [1e9]
    statsig = statsig_factory(clock=lambda: now[0])
    log_exposures(statsig, {"experimentName": "a"})
    for days, counted in ((0.9, (1, 1)), (1.1, (0, 1)), (7.1, (0, 0))):
        now[0] = 1e9 + days * 86_400
        (count,) = call_console(statsig, "GET", "exposure_count?experiments=a").json()["data"]["experiments"]
        assert (count["pastDay"], count["past7Days"]) == counted


def test_exposure_counts_take_25_names_and_the_console_key(statsig):
    many = "&".join(f"gates=g{number}" for number in range(26))
    assert call_console(statsig, "GET", f"exposure_count?{many}").status_code == 400
    assert call_console(statsig, "GET", "exposure_count", key="console-another").status_code == 401
