"""The recipes of the page "Personal data" work."""

from __future__ import annotations

import hashlib

import pytest
import yaml

from tests.documents import blocks
from tests.singer import record, schema
from tests.tools.plugin_definition import ROOT

PAGE = ROOT / "docs" / "privacy.md"
RECIPES = {block.heading: yaml.safe_load(block.text) for block in blocks(PAGE) if block.kind == "yaml"}

TEXT = {"type": ["null", "string"]}
COLUMNS = ("user_id", "email", "ip", "plan", "consent", "region")
ROWS = [
    {"user_id": "u1", "email": "Ann@example.com", "ip": "192.0.2.17", "plan": "pro", "consent": "yes", "region": "eu"},
    {"user_id": "u2", "email": None, "ip": "2001:db8:1:2::3", "plan": "team", "consent": "no", "region": "us"},
    {"user_id": "u3", "email": "bo@example.com", "ip": None, "plan": "pro", "consent": None, "region": "eu"},
]


@pytest.fixture
def sent(run_target, statsig):
    """Send the rows with the settings of a recipe, and return the events."""

    def send(heading, rows=ROWS):
        messages = [schema("orders", dict.fromkeys(COLUMNS, TEXT)), *(record("orders", row) for row in rows)]
        assert run_target(messages, **RECIPES[heading]).exit_code == 0
        return statsig.state.events

    return send


def users(events):
    return [event["user"]["userID"] for event in events]


def test_columns_are_left_out(sent):
    for event in sent("Leave columns out"):
        assert event["user"].keys() == {"userID"}
        assert event["metadata"].keys() == {"plan"}


def test_ids_and_addresses_are_hashed(sent):
    def hashed(text):
        return hashlib.sha256(f"change-me{text}".encode()).hexdigest()

    events = sent("Hash an id or an address")
    assert users(events) == [hashed("u1"), hashed("u2"), hashed("u3")]
    assert [event["user"].get("email") for event in events] == [
        hashed("ann@example.com"),
        None,
        hashed("bo@example.com"),
    ]


def test_addresses_are_shortened(sent):
    assert [event["user"].get("ip") for event in sent("Shorten IP addresses")] == ["192.0.2.0", "2001:db8:1::", None]


def test_only_users_who_consented_are_sent(sent):
    assert users(sent("Send only who has agreed")) == ["u1"]


def test_a_sample_has_all_events_of_a_user_or_none(sent):
    events = sent(
        "Send a sample", [row | {"user_id": f"user {number % 40}"} for number in range(120) for row in ROWS[:1]]
    )
    counts = {user: users(events).count(user) for user in users(events)}
    assert 0 < len(counts) < 40
    assert set(counts.values()) == {3}


def test_a_project_gets_its_own_records(sent):
    assert users(sent("Several Statsig projects")) == ["u1", "u3"]
