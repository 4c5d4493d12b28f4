"""The tables that the emulator prints at the end."""

from __future__ import annotations

import io

import pytest

from target_statsig.emulator import Options
from target_statsig.emulator.item_log import NO_IDENTIFIER, Tally
from target_statsig.emulator.report import MAX_ROWS, print_report, sample_lines, show_time
from target_statsig.emulator.state import RequestEntry, State
from target_statsig.emulator.summary import Finding, find

PURCHASE = {
    "eventName": "purchase",
    "time": 1_700_000_000_123,
    "value": 89.99,
    "user": {
        "userID": "u1",
        "email": "someone@example.com",
        "customIDs": {"stableID": "s1"},
        "custom": {"plan": "pro", "seats": 12},
        "statsigEnvironment": {"tier": "production"},
    },
    "metadata": {"order_id": "7", "note": "leave it\nat the door " + "please " * 20},
}


def entry(status=202, method="POST", path="/v1/log_event", items=1, note=""):
    return RequestEntry(0.0, method, path, status, items, 100, note, taken=status == 202)


@pytest.fixture
def state():
    return State(Options(clock=lambda: 1_700_000_000.0))


def take(state, events):
    state.take("events", {"events": events})


def report_text(state, dead_letters=(), width=80):
    file = io.StringIO()
    print_report(state, {reason: Tally(1) for reason in dead_letters}, file=file, width=width)
    return file.getvalue()


def findings_of(state, **dead_letters):
    return find(state.requests, state.logs.values(), state.segments, dead_letters)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_fit_the_terminal_and_have_no_colours(state, width):
    take(state, [PURCHASE] * 1_200)
    state.seed_segment("vip_users", ["a"]).change("add", map(str, range(12_000)))
    state.log(entry(items=1_200))
    state.log(entry(404, "GET", "/console/v1/segments/nope", 0, "Segment not found"))

    text = report_text(state, ["missing_identifier"], width)

    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_a_narrow_terminal_wraps_statuses_and_not_the_call(state):
    for status in range(400, 405):
        state.log(entry(status, "DELETE", "/console/v1/segments/vips/id_list"))

    assert "DELETE  segments/vips/id_list" in report_text(state, width=60)


def test_no_status_is_cut_off(state):
    for status in (404, 200, 200):
        state.log(entry(status, "GET", "/console/v1/segments/vip_users", 0))
    for items in (16_428, 1):
        state.log(entry(200, "GET", "/console/v1/segments/vip_users/idlist_metadata", items))
    assert " ".join(report_text(state).split()).count("200 (2)") == 1


def test_counts_have_thousands_separators(state):
    take(state, [PURCHASE] * 1_200)
    state.seed_segment("vip_users", ["a"]).change("add", map(str, range(12_000)))
    state.log(entry(items=1_200))
    state.log(entry(503, items=0, note="fault: 503 answered"))

    text = report_text(state)
    rows = [line.split() for line in text.splitlines()]

    assert text.splitlines()[2].strip() == "1,200 events · 1 segment changed · 2 requests"
    assert ["purchase", "production", "1,200", "1"] in rows
    assert ["vip_users", "id_list", "userID", "1", "+12,000", "-", "12,001"] in rows
    assert ["POST", "log_event", "2", "1,200", "200", "202", "(1),", "503", "(1)"] in rows


def test_exposures_and_metrics_have_their_own_tables(state):
    gate = {"gateName": "new_cart", "passes": False, "ruleID": "rule-7", "user": PURCHASE["user"]}
    metric = {"user_id": "u1", "id_type": "user_id", "metric_name": "basket", "numerator": 3, "denominator": 5}
    state.take("exposures", {"exposures": [gate] * 2})
    state.take("metrics", {"metrics": [metric], "isTest": True})
    state.log(entry())

    text = report_text(state)

    assert "0 events · 2 exposures · 1 metric · 0 segments changed · 1 request" in text
    assert "new_cart  gate not passed  rule-7         production      2      1" in text
    assert "basket  user_id  test ratio      1      1" in text


def test_an_exposure_without_a_user_is_doubtful(state):
    state.take("exposures", {"exposures": [{"experimentName": "e", "group": "g", "user": None}]})

    (finding,) = findings_of(state)

    assert (finding.what, finding.why) == ("doubtful", NO_IDENTIFIER)


def test_the_first_event_of_each_name_is_shown_on_shortened_lines(state):
    take(state, [PURCHASE])
    state.log(entry())

    text = report_text(state)

    assert "user      userID=u1  email=someone@example.com  stableID=s1" in text
    assert "time      2023-11-14 22:13:20.123 UTC" in text
    assert "metadata  order_id=7  note=leave it at the door please" in text
    assert "…" in text


