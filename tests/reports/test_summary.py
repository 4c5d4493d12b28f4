from __future__ import annotations

from collections import Counter

import pytest

from target_statsig.config.settings import ObjectType, SyncMode
from target_statsig.reports.report import RunReport, SegmentCounts
from target_statsig.reports.summary import summary


@pytest.fixture
def report():
    return RunReport(started_at=100.0)


def lines(report):
    return summary(report, 1_300.25)


def orders(report, **counts):
    items = report.items("orders", ObjectType.EVENT)
    for name, value in counts.items():
        setattr(items, name, value)


def users(report, **counts):
    members = report.members("vip_customers")
    members.records = 500
    members.segments["vip_users"] = SegmentCounts(SyncMode.MIRROR, **counts)
    return members


def test_a_run_is_a_short_table(report):
    orders(report, records=1_000, delivered=990, rejected=10, reasons=Counter(invalid_time=7, missing_event_name=3))
    users(report, before=480, added=30, removed=10, unchanged=470, after=500)
    assert lines(report) == [
        "Run complete after 1,200.2 s",
        "  stream         becomes   records  delivered  rejected",
        "  orders         events      1,000        990        10",
        "  vip_customers  segments      500          -         0",
        "  segment    mode    before  added  removed  unchanged  after",
        "  vip_users  mirror     480     30       10        470    500",
        "  orders: 10 rejected: invalid_time 7, missing_event_name 3",
    ]


def test_a_run_that_read_nothing_is_one_line(report):
    assert lines(report) == ["Run complete after 1,200.2 s"]


def test_a_failed_run_names_each_kind_of_failure_once(report):
    for error in ("The store cannot be used: a", "The store cannot be used: b", "Too many records were rejected: c"):
        report.fail(error)
    assert lines(report) == ["Run failed after 1,200.2 s: The store cannot be used, Too many records were rejected"]


def test_columns_that_are_mostly_empty_come_when_they_are_not(report):
    orders(report, records=10, delivered=4, skipped_duplicates=3, rejected=1, retries=5, reasons=Counter(x=1))
    header, row = lines(report)[1:3]
    assert header.split("  ")[1:] == [
        "stream",
        "becomes",
        "records",
        "delivered",
        "not sent",
        "skipped",
        "rejected",
        "retries",
    ]
    assert row.split() == ["orders", "events", "10", "4", "2", "3", "1", "5"]


@pytest.mark.parametrize(
    ("counts", "remark"),
    [
        pytest.param({"records": 1}, "what was not sent comes again with the next run", id="not sent"),
        pytest.param(
            {"records": 2, "skipped_duplicates": 2}, "2 skipped, since an earlier run delivered them", id="skipped"
        ),
        pytest.param(
            {"maybe_duplicated": 3}, "3 perhaps delivered twice, since an answer was lost or unclear", id="doubt"
        ),
        pytest.param({"time_defaulted": 4}, "4 without a time of their own", id="no time"),
        pytest.param({"renamed": {"a;b": "a_b"}}, "names made valid: 'a;b' → 'a_b'", id="renamed"),
    ],
)
def test_what_stands_out_is_said_below_the_table(report, counts, remark):
    orders(report, **counts)
    assert lines(report)[3:] == [f"  orders: {remark}"]


@pytest.mark.parametrize(
    ("counts", "cell", "remark"),
    [
        pytest.param(
            {"held": 12, "held_since": "2026-11-20", "held_because": "unproven"},
            "12",
            "12 held since 2026-11-20 (unproven)",
            id="held",
        ),
        pytest.param(
            {"held": 12, "held_because": "too_many"}, "12", "12 held (too_many)", id="held for the first time"
        ),
        pytest.param({"held": None}, "?", "could not tell whom to remove", id="not told"),
    ],
)
def test_could_not_tell_is_not_nothing_to_remove(report, counts, cell, remark):
    users(report, before=480, unchanged=470, after=480, **counts)
    header, row = lines(report)[3:5]
    assert dict(zip(header.split(), row.split(), strict=True))["held"] == cell
    assert lines(report)[5:] == [f"  vip_users: {remark}"]


def test_what_is_not_known_is_no_zero(report):
    users(report)
    assert lines(report)[4].split() == ["vip_users", "mirror", "?", "0", "0", "?", "?"]


def test_rows_do_not_ask_who_else_is_in_the_segment(report):
    report.members("rows").segments["vips"] = SegmentCounts(SyncMode.ADD, before=3, added=2)
    assert lines(report)[4].split() == ["vips", "add", "3", "2", "0", "-", "-"]
