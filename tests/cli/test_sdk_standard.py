"""singer-sdk's own test suite for targets, with its records as events and as members of a segment."""

from __future__ import annotations

import importlib.resources
import json
import signal

import pytest
from singer_sdk.testing import get_target_test_class, target_test_streams
from singer_sdk.testing.runners import TargetTestRunner

from target_statsig.target import TargetStatsig
from tests.singer import TargetRunner

pytestmark = pytest.mark.e2e

EVENTS = {"object_type": "event", "event_name": "Row Arrived"}
MEMBERS = {"object_type": "segment", "segment_id": "rows", "sync_mode": "add"}

UNIT_IDS = {
    "TestCamelcase": "Id",
    "ForecastingTypeToCategory": "Id",
    "test:SpecialChars*": "_id",
    "test_object_schema_*": "object_store.id",
}
"""The column with the user's id, where it is not `id`."""

EXPECTED_USERS = {
    "array_data": {1, 2, 3, 4},
    "camelcase": {1, 2},
    "camelcase_complex_schema": set(),
    "duplicate_records": {1, 2},
    "encoded_string_data": set(range(1, 12)),
    "invalid_schema": set(),
    "multiple_state_messages": set(range(1, 7)),
    "no_primary_keys": {1, 2, 3},
    "optional_attributes": {1, 2, 3, 4},
    "pk_updates": {1, 2},
    "record_missing_fields": {1, 2},
    "schema_no_properties": {1, 2},
    "schema_updates": set(range(1, 7)),
    "special_chars_in_attributes": {"a2e98886"},
}
"""The user ids of the inputs that are no errors."""


def settings(common):
    """Return settings under which every row has a user, and no record may be rejected."""
    streams = {stream: {"field_mapping": {"user_id": column}} for stream, column in UNIT_IDS.items()}
    return {**common, "field_mapping": {"user_id": "id"}, "max_rejected_percent": 0, "streams": streams}


def messages(name):
    return (importlib.resources.files(target_test_streams) / f"{name}.singer").read_bytes()


class ClosingRunner(TargetTestRunner):
    """Closes what singer-sdk's runner leaves open: its input, and targets that failed before the end of the input."""

    def __init__(self, config):
        super().__init__(TargetStatsig, config=config)
        self.targets = []

    def create(self, kwargs=None):
        self.targets.append(super().create(kwargs))
        return self.targets[-1]

    def close(self):
        if self._input is not None:
            self._input.close()
        for target in self.targets:
            if not target.run.ended:
                target.run.end(complete=False)


class AgainstTheEmulator:
    common: dict
    # singer-sdk expects a SCHEMA without properties to be an error, but taps of document stores send only such.
    test_target_invalid_schema = None

    @pytest.fixture
    def runner(self, statsig, tmp_path, capsys, caplog):
        statsig.state.seed_segment("rows")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        runner = ClosingRunner(TargetRunner(statsig, tmp_path, capsys, caplog).config(**settings(self.common)))
        yield runner
        runner.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


class TestRowsAsEvents(AgainstTheEmulator, get_target_test_class(TargetStatsig)):
    common = EVENTS


class TestRowsAsMembers(AgainstTheEmulator, get_target_test_class(TargetStatsig)):
    common = MEMBERS


@pytest.mark.parametrize("name", EXPECTED_USERS)
@pytest.mark.parametrize("common", [EVENTS, MEMBERS], ids=["events", "members"])
def test_every_row_arrives(run_target, statsig, common, name):
    statsig.state.seed_segment("rows")
    outcome = run_target([messages(name)], **settings(common))
    assert outcome.exit_code == 0, outcome.errors
    users = {event["user"]["userID"] for event in statsig.state.events} | statsig.state.ids("rows")
    assert users == {str(user) for user in EXPECTED_USERS[name]}
    rows = messages(name).count(b'"RECORD"')
    assert len(statsig.state.events) == (rows if common is EVENTS else 0)
    sent = [json.loads(line) for line in messages(name).splitlines() if b'"STATE"' in line]
    assert outcome.states[-1:] == [message["value"] for message in sent[-1:]]