def test_a_wide_terminal_shows_the_first_event_in_full(state):
    take(state, [PURCHASE, PURCHASE | {"eventName": "refund"}])
    state.log(entry())

    first, second = report_text(state, width=120).partition("First of each")[2].split("refund production")

    assert (first.count("please"), first.count("…")) == (20, 0)
    assert second.count("…") == 1


def test_a_report_without_findings_says_so(state):
    take(state, [PURCHASE])
    state.log(entry())
    assert "Nothing needs attention." in report_text(state)
    state.log(entry(400, note="no"))
    assert "Nothing needs attention." not in report_text(state)


def test_brackets_in_names_are_printed(state):
    take(state, [PURCHASE | {"eventName": "[bold]"}])
    state.log(entry())

    assert 'silently dropped: "[bold]"' in report_text(state)


def test_without_requests_the_variables_are_explained(state):
    assert "--config ENV" in report_text(state)
    state.log(entry())
    assert "--config ENV" not in report_text(state)


def test_long_tables_end_with_the_number_of_rows_left_out(state):
    take(state, [PURCHASE | {"eventName": f"event {n}"} for n in range(MAX_ROWS + 5)])
    state.log(entry())

    assert "… and 5 more" in report_text(state)


def test_a_created_segment_is_shown_as_new(state):
    state.seed_segment("vip_users").created = True
    state.log(entry(201, path="/console/v1/segments"))

    text = report_text(state)

    assert "1 segment changed" in text
    assert ["vip_users", "id_list", "userID", "new", "-", "-", "0"] in [line.split() for line in text.splitlines()]


def test_findings_have_a_remedy(state):
    for method, path in (("GET", "vip%20users"), ("PATCH", "vip%20users/id_list")):
        state.log(entry(404, method, f"/console/v1/segments/{path}", 0, "Segment not found"))
    state.log(entry(401, note="Invalid API key"))
    state.log(entry(None, note="fault: connection dropped"))

    findings = findings_of(state, missing_identifier=Tally(2))

    assert findings[0] == Finding(
        2, "404", "segment 'vip users' not found", "start with --segment 'vip users', or set create_segment"
    )
    assert findings[1].remedy.startswith("the target does not use the key")
    assert findings[2].what == "no answer POST log_event"
    assert findings[3] == Finding(2, "dead-lettered", "missing_identifier")


def test_the_most_frequent_findings_come_first(state):
    for status, times in ((503, 1), (429, 3), (500, 2)):
        for _ in range(times):
            state.log(entry(status, note="no"))
    take(state, [PURCHASE | {"eventName": name} for name in ("a|b", "c|d", "c|d")])

    assert [
        (finding.count, finding.what.split()[0]) for finding in findings_of(state, few=Tally(1), many=Tally(5))
    ] == [
        (3, "429"),
        (2, "500"),
        (1, "503"),
        (2, "silently"),
        (1, "silently"),
        (5, "dead-lettered"),
        (1, "dead-lettered"),
    ]


def test_an_unknown_call_is_no_missing_segment(state):
    state.seed_segment("vip_users")
    state.log(entry(404, "GET", "/console/v1/segments/vip_users/rules", 0, "Cannot GET it"))
    state.log(entry(404, "GET", "/console/v1/segments/vip_users", 0, "fault: 404 answered"))

    assert [(finding.what, finding.why) for finding in findings_of(state)] == [
        ("404 GET segments/vip_users/rules", "Cannot GET it"),
        ("404 GET segments/vip_users", "fault: 404 answered"),
    ]


def test_a_missing_segment_created_later_is_no_finding(state):
    state.seed_segment("vip_users").created = True
    state.log(entry(404, "GET", "/console/v1/segments/vip_users", 0, "Segment not found"))
    state.log(entry(429, "PATCH", "/console/v1/segments/vip_users/id_list", 0, "Too many requests"))

    assert [finding.what for finding in findings_of(state)] == ["429 PATCH segments/vip_users/id_list"]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        pytest.param(0, "1970-01-01 00:00:00.000 UTC", id="epoch"),
        pytest.param(-1, "1969-12-31 23:59:59.999 UTC", id="before"),
        pytest.param(10**18, "1000000000000000000", id="out-of-range"),
        pytest.param("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", id="text"),
    ],
)
def test_times_are_shown_in_utc(time, text):
    assert show_time(time) == text


def test_an_event_without_a_user_is_shown_as_nobody():
    assert list(sample_lines({"eventName": "a"})) == [("user", "nobody")]
