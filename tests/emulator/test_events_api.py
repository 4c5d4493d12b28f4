"""The emulated events API, over a socket."""

from __future__ import annotations

import gzip
import json

import pytest
import requests

from tests.emulator.calls import call_events

EVENT = {"eventName": "purchase", "time": 1_700_000_000_000, "user": {"userID": "u1"}, "value": 89.99}

EXPOSURE = {"experimentName": "checkout", "group": "Test", "time": 1_700_000_000_000, "user": {"userID": "u1"}}

CHECK = {
    "gateName": "new_cart",
    "passes": True,
    "ruleID": "rule-7",
    "time": 1_700_000_000_000,
    "user": {"userID": "u1"},
}

METRIC = {"user_id": "u1", "id_type": "user_id", "metric_name": "net_revenue", "metric_value": 89.99}

RATIO = {"user_id": "c1", "id_type": "companyID", "metric_name": "basket", "numerator": 3, "denominator": 15}


def test_an_event_is_kept_as_it_was_sent(statsig):
    answer = call_events(statsig, {"events": [EVENT]})

    assert (answer.status_code, answer.json()) == (202, {"success": True})
    assert statsig.state.events == [EVENT]


def test_a_gzip_body_is_decompressed(statsig):
    body = gzip.compress(json.dumps({"events": [EVENT]}).encode())

    assert call_events(statsig, body, **{"content-encoding": "gzip"}).status_code == 202
    assert statsig.state.events == [EVENT]
    assert statsig.state.requests[0].size == len(body)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(b'{"events": []}', "gzip", id="not-gzip"),
        pytest.param(gzip.compress(b'{"events": []}')[:-9], "gzip", id="cut-off"),
        pytest.param(b'{"events": []}', "br", id="unknown-encoding"),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(statsig, body, encoding):
    assert call_events(statsig, body, **{"content-encoding": encoding}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="not-json"),
        pytest.param(b'{"events": [{"eventName": "\xff"}]}', id="not-utf-8"),
        pytest.param(b'{"events": ' + b"[" * 100_000, id="too-deep"),
        pytest.param(b'{"events": [{"eventName": "a", "metadata": {"a": ' + b"[" * 100_000, id="metadata-too-deep"),
        pytest.param({}, id="no-events"),
        pytest.param({"events": []}, id="empty-list"),
        pytest.param({"events": [{}]}, id="no-name"),
        pytest.param({"events": [EVENT, {"eventName": ""}]}, id="one-empty-name"),
        pytest.param({"events": [EVENT | {"time": 1.5}]}, id="time-a-fraction"),
        pytest.param({"events": [EVENT | {"time": "yesterday"}]}, id="time-not-iso"),
        pytest.param({"events": [EVENT | {"value": True}]}, id="value-a-boolean"),
        pytest.param({"events": [EVENT | {"metadata": ["n"]}]}, id="metadata-not-an-object"),
        pytest.param({"events": [EVENT | {"user": "u1"}]}, id="user-not-an-object"),
        pytest.param({"events": [EVENT | {"user": {"userID": 1}}]}, id="user-id-a-number"),
        pytest.param({"events": [EVENT | {"user": {"statsigEnvironment": {"tier": 1}}}]}, id="tier-a-number"),
    ],
)
def test_an_invalid_body_is_refused_as_a_whole(statsig, body):
    assert call_events(statsig, body).status_code == 400
    assert statsig.state.events == []
    assert "Invalid request body" in statsig.state.requests[0].note


def without(item, *keys, **more):
    return {key: value for key, value in item.items() if key not in keys} | more


def test_exposures_and_metrics_are_kept_as_they_were_sent(statsig):
    assert call_events(statsig, {"exposures": [EXPOSURE, CHECK]}, "log_custom_exposure").status_code == 202
    assert call_events(statsig, {"metrics": [METRIC, RATIO], "isTest": True}, "log_custom_metric").status_code == 202

    assert statsig.state.items("exposures") == [EXPOSURE, CHECK]
    assert statsig.state.items("metrics") == [METRIC, RATIO]
    shown = statsig.state.to_json()
    assert shown["exposures"] == [EXPOSURE, CHECK]
    assert shown["exposure_counts"][1] == {
        "name": "new_cart",
        "kind": "gate passed",
        "group_or_rule": "rule-7",
        "tier": "",
        "users": 1,
        "count": 1,
    }
    assert shown["metric_counts"][1] == {
        "name": "basket",
        "id_type": "companyID",
        "kind": "test ratio",
        "units": 1,
        "count": 1,
    }


def test_exposures_that_are_only_counted_are_not_kept(statsig_factory):
    statsig = statsig_factory(keep_events="counts")

    call_events(statsig, {"exposures": [EXPOSURE] * 3}, "log_custom_exposure")

    assert statsig.state.items("exposures") == []
    assert statsig.state.logs["exposures"].count == 3


