from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.client import console as console_module
from target_statsig.client.console import ID_LIST, PAGE_SIZE, USER_STORE_LIST, ConsoleClient, ListState, Segment
from target_statsig.client.http import TransportError
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.client.sender import Sender
from target_statsig.config.settings import RateWindow, Settings
from target_statsig.errors import AuthenticationError, Heading, NotNowError, RefusedError
from tests.fakes import FakeClock, FakeTransport, answer

KEY = "console-abcdefghijklmnop"
BASE = "https://console.example/console/v1"
VIPS = {"id": "vips", "type": "id_list", "idType": "userID", "count": 3.0, "name": "VIPs", "isEnabled": True}
DONE = answer(200, {"message": "done"})
LOST = TransportError("TimeoutError: timed out", sent=True)

plain_ids = st.text("abc-_@.é 0", min_size=1).map(str.strip).filter(bool)


def client(transport, clock=None, *, limit=1000, key=KEY, **options):
    clock = clock or FakeClock()
    settings = Settings(console_api_key=key, console_url=f"{BASE}/", **options)
    sender = Sender(transport, clock, retry_timeout=60, rng=lambda: 0.5)
    return ConsoleClient(sender, settings, RateLimiter([RateWindow(limit, 10)], clock), clock)


def data(content, *, next_page: object = None, status=200):
    return answer(status, {"message": "read", "data": content, "pagination": {"pageNumber": 1, "nextPage": next_page}})


def page(*ids: object, next_page: object = None):
    return data({"name": "VIPs", "count": len(ids), "ids": list(ids)}, next_page=next_page)


def test_a_segment_is_read():
    transport = FakeTransport(data(VIPS))

    assert client(transport).segment("vips") == Segment("vips", "id_list", "userID", 3)
    (request,) = transport.requests
    assert (request.method, request.url, request.body) == ("GET", f"{BASE}/segments/vips", None)
    assert request.headers["STATSIG-API-KEY"] == KEY
    assert request.headers["STATSIG-API-VERSION"] == "20240601"


def test_a_segment_without_a_count_has_a_count_of_0():
    without = {name: value for name, value in VIPS.items() if name != "count"}

    assert client(FakeTransport(data(without))).segment("vips").count == 0


def test_the_error_of_a_missing_segment_has_statsig_s_message():
    with pytest.raises(RefusedError, match="reading segment 'vips'") as caught:
        client(FakeTransport(answer(404, {"status": 404, "message": "Segment not found"}))).segment("vips")

    assert (caught.value.status, caught.value.message) == (404, "Segment not found")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param({"message": "read"}, "missing required field `data`", id="no data"),
        pytest.param({"data": None}, r"Expected `object`, got `null` - at `\$\.data`", id="null"),
        pytest.param(
            {"data": {**VIPS, "type": 7}}, r"Expected `str`, got `int` - at `\$\.data\.type`", id="wrong type"
        ),
    ],
)
def test_a_response_of_another_shape_is_an_error(body, why):
    with pytest.raises(RefusedError, match=f"reading segment 'vips' cannot be used: .*{why}"):
        client(FakeTransport(answer(200, body))).segment("vips")


@pytest.mark.parametrize(
    ("content", "state"),
    [
        pytest.param({"currentVersion": 12.0, "isUpdating": False}, ListState(12, updating=False), id="at rest"),
        pytest.param({"currentVersion": 12, "isUpdating": True}, ListState(12, updating=True), id="updating"),
        pytest.param({}, ListState(None, updating=False), id="never changed"),
    ],
)
def test_the_state_of_a_list_is_read(content, state):
    transport = FakeTransport(data(content))

    assert client(transport).list_state("vips") == state
    assert transport.requests[0].url == f"{BASE}/segments/vips/idlist_metadata"


@pytest.mark.parametrize(
    ("pages", "ids"),
    [
        pytest.param([page()], [], id="empty list"),
        pytest.param([page("a", "b")], ["a", "b"], id="one page"),
        pytest.param([page("a", next_page="/x?page=2"), page("b")], ["a", "b"], id="two pages, by address"),
        pytest.param([page("a", next_page="2"), page("b", next_page="")], ["a", "b"], id="two pages, by number"),
        pytest.param([page("a", next_page="more"), page(next_page="more")], ["a"], id="an empty page is the last"),
        pytest.param([page("1, 2 ,3", "", " ", "4,")], ["1", "2", "3", "4"], id="several ids in one string"),
        pytest.param([page(1, 2)], ["1", "2"], id="numbers"),
        pytest.param([answer(200, {"data": {"ids": ["a"]}})], ["a"], id="no pagination"),
    ],
)
def test_all_ids_are_read(pages, ids):
    assert list(client(FakeTransport(*pages)).ids("vips")) == ids


