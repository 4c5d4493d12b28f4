from __future__ import annotations

from collections import Counter

import pytest

from target_statsig.client.console import Segment
from target_statsig.commands.check import EVERY_STREAM, Found, Mark, failed, sections
from target_statsig.commands.replay import WaitingLetters
from target_statsig.config.parse import parse_config
from target_statsig.config.settings import config_schema
from target_statsig.errors import RefusedError, RequestError
from target_statsig.store.readonly import StoreStatus
from target_statsig.store.tables import SegmentFacts
from tests.fakes import NOON

KEYS = {"server_secret_key": "secret-0123456789", "console_api_key": "console-abcdefghij"}
EVENT = {"object_type": "event"}
ADD = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
ID_TYPES = ("userID", "stableID", "companyID")
STORE = StoreStatus("sqlite:////data/store.db")
NO_LETTERS = WaitingLetters("d", 0, Counter(), writable=True)
FACTS = SegmentFacts(fed_by="users", last_sync_at=NOON)


def rows(
    title,
    streams,
    *,
    console=None,
    id_types=("userID", "stableID", "companyID"),
    store=STORE,
    letters=NO_LETTERS,
    **segments,
):
    """Return the rows under one title as texts."""
    config = parse_config({**KEYS, "streams": streams}, config_schema())
    settings = {name: config.for_stream(name) for name in config.entries}
    found = Found(console, id_types, segments, store, letters, NOON + 60)
    made = sections(config.settings, settings, found)
    return [f"{row.mark.value} {row.name} {row.found} {row.remedy}".rstrip() for row in made.get(title, [])]


def segment(segment_type="id_list", id_type="userID", count=480):
    return Segment("vips", segment_type, id_type, count)


def test_a_server_key_is_never_reported_as_accepted():
    (text, _) = rows("Keys", {"orders": EVENT})
    assert text.startswith(
        "? server_secret_key The key used ends in `…6789`. It may be revoked, or lack a permission. Only a run can test"
    )


def test_a_console_key_is_accepted_or_refused_with_the_reason():
    assert rows("Keys", {"users": ADD})[1] == "ok console_api_key accepted by Statsig, ends in …ghij"
    assert rows("Keys", {"users": ADD}, console="Statsig does not accept it.", id_types=None)[1] == (
        "FAIL console_api_key Statsig does not accept it."
    )


def test_a_console_key_that_no_stream_needs_is_checked():
    assert rows("Keys", {"orders": EVENT})[1].endswith("; only checks use it, because no stream goes to a segment")


@pytest.mark.parametrize(
    ("streams", "found", "text"),
    [
        pytest.param(
            {"users": ADD},
            segment(),
            "ok vips id_list of userID, 480 members (small: it travels with the gates). Fed by stream 'users' (add).",
            id="fits",
        ),
        pytest.param(
            {"users": ADD},
            segment(count=1),
            "ok vips id_list of userID, 1 member (small: it travels with the gates). Fed by stream 'users' (add).",
            id="one member",
        ),
        pytest.param(
            {"users": ADD, "more": ADD},
            segment("user_store_id_list", count=1_001),
            "ok vips user_store_id_list of userID, 1,001 members (over 1,000: it reaches SDKs by a slower path). Fed "
            "by stream 'users' (add), stream 'more' (add).",
            id="larger, fed by two",
        ),
        pytest.param(
            {"*": ADD},
            segment(count=10_001),
            "ok vips id_list of userID, 10,001 members (over 10,000: it reaches SDKs by the slowest path, and not on "
            "every plan). Fed by every other stream (add).",
            id="largest, fed by all",
        ),
        pytest.param(
            {"users": ADD},
            segment("rule_based"),
            "FAIL vips is of type rule_based, but must be an ID list (id_list). Fed by stream 'users' (add). Create an "
            "ID list segment in the Statsig console and name it in `segment_id`.",
            id="wrong type",
        ),
        pytest.param(
            {"users": {**ADD, "id_type": "stable_id"}},
            segment(),
            "FAIL vips holds ids of type userID, but the stream is configured for stableID. Fed by stream 'users' "
            "(add). Set `id_type` (and `custom_id_type`) to the segment's ID type, or name another segment in "
            "`segment_id`.",
            id="wrong ID type",
        ),
        pytest.param(
            {"users": ADD},
            RefusedError("404", status=404, message="Segment not found"),
            "FAIL vips does not exist in this Statsig project (404: Segment not found). Fed by stream "
            "'users' (add). Check `segment_id` for a typo, create an ID list of ID type userID in the console, or "
            "set `create_segment` to true.",
            id="missing",
        ),
        pytest.param(
            {"users": {**ADD, "create_segment": True}},
            RefusedError("404", status=404, message="Segment not found"),
            "ok vips does not exist yet. The first run creates it as an ID list of userID. Fed by stream 'users' "
            "(add).",
            id="to be created",
        ),
        pytest.param(
            {"users": ADD},
            RequestError("It broke."),
            "FAIL vips It broke. Fed by stream 'users' (add).",
            id="unreadable",
        ),
    ],
)
def test_a_segment_row_shows_its_fit_and_its_streams(streams, found, text):
    assert rows("Segments", streams, vips=found) == [text]