@pytest.mark.parametrize(
    ("call", "body"),
    [
        pytest.param("log_event", {"events": [EVENT | {"statsigMetadata": None}]}, id="event"),
        pytest.param(
            "log_event", {"events": [EVENT | {"secondaryExposures": None, "metadata": None}]}, id="event metadata"
        ),
        pytest.param(
            "log_event", {"events": [{"eventName": "e", "user": None, "time": None, "value": None}]}, id="event user"
        ),
        pytest.param("log_event", {"events": [EVENT], "statsigMetadata": None, "user": None}, id="request"),
        pytest.param(
            "log_custom_exposure",
            {"exposures": [EXPOSURE | {"secondaryExposures": None}], "statsigMetadata": None},
            id="exposure",
        ),
        pytest.param("log_custom_metric", {"metrics": [METRIC], "isTest": None}, id="metric"),
    ],
)
# Statsig's SDKs send such nulls.
def test_optional_members_may_be_null(statsig, call, body):
    assert call_events(statsig, body, call).status_code == 202


@pytest.mark.parametrize(
    ("call", "items", "item"),
    [
        pytest.param("log_custom_exposure", "exposures", without(EXPOSURE, "group"), id="neither group nor rule"),
        pytest.param("log_custom_exposure", "exposures", without(EXPOSURE, ruleID="r"), id="both group and rule"),
        pytest.param("log_custom_exposure", "exposures", without(EXPOSURE, "experimentName"), id="no experiment"),
        pytest.param("log_custom_exposure", "exposures", {**EXPOSURE, "experimentName": ""}, id="an empty experiment"),
        pytest.param("log_custom_exposure", "exposures", {**CHECK, "experimentName": "e"}, id="experiment and gate"),
        pytest.param("log_custom_exposure", "exposures", without(CHECK, "passes"), id="a gate without passes"),
        pytest.param("log_custom_exposure", "exposures", {**CHECK, "passes": "true"}, id="passes as a string"),
        pytest.param("log_custom_exposure", "exposures", {**EXPOSURE, "group": ""}, id="an empty group"),
        pytest.param("log_custom_exposure", "exposures", {**EXPOSURE, "time": 1.5}, id="a fractional time"),
        pytest.param("log_custom_metric", "metrics", without(METRIC, "metric_value"), id="no value"),
        pytest.param("log_custom_metric", "metrics", {**METRIC, **RATIO}, id="both kinds of value"),
        pytest.param("log_custom_metric", "metrics", without(RATIO, "denominator"), id="half a ratio"),
        pytest.param("log_custom_metric", "metrics", {**METRIC, "metric_value": "1"}, id="a value as a string"),
        pytest.param("log_custom_metric", "metrics", without(METRIC, "id_type"), id="no ID type"),
        pytest.param("log_custom_metric", "metrics", {**METRIC, "user_id": ""}, id="no user"),
        pytest.param("log_custom_metric", "metrics", {**METRIC, "metric_name": ""}, id="no name"),
    ],
)
def test_an_invalid_item_refuses_its_whole_request(statsig, call, items, item):
    valid = EXPOSURE if items == "exposures" else METRIC

    assert call_events(statsig, {items: [valid, item]}, call).status_code == 400
    assert statsig.state.logs[items].count == 0


@pytest.mark.parametrize(
    ("key", "part"),
    [
        pytest.param("", "Missing API key", id="none"),
        pytest.param("console-emulator", "not the Server Secret Key", id="console"),
        pytest.param("secret-other", "not the Server Secret Key of this project", id="another-project"),
    ],
)
def test_the_events_api_requires_the_server_secret_key(statsig, key, part):
    answer = call_events(statsig, {"events": [EVENT]}, **{"statsig-api-key": key})

    assert answer.status_code == 401
    assert part in answer.json()["message"]


def test_events_with_forbidden_names_are_accepted_and_dropped(statsig):
    names = ["ok", "a{b", "50%", 'say "x"', "two\nlines", "statsig::gate_exposure"]

    assert call_events(statsig, {"events": [EVENT | {"eventName": name} for name in names]}).status_code == 202
    assert [event["eventName"] for event in statsig.state.events] == ["ok"]
    assert {name for name, _ in statsig.state.logs["events"].dropped} == set(names[1:])


def test_too_many_events_are_413(statsig):
    assert call_events(statsig, {"events": [EVENT] * 3_001}).status_code == 413
    assert call_events(statsig, {"events": [EVENT] * 3_000}).status_code == 202


def test_a_body_over_10_mb_is_accepted_and_dropped(statsig):
    body = {"events": [EVENT | {"metadata": {"text": "x" * 10_000_000}}]}

    assert call_events(statsig, body).status_code == 202
    assert statsig.state.events == []
    assert "10,000,000 bytes" in statsig.state.requests[0].note


def test_a_wrong_event_count_is_refused(statsig):
    assert call_events(statsig, {"events": [EVENT]}, **{"statsig-event-count": "2"}).status_code == 400


@pytest.mark.parametrize(("keep", "kept"), [("all", 4), ("samples", 2), ("counts", 0)])
def test_keep_events_decides_which_events_are_kept(statsig_factory, keep, kept):
    statsig = statsig_factory(keep_events=keep)
    call_events(statsig, {"events": [EVENT, EVENT, EVENT, EVENT | {"eventName": "other"}]})

    assert len(statsig.state.events) == kept
    assert statsig.state.logs["events"].count == 4


def test_an_unknown_path_is_404(statsig):
    assert requests.post(f"{statsig.events_url}/initialize", timeout=10).status_code == 404
    assert requests.get(f"{statsig.url}/nothing", timeout=10).status_code == 404
