"""Members of a table whose lines are read column by column, with odd lines among them."""

from __future__ import annotations

import pytest

from tests.singer import Blocks, record, schema, state, to_lines

MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror", "row_count_field": "rows"}
ADD = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
TEXT = {"type": ["string", "null"]}
TABLE = schema("users", {"user_id": TEXT, "rows": {"type": "integer"}, "_sdc_deleted_at": TEXT})


def user(name, rows=0, **more):
    return record("users", {"user_id": name, "rows": rows, "_sdc_deleted_at": None, **more})


def users(count, **more):
    return [user(f"u{number:03}", **more) for number in range(count)]


def members(statsig):
    return sorted(statsig.state.ids("vips"))


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", ["u000", "u001"])


def test_a_table_is_mirrored_by_its_row_count(run_target, statsig):
    outcome = run_target([TABLE, *users(40, rows=40)[1:], user("u900", rows=40)], **MIRROR, max_removal_percent=100)
    assert outcome.exit_code == 0
    assert outcome.report["streams"]["users"]["segments"]["vips"]["proof"] == "row_count"
    assert members(statsig) == [*(f"u{number:03}" for number in range(1, 40)), "u900"]


def test_row_counts_that_differ_prove_nothing(run_target, statsig):
    outcome = run_target([TABLE, user("u001", rows=2), user("u002", rows=3)], **MIRROR)
    assert outcome.report["streams"]["users"]["segments"]["vips"]["held"] == 1
    assert members(statsig) == ["u000", "u001", "u002"]


def test_odd_rows_among_plain_ones_are_judged_one_by_one(run_target, statsig):
    rows = [
        *users(10),
        user("u000", _sdc_deleted_at="2026-11-22"),
        user(""),
        user("u,1"),
        record("users", {"user_id": 7, "rows": 0, "_sdc_deleted_at": None}),
        record("users", {"user_id": "u050"}),
        *users(12)[10:],
    ]
    outcome = run_target([TABLE, *rows, state(users={})], **ADD, max_rejected_percent=100)
    assert outcome.report["streams"]["users"]["reasons"] == {
        "missing_identifier": 1,
        "invalid_identifier": 1,
        "schema_violation": 1,
    }
    assert outcome.report["streams"]["users"]["records"] == len(rows)
    assert members(statsig) == [*(f"u{number:03}" for number in range(1, 12)), "u050"]


def test_rows_before_an_unreadable_line_are_accepted(run_target, statsig):
    broken = to_lines(users(6)).replace(b'"u004"', b'"u004')
    outcome = run_target(Blocks([to_lines([TABLE]), broken]), **ADD)
    assert outcome.exit_code == 1
    assert "Line 6 of the input" in outcome.report["errors"][0]
    assert outcome.report["streams"]["users"]["records"] == 4


@pytest.mark.parametrize("more", [{}, {"beyond_the_schema": 1}])
def test_rows_with_missing_or_extra_columns_are_read(run_target, statsig, more):
    ragged = [record("users", {"user_id": f"u{number:03}", **more}) for number in range(400)]
    blocks = [to_lines(ragged[begin : begin + 10]) for begin in range(0, 400, 10)]
    outcome = run_target(Blocks([to_lines([TABLE]), *blocks, to_lines(users(40))]), **ADD)
    assert outcome.exit_code == 0
    assert len(members(statsig)) == 400