def test_streams_with_different_id_types_are_separate_rows():
    marks = [
        text.split()[0] for text in rows("Segments", {"a": ADD, "b": {**ADD, "id_type": "stable_id"}}, vips=segment())
    ]
    assert marks == ["ok", "FAIL"]


def test_a_segment_is_unknown_when_the_console_api_cannot_be_read():
    (text,) = rows("Segments", {"users": ADD}, console="No answer.", id_types=None)
    assert text == (
        "? vips not checked, because the Console API cannot be read (see above). Fed by stream 'users' (add)."
    )


@pytest.mark.parametrize(
    ("stream", "mark"),
    [
        pytest.param("users", "ok", id="same stream"),
        pytest.param("user*", "ok", id="matching glob"),
        pytest.param("customers", "FAIL", id="another stream"),
    ],
)
def test_a_segment_mirrored_by_another_stream_fails(stream, mark):
    mirror = {**ADD, "sync_mode": "mirror"}
    (text,) = rows("Segments", {stream: mirror}, store=StoreStatus("", 1, segments={"vips": FACTS}), vips=segment())
    assert text.startswith(mark)
    assert ("is mirrored from stream 'users' (last on 2026-11-22T12:00:00+00:00)" in text) is (mark == "FAIL")


def test_segments_named_in_records_are_unknown():
    stream = {"object_type": "segment", "segment_id_field": "audience", "sync_mode": "mirror"}
    (text,) = rows("Segments", {"user?": stream})
    assert text == (
        "? (audience) stream 'user?' (mirror) names its segments in this column, so they are known only when its "
        "records come."
    )


@pytest.mark.parametrize(
    ("name", "id_types", "text"),
    [
        pytest.param("companyID", ["userID", "companyID"], "ok companyID exists in the project.", id="exists"),
        pytest.param("stableID", ["userID"], "ok stableID exists in the project.", id="built in"),
        pytest.param(
            "companyId",
            ["userID", "companyID"],
            "FAIL companyId is not an ID type of the project, which has userID, companyID.",
            id="case",
        ),
        pytest.param("x", None, "? x cannot be checked without a valid `console_api_key`; case matters.", id="unknown"),
    ],
)
def test_an_id_type_is_compared_with_those_of_the_project(name, id_types, text):
    (row,) = rows("ID types", {"orders": {**EVENT, "custom_ids": {name: "column"}}}, id_types=id_types)
    assert row.startswith(f"{text} Named in `custom_ids` of stream 'orders'.")