@given(ids=st.lists(plain_ids, unique=True, max_size=40), cap=st.integers(1, 10))
def test_ids_are_read_from_pages_of_any_size(ids, cap):
    def serve(request):
        query = parse_qs(urlsplit(request.url).query)
        assert query["limit"] == [str(PAGE_SIZE)]
        number = int(query["page"][0])
        there_is_more = number * cap < len(ids)
        return page(*ids[(number - 1) * cap : number * cap], next_page="yes" if there_is_more else None)

    assert list(client(FakeTransport(then=serve)).ids("vips")) == ids


def test_pages_are_read_only_when_needed():
    transport = FakeTransport(page("a", next_page="2"), page("b"))
    ids = client(transport).ids("vips")

    assert next(ids) == "a"
    assert len(transport.requests) == 1


def test_a_list_without_an_end_is_an_error(monkeypatch):
    monkeypatch.setattr(console_module, "MAX_IDS", 10)
    pages = (page(f"{number}", next_page="more") for number in range(100))

    with pytest.raises(RefusedError, match="there are more than 10"):
        list(client(FakeTransport(then=lambda request: next(pages))).ids("vips"))


@pytest.mark.parametrize(
    ("change", "segment_type", "method", "path"),
    [
        pytest.param("add_ids", ID_LIST, "PATCH", "id_list", id="add"),
        pytest.param("remove_ids", ID_LIST, "DELETE", "id_list", id="remove"),
        pytest.param("add_ids", USER_STORE_LIST, "PATCH", "add_ids", id="add to the user store"),
        pytest.param("remove_ids", USER_STORE_LIST, "PATCH", "remove_ids", id="remove from the user store"),
    ],
)
def test_each_type_of_list_is_changed_by_its_own_call(change, segment_type, method, path):
    transport = FakeTransport(DONE)
    got = getattr(client(transport), change)("vips", ["a", "b"], segment_type=segment_type)

    assert (got.tries, got.answer.body) == (1, {"message": "done"})
    (request,) = transport.requests
    assert (request.method, request.url) == (method, f"{BASE}/segments/vips/{path}")
    assert request.headers["content-type"] == "application/json"
    assert transport.sent() == {"ids": ["a", "b"]}


def test_changes_of_segments_are_rate_limited_and_reads_are_not():
    clock = FakeClock()
    transport = FakeTransport(then=lambda request: data(VIPS) if request.method == "GET" else DONE)
    console = client(transport, clock, limit=1)
    console.add_ids("vips", ["a"], segment_type=ID_LIST)
    console.segment("vips")

    assert clock.sleeps == []
    console.remove_ids("vips", ["a"], segment_type=ID_LIST)
    assert sum(clock.sleeps) > 10


def test_the_pages_of_a_list_are_rate_limited():
    clock = FakeClock()
    pages = [page(f"id {number}", next_page="more") for number in range(199)]
    assert len(list(client(FakeTransport(*pages, page("last")), clock).ids("vips"))) == 200
    assert 20 < sum(clock.sleeps) < 25


def test_all_lists_share_one_quota():
    clock = FakeClock()
    console = client(FakeTransport(then=page("a")), clock)
    for number in range(81):
        assert list(console.ids(f"list {number}")) == ["a"]
    assert 10 < sum(clock.sleeps) < 11


@pytest.mark.parametrize("is_set", [True, False])
def test_only_changes_carry_the_review_header(is_set):
    transport = FakeTransport(data(VIPS), DONE, DONE, data(VIPS, status=201))
    console = client(transport, respect_review_settings=is_set)
    console.segment("vips")
    console.add_ids("vips", ["a"], segment_type=ID_LIST)
    console.remove_ids("vips", ["a"], segment_type=ID_LIST)
    console.create_segment("vips", id_type="userID")
    sent = [request.headers.get("x-respect-review-settings") for request in transport.requests]
    assert sent == [None, *["true" if is_set else None] * 3]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(403, "This project requires reviews for config changes.", id="forbidden"),
        pytest.param(400, "Changes need to be approved by a reviewer", id="refused"),
        pytest.param(409, "A review of this segment is pending", id="conflict"),
        pytest.param(200, "Your change was submitted for review.", id="proposed"),
    ],
)
def test_a_change_that_needs_a_review_is_an_error_with_the_remedy(status, message):
    transport = FakeTransport(answer(status, {"message": message}))
    with pytest.raises(RefusedError, match=r"reviewer\. Set `respect_review_settings` to false") as caught:
        client(transport).add_ids("vips", ["jane"], segment_type=ID_LIST)
    assert caught.value.heading is Heading.REVIEW
    assert message.rstrip(".") in str(caught.value)
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(200, "IDs successfully added to Segment ID List", id="done"),
        pytest.param(200, "Preview required no change", id="a longer word"),
        pytest.param(200, "Reviewed.", id="already reviewed"),
    ],
)
def test_other_messages_are_not_taken_for_reviews(status, message):
    sent = client(FakeTransport(answer(status, {"message": message}))).add_ids("vips", ["a"], segment_type=ID_LIST)
    assert sent.answer.status == status


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        pytest.param(["jane.doe"], "adding 1 id to segment 'vips'", id="one"),
        pytest.param(["jane.doe"] * 1000, "adding 1,000 ids to segment 'vips'", id="many"),
    ],
)
def test_a_failed_change_names_the_segment_and_no_id(ids, what):
    echo = answer(400, {"message": "Segment must be of type 'id_list', jane.doe cannot be added"})

    with pytest.raises(RefusedError, match=what) as caught:
        client(FakeTransport(echo)).add_ids("vips", ids, segment_type=ID_LIST)

    assert caught.value.message == "Segment must be of type 'id_list', … cannot be added"
    assert "jane" not in str(caught.value)


