from __future__ import annotations

import pytest

from target_statsig.segments.completeness import Sign
from target_statsig.segments.observer import begins_afresh, bookmarks_of, hints_at_incremental, signs_of
from tests.mirror.wire import mirroring, observe, records, state


@pytest.mark.parametrize(
    ("content", "signs"),
    [
        pytest.param({}, set(), id="empty"),
        pytest.param({"version": 1732247000000}, set(), id="version"),
        pytest.param({"last_replication_method": "FULL_TABLE"}, set(), id="full table by name"),
        pytest.param({"xmin": "24583736", "version": 1}, set(), id="xmin"),
        pytest.param({"partitions": [{"context": {"a": 1}}]}, set(), id="partitions"),
        pytest.param({"partitions": []}, set(), id="no partitions yet"),
        pytest.param({"partitions": None}, set(), id="partitions null"),
        pytest.param(
            {"progress_markers": {"replication_key": "id"}}, {Sign.PROGRESS_MARKERS}, id="a key in progress only"
        ),
        pytest.param({"replication_key": "id"}, {Sign.INCREMENTAL}, id="a key"),
        pytest.param({"replication_key_value": 0}, {Sign.INCREMENTAL}, id="a value of zero"),
        pytest.param({"replication_key": None, "replication_key_value": 7}, {Sign.INCREMENTAL}, id="a log position"),
        pytest.param({"replication_key": "id", "other": 1}, {Sign.INCREMENTAL}, id="a key among other things"),
        pytest.param({"partitions": [{}, {"replication_key": "id"}]}, {Sign.INCREMENTAL}, id="a partition's key"),
        pytest.param({"partitions": [{"replication_key_value": 7}]}, {Sign.INCREMENTAL}, id="a partition's value"),
        pytest.param(
            {"replication_key": None, "replication_key_value": None}, {Sign.UNKNOWN_BOOKMARK}, id="a null key"
        ),
        pytest.param({"updated_at": "2026-11-01"}, {Sign.UNKNOWN_BOOKMARK}, id="a column and its value"),
        pytest.param(
            {"last_replication_method": "LOG_BASED", "lsn": 7}, {Sign.UNKNOWN_BOOKMARK}, id="a log position's column"
        ),
        pytest.param({"last_replication_method": "INCREMENTAL"}, {Sign.UNKNOWN_BOOKMARK}, id="another method"),
        pytest.param({"context": {}}, {Sign.UNKNOWN_BOOKMARK}, id="a context outside a partition"),
        pytest.param({"partitions": [{"context": {}, "page": 2}]}, {Sign.UNKNOWN_BOOKMARK}, id="a partition's page"),
        pytest.param({"partitions": ["a"]}, {Sign.UNKNOWN_BOOKMARK}, id="a partition that is no object"),
        pytest.param({"partitions": "a"}, {Sign.UNKNOWN_BOOKMARK}, id="partitions that are no list"),
        pytest.param("2026-11-01", {Sign.UNKNOWN_BOOKMARK}, id="a string"),
        pytest.param(7, {Sign.UNKNOWN_BOOKMARK}, id="a number"),
    ],
)
def test_a_bookmark_shows_the_signs_of_its_stream(content, signs):
    assert signs_of(content) == signs


def in_progress(content):
    return Sign.PROGRESS_MARKERS in observe(records("vips"), state(vips=content)).seen("vips").signs


@pytest.mark.parametrize("key", ["progress_markers", "starting_replication_value", "replication_key_signpost"])
def test_progress_in_a_bookmark_is_recognized(key):
    assert signs_of({key: {}}) == {Sign.PROGRESS_MARKERS}
    assert in_progress({key: {}})
    assert in_progress({"partitions": [{"context": {}}, {key: None}]})
    assert not in_progress({"partitions": [{"context": {key: "a"}}]})


@pytest.mark.parametrize(
    ("content", "afresh"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"version": 1, "last_replication_method": "FULL_TABLE", "xmin": None}, True, id="nulls"),
        pytest.param({"partitions": [{"context": {"file": "a.csv"}}]}, True, id="partitions without content"),
        pytest.param({"xmin": 1010}, False, id="a position"),
        pytest.param({"last_pk_fetched": {"id": 3}}, False, id="a key"),
        pytest.param({"page": 0}, False, id="a page"),
        pytest.param({"partitions": [{"context": {}, "page": 2}]}, False, id="a partition's page"),
        pytest.param({"progress_markers": {}}, False, id="progress"),
        pytest.param("2026-11-01", False, id="a text"),
    ],
)
def test_a_tap_begins_a_full_table_afresh_without_a_position(content, afresh):
    assert begins_afresh(content) is afresh


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(None, None, id="null"),
        pytest.param({}, {}, id="nothing"),
        pytest.param({"bookmarks": ["vips"]}, {"bookmarks": ["vips"]}, id="bookmarks that are a list"),
        pytest.param({"bookmarks": {"vips": {"version": 1}}}, {"bookmarks": {"vips": {"version": 1}}}, id="afresh"),
        pytest.param(
            {"bookmarks": {"vips": {"page": 2}, "z": {"id": 1}}}, {"bookmarks": {"z": {"id": 1}}}, id="a page"
        ),
        pytest.param({"currently_syncing": "vips", "x": 1}, {"x": 1}, id="syncing it"),
        pytest.param({"currently_syncing": "z"}, {"currently_syncing": "z"}, id="syncing another"),
        pytest.param({"currently_syncing": ["vips"]}, {"currently_syncing": ["vips"]}, id="syncing no name"),
    ],
)
def test_a_state_omits_what_would_resume_a_mirrored_stream(value, written):
    assert mirroring("vips").without_resumption(value) == written


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param("bookmarks", id="a string"),
        pytest.param({}, id="nothing"),
        pytest.param({"bookmarks": None}, id="null bookmarks"),
        pytest.param({"bookmarks": [{"vips": {}}]}, id="a list of bookmarks"),
        pytest.param({"bookmarks": {"vips": None}}, id="a null bookmark"),
        pytest.param({"vips": {"replication_key": "id"}}, id="no bookmarks, but streams"),
    ],
)
def test_a_state_may_have_no_bookmarks(value):
    assert bookmarks_of(value) == {}


@pytest.mark.parametrize(
    ("message", "hints"),
    [
        pytest.param({"bookmark_properties": ["updated_at"]}, True, id="bookmark properties"),
        pytest.param({"bookmark_properties": []}, False, id="no bookmark properties"),
        pytest.param({"schema": {"properties": {"_sdc_lsn": {}, "id": {}}}}, True, id="a log position's column"),
        pytest.param({"schema": {"properties": {"id": {}}}}, False, id="plain columns"),
        pytest.param({"schema": {"properties": None}}, False, id="no columns"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_a_schema_may_hint_at_an_incremental_stream(message, hints):
    assert hints_at_incremental(message) is hints
