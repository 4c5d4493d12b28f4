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
"""The column with the user's id, where that is not `id`."""

ARRIVING = {
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
"""The user ids of those inputs that are no errors."""


def settings(of_all):
    """Return settings under which every row has a user, and no record may be rejected."""
    streams = {stream: {"field_mapping": {"user_id": column}} for stream, column in UNIT_IDS.items()}
    return {**of_all, "field_mapping": {"user_id": "id"}, "max_rejected_percent": 0, "streams": streams}


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
    of_all: dict
    # It wants a SCHEMA without properties to be an error; taps of document stores send no other.
    test_target_invalid_schema = None

    @pytest.fixture
    def runner(self, statsig, tmp_path, capsys, caplog):
        statsig.state.seed_segment("rows")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        runner = ClosingRunner(TargetRunner(statsig, tmp_path, capsys, caplog).config(**settings(self.of_all)))
        yield runner
        runner.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


class TestRowsAsEvents(AgainstTheEmulator, get_target_test_class(TargetStatsig)):
    of_all = EVENTS


class TestRowsAsMembers(AgainstTheEmulator, get_target_test_class(TargetStatsig)):
    of_all = MEMBERS


@pytest.mark.parametrize("name", ARRIVING)
@pytest.mark.parametrize("of_all", [EVENTS, MEMBERS], ids=["events", "members"])
def test_every_row_arrives(run_target, statsig, of_all, name):
    statsig.state.seed_segment("rows")
    outcome = run_target([messages(name)], **settings(of_all))
    assert outcome.exit_code == 0, outcome.errors
    users = {event["user"]["userID"] for event in statsig.state.events} | statsig.state.ids("rows")
    assert users == {str(user) for user in ARRIVING[name]}
    rows = messages(name).count(b'"RECORD"')
    assert len(statsig.state.events) == (rows if of_all is EVENTS else 0)
    sent = [json.loads(line) for line in messages(name).splitlines() if b'"STATE"' in line]
    assert outcome.states[-1:] == [message["value"] for message in sent[-1:]]
