"""The report's JSON is an interface: its names and their order stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from target_statsig.config.settings import ObjectType, SyncMode
from target_statsig.reports.report import RunReport, SegmentCounts

DOCUMENT = (Path(__file__).parents[2] / "docs" / "running-on-a-schedule.md").read_text(encoding="utf-8")

EVENTS = {
    "object_type": "event",
    "records": 1,
    "delivered": 0,
    "rejected": 0,
    "reasons": {},
    "skipped_duplicates": 0,
    "deleted_row": 0,
    "maybe_duplicated": 0,
    "time_defaulted": 0,
    "old_times": 0,
    "future_times": 0,
    "placeholder_times": 0,
    "text_values": 0,
    "long_values": 0,
    "long_user_ids": 0,
    "large_metadata": 0,
    "large_users": 0,
    "custom_ignored": 0,
    "consent_ignored": 0,
    "requests": 0,
    "retries": 0,
    "bytes_sent": 0,
    "billable": 0,
}
SEGMENT = {
    "sync_mode": "mirror",
    "before": None,
    "added": 0,
    "removed": 0,
    "unchanged": None,
    "held": 0,
    "held_since": None,
    "after": None,
    "proof": "none",
    "requests": 0,
    "warnings": [],
}


def test_the_report_has_the_names_that_are_documented(tmp_path):
    report = RunReport(started_at=1_795_348_800.0)
    report.items("orders", ObjectType.EVENT).records = 1
    report.members("vips").segments["vip_users"] = SegmentCounts(SyncMode.MIRROR)
    report.fail("It broke.")
    report.write(str(tmp_path / "new" / "report.json"), 1_795_348_812.3456)
    text = (tmp_path / "new" / "report.json").read_text(encoding="utf-8")
    members = {"object_type": "segment", "records": 0, "rejected": 0, "reasons": {}, "segments": {"vip_users": SEGMENT}}
    expected = {
        "status": "failed",
        "dry_run": False,
        "started_at": "2026-11-22T12:00:00+00:00",
        "seconds": 12.346,
        "streams": {"orders": EVENTS, "vips": members},
        "errors": ["It broke."],
    }
    assert text == json.dumps(expected, indent=2) + "\n"


@pytest.mark.parametrize("name", [*EVENTS, "renamed"])
def test_every_count_of_a_stream_is_explained(name):
    explained = DOCUMENT.partition("## What the report counts")[2]
    assert f"`{name}`" in explained


def test_why_members_are_held_is_told_where_some_are():
    counts = SegmentCounts(SyncMode.MIRROR, held=3, held_because="unproven")
    assert counts.as_json()["held_because"] == "unproven"
