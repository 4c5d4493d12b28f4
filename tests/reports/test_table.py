from __future__ import annotations

from collections import Counter

import pytest

from target_statsig.client.dry_run import ListChanges
from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.errors import Heading
from target_statsig.reports.report import MOST_NAMES, ItemCounts, RunReport, SegmentCounts
from target_statsig.reports.text import SHOWN_NAMES, Forecast, id_lines, run_table
from tests.tables import table_row


@pytest.fixture
def report():
    return RunReport(started_at=100.0)


def lines(report):
    return run_table(report, 1_300.25)


def add_events(report, **counts):
    items = report.items("orders", ObjectType.EVENT)
    for name, value in counts.items():
        setattr(items if hasattr(items, name) else items.warnings, name, value)


def add_members(report, **counts):
    members = report.members("vip_customers")
    members.records = 500
    members.segments["vip_users"] = SegmentCounts(SyncMode.MIRROR, **counts)
    return members


def test_a_run_is_shown_as_a_table(report):
    reasons = Counter(invalid_time=7, missing_event_name=3)
    sent = {"requests": 2, "bytes_sent": 80_123, "billable": 990}
    add_events(report, records=1_000, delivered=990, rejected=10, reasons=reasons, **sent)
    add_members(report, before=480, added=30, removed=10, unchanged=470, after=500, requests=2)
    assert lines(report) == [
        "Run complete after 1,200.2 s",
        "  stream         becomes   records  delivered  rejected  requests   bytes  billed",
        "  orders         events      1,000        990        10         2  80,123     990",
        "  vip_customers  segments      500          -         0         -       -       -",
        "  segment    mode    before  added  removed  unchanged  after  requests",
        "  vip_users  mirror     480     30       10        470    500         2",
        "  orders: 10 rejected: invalid_time 7, missing_event_name 3",
    ]


def test_a_run_without_streams_is_one_line(report):
    assert lines(report) == ["Run complete after 1,200.2 s"]


def test_a_failed_run_names_each_heading_once(report):
    for heading, detail in ((Heading.STORE, "a"), (Heading.STORE, "b"), (Heading.REJECTIONS, "c")):
        report.fail(f"{heading.value}: {detail}", heading)
    assert lines(report) == ["Run failed after 1,200.2 s: The store cannot be used, Too many records were rejected"]


def test_optional_columns_are_shown_when_they_have_a_count(report):
    add_events(report, records=10, delivered=4, skipped_duplicates=3, rejected=1, retries=5, reasons=Counter(x=1))
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
        "requests",
        "bytes",
        "billed",
    ]
    assert row.split() == ["orders", "events", "10", "4", "2", "3", "1", "5", "0", "0", "0"]


@pytest.mark.parametrize(
    ("counts", "remark"),
    [
        pytest.param({"records": 1}, "the next run sends what was not sent", id="not sent"),
        pytest.param(
            {"records": 2, "skipped_duplicates": 2}, "2 skipped, because an earlier run delivered them", id="skipped"
        ),
        pytest.param(
            {"maybe_duplicated": 3},
            "3 perhaps delivered twice, because an answer was lost or unclear",
            id="perhaps twice",
        ),
        pytest.param({"time_defaulted": 4}, "4 without a time", id="no time"),
        pytest.param({"renamed": {"a;b": "a_b"}}, "names made valid: 'a;b' → 'a_b'", id="renamed"),
    ],
)
def test_remarks_are_shown_below_the_table(report, counts, remark):
    add_events(report, **counts)
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
        pytest.param({"held": None}, "?", "the members to remove are not known", id="unknown"),
    ],
)
def test_held_members_are_shown_with_the_reason(report, counts, cell, remark):
    add_members(report, before=480, unchanged=470, after=480, **counts)
    header, row = lines(report)[3:5]
    assert dict(zip(header.split(), row.split(), strict=True))["held"] == cell
    assert lines(report)[5:] == [f"  vip_users: {remark}"]


def test_unknown_counts_are_shown_as_question_marks(report):
    add_members(report)
    assert lines(report)[4].split() == ["vip_users", "mirror", "?", "0", "0", "?", "?", "0"]


def test_counts_of_other_members_are_left_out_for_added_rows(report):
    report.members("rows").segments["vips"] = SegmentCounts(SyncMode.ADD, before=3, added=2)
    assert lines(report)[4].split() == ["vips", "add", "3", "2", "0", "-", "-", "0"]


# A dry run


@pytest.fixture
def dry_report():
    return RunReport(0.0, dry_run=True)


def dry_lines(report, *, waits=0.0, has_server_key=True):
    return "\n".join(run_table(report, 10.0, Forecast(waits, has_server_key)))


def test_a_dry_run_has_the_table_of_a_run(report, dry_report):
    for one in (report, dry_report):
        add_events(one, records=10, delivered=8, rejected=2, reasons=Counter(invalid_time=2))
        add_members(one, before=480, added=30, held=3, held_because="unproven")
    first, *others = run_table(dry_report, 10.0, Forecast(0.0, has_server_key=True))
    assert first == "Dry run complete after 10.0 s. Nothing was changed. A run would do this:"
    assert others == [
        *lines(report)[1:],
        "  A run would end with 0, unless Statsig refuses a request.",
    ]


def test_a_dry_run_shows_the_warnings_of_a_segment(dry_report):
    add_members(dry_report, warnings=["It grew."])
    assert "  vip_users: It grew." in dry_lines(dry_report)


def test_a_dry_run_shows_the_time_under_the_rate_limits(dry_report):
    add_members(dry_report, requests=900)
    shown = dry_lines(dry_report, waits=1000.0)
    assert "  All segments together take about 17 min under `console_rate_limits`." in shown


def test_a_dry_run_shows_the_names_of_events(dry_report):
    add_events(dry_report, records=12, delivered=12, requests=1, names=Counter(view=2, purchase=10))
    shown = dry_lines(dry_report)
    assert table_row(shown, "orders")["delivered"] == "12"
    assert "  orders: purchase 10, view 2\n" in shown


def test_a_limited_number_of_names_is_shown(dry_report):
    counts = ItemCounts(ObjectType.EVENT)
    counts.add(ItemCounts(ObjectType.EVENT, names=Counter(f"name {number}" for number in range(MOST_NAMES * 2))))
    assert len(counts.names) == MOST_NAMES + 1
    add_events(dry_report, delivered=MOST_NAMES * 2, names=counts.names)
    assert f", and {MOST_NAMES * 2 - SHOWN_NAMES:,} of other names" in dry_lines(dry_report)


def test_a_dry_run_without_a_key_says_that_a_run_cannot_start(dry_report):
    add_events(dry_report)
    shown = dry_lines(dry_report, has_server_key=False)
    assert "A run cannot start: these streams need `server_secret_key`, which is not set." in shown
    assert "would end with 0" not in shown


def test_a_dry_run_with_errors_shows_exit_code_1(dry_report):
    dry_report.fail("Something: went wrong.", Heading.FAULT)
    assert dry_lines(dry_report).endswith("  A run would end with 1:\n    Something: went wrong.")


def test_an_interrupted_dry_run_is_shown_as_stopped(dry_report):
    dry_report.stop_signal = 15
    assert "The dry run was stopped early" in dry_lines(dry_report)


def test_some_ids_are_shown_with_the_number_of_the_others():
    changes = ListChanges(added=7, removed=1, some_added=["a", "b"], some_removed=["z"])
    assert list(id_lines({"vips": changes})) == [
        "vips: +7 \N{MINUS SIGN}1",
        "  + a",
        "  + b",
        "  + … and 5 more",
        "  \N{MINUS SIGN} z",
    ]