@pytest.mark.parametrize(
    ("id_type", "remedy"),
    [
        pytest.param("companyId", "Did you mean `companyID`? Case matters.", id="other case"),
        pytest.param("compnyID", "Did you mean `companyID`? Case matters.", id="typo"),
        pytest.param("zzz", "Create it in the Statsig console, or use one of these.", id="nothing near"),
    ],
)
def test_the_nearest_id_type_is_suggested(id_type, remedy):
    (row,) = rows("ID types", {"orders": {**EVENT, "custom_ids": {id_type: "column"}}})
    assert row.endswith(remedy)


def test_the_id_type_of_a_segment_is_checked():
    stream = {**ADD, "id_type": "custom_id", "custom_id_type": "COMPANYID"}
    (row,) = rows("ID types", {"users": stream}, vips=segment(id_type="companyID"))
    assert "Named in `custom_id_type` of stream 'users'. Did you mean `companyID`? Case matters." in row


@pytest.mark.parametrize(
    ("store", "text"),
    [
        pytest.param(
            StoreStatus("s"),
            "ok store_url s: does not exist yet. The first run that needs it creates it",
            id="new",
        ),
        pytest.param(
            StoreStatus("s", writable=False),
            "FAIL store_url s: does not exist yet, and cannot be written Let this user write there, or set "
            "`store_url` to a place that it can write to.",
            id="cannot be created",
        ),
        pytest.param(StoreStatus("s", 2), "ok store_url s: version 2, writable", id="exists"),
        pytest.param(
            StoreStatus("s", 2, writable=False),
            "FAIL store_url s: version 2, and cannot be written Let this user write there, or set `store_url` to a "
            "place that it can write to.",
            id="read-only",
        ),
        pytest.param("it is damaged", "FAIL store_url it is damaged", id="error"),
    ],
)
def test_the_store_row_shows_whether_a_run_can_use_it(store, text):
    assert rows("Store", {"orders": EVENT}, store=store) == [text]


@pytest.mark.parametrize(
    ("letters", "text"),
    [
        pytest.param(
            NO_LETTERS,
            "ok dead_letter_path d: writable; none is waiting",
            id="none",
        ),
        pytest.param(
            WaitingLetters("s3://d", 0, Counter()),
            "ok dead_letter_path s3://d: whether it is writable shows at the first dead letter; none is waiting",
            id="remote",
        ),
        pytest.param(
            WaitingLetters("d", 2, Counter(invalid_time=1, missing_identifier=1_000), writable=True),
            "? dead_letter_path d: writable; 1,001 records waiting (missing_identifier 1,000, invalid_time 1) Once the "
            "cause is fixed, send them again: target-statsig --config … --replay",
            id="waiting",
        ),
        pytest.param(
            WaitingLetters("d", 0, Counter(), writable=False),
            "FAIL dead_letter_path d: cannot be written Let this user read and write there, or set `dead_letter_path` "
            "to a place that it may write.",
            id="read-only",
        ),
        pytest.param(
            WaitingLetters("d", 0, Counter(), "Permission denied"),
            "FAIL dead_letter_path d: cannot be read (Permission denied) Let this user read and write there, or set "
            "`dead_letter_path` to a place that it may write.",
            id="unreadable",
        ),
    ],
)
def test_the_dead_letter_row_shows_records_and_writability(letters, text):
    assert rows("Dead letters", {"orders": EVENT}, letters=letters) == [text]


def test_a_tier_outside_the_defaults_is_reported():
    streams = {"a": {**EVENT, "environment_tier": "qa"}, "b": {**EVENT, "environment_tier": "staging"}}
    (row,) = rows("Environments", streams)
    assert row == (
        "? qa is not one of production, staging, development, so the project must have an environment of this name. "
        "Named in `environment_tier` of stream 'a'."
    )
    del streams["a"]
    assert rows("Environments", streams) == []


def test_only_failures_are_counted():
    config = parse_config({**KEYS, "streams": {"users": ADD}}, config_schema())
    made = sections(
        config.settings, {EVERY_STREAM: config.for_stream("users")}, Found("no", None, {}, STORE, NO_LETTERS, NOON)
    )
    assert failed(made) == 1
    assert {row.mark for rows in made.values() for row in rows} == set(Mark)
