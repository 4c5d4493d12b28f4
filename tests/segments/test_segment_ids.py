"""Segment ids of records and of the settings, in the path of a request."""

from __future__ import annotations

import pytest
from singer_sdk.exceptions import ConfigValidationError

from tests.singer import record, schema

BY_COLUMN = {"object_type": "segment", "segment_id_field": "list", "sync_mode": "add"}

ENCODED = [
    pytest.param("a/b", "a%2Fb", id="slash"),
    pytest.param("../unit_id_types", "..%2Funit_id_types", id="a level up"),
    pytest.param("a?b=1#c", "a%3Fb%3D1%23c", id="query and fragment"),
    pytest.param("a%2Fb", "a%252Fb", id="percent"),
    pytest.param("vip users", "vip%20users", id="blank"),
    pytest.param("vips;v=1&x", "vips%3Bv%3D1%26x", id="parameters"),
    pytest.param("café 中", "caf%C3%A9%20%E4%B8%AD", id="unicode"),
    pytest.param("...", "...", id="three dots"),
    pytest.param("segments", "segments", id="the name of the collection"),
    pytest.param("x" * 100, "x" * 100, id="the longest"),
]

UNUSABLE = [
    pytest.param(".", id="this level"),
    pytest.param("..", id="the next higher level"),
    pytest.param("", id="empty"),
    pytest.param(" ", id="blank"),
    pytest.param("x" * 101, id="too long"),
    pytest.param("a\r\nHost: elsewhere", id="line break"),
    pytest.param("a\x1b[31m", id="escape"),
    pytest.param("a\x9f", id="control character above ASCII"),
    pytest.param("a\ud800", id="half a surrogate pair"),
]


@pytest.fixture
def calls(statsig):
    """Collect the method and the path of each request, as it reached the server."""
    calls = []
    statsig.faults.add(when=lambda request: calls.append((request.method, request.path)))
    return calls


def requests_for(encoded):
    return [
        ("GET", f"/console/v1/segments/{encoded}"),
        ("PATCH", f"/console/v1/segments/{encoded}/id_list"),
    ]


@pytest.mark.parametrize(("name", "encoded"), ENCODED)
def test_a_segment_id_of_a_record_is_one_part_of_the_path(run_target, statsig, calls, name, encoded):
    statsig.state.seed_segment(name)
    outcome = run_target([schema("users"), record("users", {"user_id": "a", "list": name})], **BY_COLUMN)
    assert outcome.exit_code == 0
    assert calls == requests_for(encoded)
    assert statsig.state.ids(name) == {"a"}


@pytest.mark.parametrize(("name", "encoded"), ENCODED)
def test_a_segment_id_of_the_settings_is_one_part_of_the_path(run_target, statsig, calls, name, encoded):
    statsig.state.seed_segment(name)
    settings = {"object_type": "segment", "segment_id": name, "sync_mode": "add"}
    assert run_target([schema("users"), record("users", {"user_id": "a"})], **settings).exit_code == 0
    assert calls == requests_for(encoded)


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_record_with_an_invalid_segment_id_is_rejected(run_target, statsig, calls, name):
    statsig.state.seed_segment("vips")
    rows = [{"user_id": "a", "list": "vips"}, {"user_id": "b", "list": name}]
    outcome = run_target([schema("users"), *(record("users", row) for row in rows)], **BY_COLUMN)
    assert outcome.report["streams"]["users"]["reasons"] == {"invalid_segment_id": 1}
    assert calls == requests_for("vips")
    assert statsig.state.ids("vips") == {"a"}
    assert [letter["record"] for letter in run_target.dead_letters[1:]] == [rows[1]]


# In the settings, an empty id means that none is set.
@pytest.mark.parametrize("name", UNUSABLE[:2] + UNUSABLE[3:])
def test_an_invalid_segment_id_in_the_settings_is_refused(run_target, calls, name):
    with pytest.raises(ConfigValidationError) as caught:
        run_target([], object_type="segment", segment_id=name, sync_mode="add")
    assert "`segment_id` is not a valid segment id" in caught.value.errors[0]
    assert calls == []


@pytest.mark.parametrize("setting", ["events_url", "console_url"])
@pytest.mark.parametrize("ending", ["?project=1", "#top", " ", "\n"])
def test_a_base_url_that_no_path_can_follow_is_refused(run_target, statsig, setting, ending):
    address = {setting: f"{statsig.console_url}{ending}"}
    with pytest.raises(ConfigValidationError) as caught:
        run_target([], object_type="segment", segment_id="vips", sync_mode="add", **address)
    assert f"`{setting}` must be an address such as" in caught.value.errors[0]


def test_a_dry_run_accepts_a_segment_that_is_named_segments(run_target, statsig):
    statsig.state.seed_segment("segments")
    settings = {"object_type": "segment", "segment_id": "segments", "sync_mode": "add", "dry_run": True}
    outcome = run_target([schema("users"), record("users", {"user_id": "a"})], **settings)
    assert outcome.report["streams"]["users"]["segments"]["segments"]["added"] == 1