def test_an_update_in_progress_is_waited_for():
    busy = answer(409, {"status": 409, "message": "Update in progress"})

    assert client(FakeTransport(busy, busy, DONE)).add_ids("vips", ["a"], segment_type=ID_LIST).tries == 3


def test_a_change_without_success_is_an_error():
    with pytest.raises(NotNowError):
        client(FakeTransport(then=answer(200, {"success": False}))).add_ids("vips", ["a"], segment_type=ID_LIST)


def test_a_segment_is_created():
    transport = FakeTransport(data(VIPS, status=201))

    assert client(transport).create_segment("vips", id_type="userID") == Segment("vips", "id_list", "userID", 3)
    assert (transport.requests[0].method, transport.requests[0].url) == ("POST", f"{BASE}/segments")
    assert transport.sent() == {"id": "vips", "name": "vips", "type": "id_list", "idType": "userID"}


def test_a_segment_created_by_a_lost_request_is_not_an_error():
    exists = answer(400, {"message": "Segment already exists"})

    created = client(FakeTransport(LOST, exists, data(VIPS))).create_segment("vips", id_type="userID")

    assert created == Segment("vips", "id_list", "userID", 3)


def test_the_error_of_a_refused_segment_has_statsig_s_message():
    refused = answer(400, {"message": "Unknown idType companyId"})

    with pytest.raises(RefusedError, match="creating segment 'vips' for ids of type companyId") as caught:
        client(FakeTransport(refused)).create_segment("vips", id_type="companyId")

    assert caught.value.message == "Unknown idType companyId"


def test_id_types_are_read_from_all_pages():
    transport = FakeTransport(
        data([{"name": "userID"}, {"name": "stableID"}], next_page="2"), data([{"name": "companyID"}])
    )

    assert client(transport).unit_id_types() == ["userID", "stableID", "companyID"]
    assert [request.url for request in transport.requests] == [
        f"{BASE}/unit_id_types?limit={PAGE_SIZE}&page={number}" for number in (1, 2)
    ]


def test_segment_ids_are_percent_encoded_in_the_path():
    transport = FakeTransport(DONE)
    client(transport).add_ids("a/b?c d", ["x"], segment_type=ID_LIST)

    assert transport.requests[0].url == f"{BASE}/segments/a%2Fb%3Fc%20d/id_list"


def test_a_missing_key_is_refused_before_sending():
    with pytest.raises(AuthenticationError, match="`console_api_key`"):
        client(FakeTransport(), key="")


def test_ten_thousand_ids_are_sent_in_one_request():
    ids = [f"user-{number}" for number in range(10_000)]
    transport = FakeTransport(DONE)
    client(transport).add_ids("vips", ids, segment_type=ID_LIST)

    assert transport.requests[0].body == msgspec.json.encode({"ids": ids})


@pytest.mark.parametrize(
    ("body", "is_address"),
    [
        pytest.param({"message": "Segment not found"}, False, id="missing segment"),
        pytest.param({"message": "Not found"}, False, id="other message"),
        pytest.param({"message": "Cannot GET /v1/segments/vips"}, True, id="unknown route"),
        pytest.param(b"<html>", True, id="HTML"),
    ],
)
def test_a_404_from_another_server_names_the_address(body, is_address):
    with pytest.raises(RefusedError) as caught:
        client(FakeTransport(answer(404, body))).segment("vips")
    assert ("`console_url` is not the address" in str(caught.value)) is is_address
    assert (caught.value.status is None) is is_address
