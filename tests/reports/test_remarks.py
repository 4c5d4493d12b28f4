"""Each remark on a stream's records is in the log, the table, the dry run and the report."""

from __future__ import annotations

import dataclasses
import logging
import re
import time

import pytest

from target_statsig.reports.report import ItemCounts, MappingWarnings
from target_statsig.reports.text import REMARKS
from tests.singer import record, schema, state

ALSO_IN_A_WORKER = True

DAY = 86_400
NOW = int(time.time())
EVENT = {"event": "e", "user_id": "u", "timestamp": NOW}

FIELDS_FOR_COUNT = {
    "deleted_row": {"_sdc_deleted_at": "2026-11-20"},
    "time_defaulted": {"timestamp": None},
    "old_times": {"timestamp": NOW - 61 * DAY},
    "future_times": {"timestamp": NOW + DAY},
    "placeholder_times": {"timestamp": "1970-01-01"},
    "text_values": {"value": "$12.50"},
    "long_values": {"value": "x" * 129},
    "long_user_ids": {"user_id": "u" * 129},
    "large_metadata": {"note": "x" * 4_097},
    "large_users": {"user_agent": "x" * 4_097},
    "custom_ignored": {"custom": "pro"},
    "consent_ignored": {"marketing_consent": "perhaps"},
    "tier_ignored": {"stage": 7},
}
"""The fields of a record that raise each count."""

IN_EVERY_RUN = frozenset({"records", "delivered", "rejected", "requests", "retries", "bytes_sent", "billable"})
"""Counts that every run has; they need no remark."""

BY_NUMBER = schema("ev", bookmark_properties=["n"])
STATE_AT_2 = state(ev={"replication_key": "n", "replication_key_value": 2})

COUNTS = [
    field.name for kind in (ItemCounts, MappingWarnings) for field in dataclasses.fields(kind) if field.type == "int"
]


def raise_count(name, run_target, statsig, **settings):
    """Run a target so that a count is 2, and return its outcome."""
    remarkable = [{**EVENT, **FIELDS_FOR_COUNT.get(name, {}), "n": number} for number in range(2)]
    plain = {**dict.fromkeys(remarkable[0]), **EVENT}
    settings |= {"environment_tier_field": "stage"} if name == "tier_ignored" else {}
    before = [schema("ev", dict.fromkeys(plain, True)), *(record("ev", one) for one in remarkable)]
    if name == "skipped_duplicates":
        run_target(before, object_type="event")
    if name == "maybe_duplicated":
        statsig.faults.add(path="/v1/*", drop=True)
        run_target(before, object_type="event")
        statsig.faults.clear()
    if name == "behind_bookmark":
        run_target([BY_NUMBER, record("ev", {**EVENT, "n": 2}), STATE_AT_2], object_type="event")
        before[0] = BY_NUMBER
    return run_target([*before, record("ev", plain)], object_type="event", **settings)


@pytest.mark.parametrize("name", COUNTS)
def test_every_count_has_a_remark_or_is_in_every_run(name):
    assert (name in REMARKS) is (name not in IN_EVERY_RUN)


def test_every_remark_belongs_to_a_count():
    assert set(REMARKS) <= set(COUNTS)


@pytest.mark.parametrize("dry_run", [False, True], ids=["a run", "a dry run"])
@pytest.mark.parametrize("name", REMARKS)
def test_counted_records_are_logged_and_reported(run_target, statsig, caplog, name, dry_run):
    outcome = raise_count(name, run_target, statsig, dry_run=dry_run)
    assert outcome.exit_code == 0
    assert outcome.report["streams"]["ev"][name] == 2
    assert re.search(rf"\s2 {re.escape(REMARKS[name].text)}$", outcome.log, re.MULTILINE)
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert warnings.count(f"Stream 'ev': {REMARKS[name].warning}") == bool(REMARKS[name].warning)


@pytest.mark.parametrize("name", REMARKS)
def test_ordinary_records_have_no_remarks(run_target, name):
    outcome = run_target([schema("ev"), record("ev", EVENT)], object_type="event")
    assert outcome.report["streams"]["ev"][name] == 0
    assert REMARKS[name].text not in outcome.log
