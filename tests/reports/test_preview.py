from __future__ import annotations

from collections import Counter

import pytest

from target_statsig.client.dry_run import ListChanges
from target_statsig.config.settings import ObjectType, Settings, SyncMode
from target_statsig.reports.preview import SHOWN_NAMES, Outlook, id_lines, preview
from target_statsig.reports.report import MOST_NAMES, ItemCounts, RunReport, SegmentCounts

KEYS = Settings(server_secret_key="secret-x", console_api_key="console-x")


def lines(report, settings=KEYS, *, seconds=0.0, waits=0.0):
    return "\n".join(preview(report, 10.0, Outlook(lambda _: seconds, waits), settings))


def report_of(**counts):
    report = RunReport(0.0, dry_run=True)
    report.members("users").segments["vips"] = SegmentCounts(SyncMode.MIRROR, **counts)
    return report


def items(**counts):
    report = RunReport(0.0, dry_run=True)
    found = report.items("orders", ObjectType.EVENT)
    for name, value in counts.items():
        setattr(found, name, value)
    return report


def test_a_segment_is_told_before_added_removed_unchanged_after():
    told = lines(report_of(before=1480, added=30, removed=10, unchanged=1470, after=1500, requests=2))
    assert (
        "vips (mirror): 1,480 before, +30 added, \N{MINUS SIGN}10 removed, =1,470 unchanged, 1,500 after, 2 req" in told
    )
    assert "A run would end with 0." in told


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        pytest.param({"held": None}, "cannot tell whom to remove", id="not told"),
        pytest.param({"before": None}, "? before", id="before not told"),
        pytest.param({"unchanged": None}, "=? unchanged", id="unchanged not told"),
        pytest.param({"held": 7, "held_because": "unproven"}, "7 held (unproven)", id="held"),
        pytest.param(
            {"held": 7, "held_because": "unproven", "held_since": "2026-11-22T12:00:00+00:00"},
            "7 held since 2026-11-22T12:00:00+00:00 (unproven)",
            id="held for long",
        ),
        pytest.param(
            {"held": 70, "held_because": "too_many"},
            "70 held (too_many: `max_removal_percent` would fail the run)",
            id="a guard",
        ),
        pytest.param({"warnings": ["It grew."]}, "\n      It grew.", id="a warning"),
    ],
)
def test_what_cannot_be_told_never_looks_like_nothing_to_do(counts, words):
    assert words in lines(report_of(**counts))


def test_the_rate_limits_are_told_for_each_segment_and_for_all():
    told = lines(report_of(requests=900), seconds=840.0, waits=1000.0)
    assert "900 requests (14 min)" in told
    assert "All segments together take about 17 min under `console_rate_limits`." in told


def test_events_are_told_by_name_with_what_is_rejected_skipped_and_billed():
    told = lines(
        items(
            records=20,
            delivered=12,
            requests=1,
            bytes_sent=1234,
            billable=12,
            rejected=3,
            reasons=Counter(invalid_time=1, missing_identifier=2),
            skipped_duplicates=5,
            maybe_duplicated=1,
            time_defaulted=4,
            names=Counter(view=2, purchase=10),
            renamed={"a{b": "a_b"},
        )
    )
    for words in (
        "orders → events: 20 records, 12 events in 1 request (1,234 bytes), 12 billed",
        "    purchase 10, view 2\n",
        "    3 rejected: missing_identifier 2, invalid_time 1",
        "    5 skipped, since an earlier run delivered them",
        "    1 perhaps delivered twice",
        "    4 without a time of their own",
        "    a{b made valid as a_b",
    ):
        assert words in told


def test_of_very_many_names_some_are_told():
    counts = ItemCounts(ObjectType.EVENT)
    counts.count_names({f"name {number}": 1 for number in range(MOST_NAMES * 2)})
    assert len(counts.names) == MOST_NAMES + 1
    told = lines(items(delivered=MOST_NAMES * 2, names=counts.names))
    assert f", and {MOST_NAMES * 2 - SHOWN_NAMES:,} of other names" in told


def test_without_a_key_it_is_not_said_that_a_run_would_go_well():
    told = lines(items(), Settings())
    assert "A run cannot begin: not set, and needed by these streams, is `server_secret_key`." in told
    assert "would end with 0" not in told


def test_errors_end_a_run_with_1():
    report = items()
    report.fail("Something: went wrong.")
    assert lines(report).endswith("  A run would end with 1:\n    Something: went wrong.")


def test_an_interrupted_dry_run_does_not_pass_for_a_whole_one():
    report = items()
    report.interrupt()
    assert "this is what was read so far, and not what a run would do" in lines(report)


def test_some_ids_and_the_number_of_the_others_are_shown():
    changes = ListChanges(added=7, removed=1, some_added=["a", "b"], some_removed=["z"])
    assert list(id_lines({"vips": changes})) == [
        "vips: +7 \N{MINUS SIGN}1",
        "  + a",
        "  + b",
        "  + … and 5 more",
        "  \N{MINUS SIGN} z",
    ]
