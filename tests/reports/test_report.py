"""The report's JSON is an interface: its names and their order must not change."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.errors import Heading
from target_statsig.reports.report import RunReport, SegmentCounts, write_report
from tests.singer import record, schema

DOCUMENT = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")

EVENTS = {
    "object_type": "event",
    "records": 1,
    "delivered": 0,
    "rejected": 0,
    "reasons": {},
    "skipped_duplicates": 0,
    "deleted_row": 0,
    "maybe_duplicated": 0,
    "requests": 0,
    "retries": 0,
    "bytes_sent": 0,
    "billable": 0,
    "not_sent": 1,
    "behind_bookmark": 0,
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
    "tier_ignored": 0,
}
SEGMENT = {
    "sync_mode": "mirror",
    "before": None,
    "added": 0,
    "removed": 0,
    "unchanged": None,
    "held": 0,
    "held_since": None,
    "kept": 0,
    "after": None,
    "proof": "none",
    "requests": 0,
    "warnings": [],
}


def test_the_report_has_all_names_in_order(tmp_path):
    report = RunReport(started_at=1_795_348_800.0, run_id="20261122T120000-ab")
    report.items("orders", ObjectType.EVENT).records = 1
    report.members("vips").segments["vip_users"] = SegmentCounts(SyncMode.MIRROR)
    report.dead_letter_files = ["/dead/orders.singer"]
    report.fail("It broke.", Heading.STORE)
    write_report(str(tmp_path / "new" / "report.json"), report.as_json(1_795_348_812.3456))
    text = (tmp_path / "new" / "report.json").read_text(encoding="utf-8")
    members = {"object_type": "segment", "records": 0, "rejected": 0, "reasons": {}, "segments": {"vip_users": SEGMENT}}
    expected = {
        "run_id": "20261122T120000-ab",
        "version": version("target-statsig"),
        "status": "failed",
        "exit_code": 1,
        "dry_run": False,
        "started_at": "2026-11-22T12:00:00+00:00",
        "seconds": 12.346,
        "streams": {"orders": EVENTS, "vips": members},
        "dead_letter_files": ["/dead/orders.singer"],
        "errors": ["It broke."],
        "error_codes": ["store_unusable"],
    }
    assert text == json.dumps(expected, indent=2) + "\n"


@pytest.mark.parametrize("name", [*EVENTS, "renamed", *SEGMENT, "held_because", *RunReport(0.0).as_json(0.0)])
def test_every_name_of_the_report_is_documented(name):
    assert f"`{name}`" in DOCUMENT


def test_error_codes_are_documented_in_order():
    documented = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", DOCUMENT.partition("## Error codes")[2], re.MULTILINE)
    assert documented == [(heading.code, heading.value) for heading in Heading]


def test_a_clock_that_is_set_back_makes_no_negative_duration():
    assert RunReport(started_at=1_000.0).as_json(now=999.0)["seconds"] == 0


def test_the_report_has_the_reason_for_held_members():
    counts = SegmentCounts(SyncMode.MIRROR, held=3, held_because="unproven")
    assert counts.as_json()["held_because"] == "unproven"


def test_the_report_of_a_failed_run_has_codes_and_files(run_target):
    records = [record("orders", {"event": "e", "user_id": "u"}), record("orders", {"user_id": "nameless"})]
    outcome = run_target([schema("orders"), *records], object_type="event", max_rejected_percent=0)
    report = outcome.report
    assert (report["status"], report["exit_code"], outcome.exit_code) == ("failed", 1, 1)
    assert report["error_codes"] == ["too_many_rejected"]
    assert len(report["errors"]) == 1
    [file] = map(Path, report["dead_letter_files"])
    assert report["run_id"] in file.name
    assert "nameless" in file.read_text(encoding="utf-8")


@pytest.mark.usefixtures("waits_take_no_time")
def test_unsent_records_are_counted(run_target, statsig):
    statsig.faults.add(path="/v1/*", status=503)
    orders = [record("orders", {"event": "e", "user_id": f"u{number}"}) for number in range(3)]
    outcome = run_target([schema("orders"), *orders], object_type="event", retry_timeout=1)
    assert outcome.report["streams"]["orders"]["not_sent"] == 3
    assert outcome.report["error_codes"] == ["statsig_busy"]


def test_error_codes_are_unique_and_in_snake_case():
    codes = [heading.code for heading in Heading]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
