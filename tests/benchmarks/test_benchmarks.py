"""The comparison is fair: all contenders send the same events, and the input is like that of a tap."""

from __future__ import annotations

from datetime import datetime

import jsonschema
import msgspec
import pytest

from tests.benchmarks import data, measure, this_target
from tests.benchmarks.contenders import OTHERS, PLAIN, RUST_SDK, THIS, Contender
from tests.benchmarks.data import Shape
from tests.benchmarks.emulated import EmulatedStatsig, Project
from tests.benchmarks.loopback import CountingServer
from tests.benchmarks.speed import Setup, Source
from tests.benchmarks.table import markdown

RECORDS = 700
"""More than one batch."""

COMPARED = [contender for contender in (*OTHERS, THIS) if contender not in {PLAIN, RUST_SDK}]
"""The contenders whose events are compared with the records. Those of the plain target are compared with this target's.
The SDK sends `null` in place of an object, which the emulator accepts only when it merely counts."""


def project_of(statsig) -> Project:
    return Project(statsig.events_url, statsig.console_url, statsig.server_secret_key, statsig.console_api_key)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks") / "events.singer"
    data.write_events(path, RECORDS)
    return path


def messages(path):
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


@pytest.mark.e2e
@pytest.mark.parametrize("contender", [pytest.param(each, id=each.name) for each in COMPARED])
def test_every_contender_sends_the_records_as_events(contender: Contender, statsig, source, tmp_path):
    measure.run(contender.command(project_of(statsig), tmp_path, Shape.ROWS), source)
    records = [message["record"] for message in messages(source) if message["type"] == "RECORD"]
    events = sorted(statsig.state.events, key=lambda event: event["metadata"]["order_id"])
    assert [event["eventName"] for event in events] == [record["event"] for record in records]
    assert [event["user"]["userID"] for event in events] == [record["user_id"] for record in records]
    assert [event["value"] for event in events] == [record["revenue"] for record in records]
    assert [comparable(event["metadata"]) for event in events] == [comparable(metadata(each)) for each in records]
    assert [event["time"] for event in events] == [unix_ms(record["event_time"]) for record in records]


@pytest.mark.e2e
@pytest.mark.parametrize("shape", [pytest.param(each, id=each.value) for each in Shape])
def test_both_targets_send_the_same_events_of_each_shape(shape: Shape, statsig, tmp_path):
    path = tmp_path / "events.singer"
    data.write_events(path, RECORDS, shape)
    sent = []
    for contender in (PLAIN, THIS):
        measure.run(contender.command(project_of(statsig), tmp_path, shape), path)
        sent.append([comparable_event(event) for event in statsig.state.events])
        statsig.clear()
    plain, ours = (sorted(events, key=lambda event: event["metadata"][KEYS[shape]]) for events in sent)
    assert plain == ours
    assert len(ours) == data.expected_events(RECORDS, shape)


@pytest.mark.e2e
def test_an_emulator_with_latency_counts_events_and_members(source, tmp_path):
    ids = tmp_path / "ids.txt"
    data.write_ids(ids, 3)
    with EmulatedStatsig({"members": ids}, latency_ms=1) as emulator:
        assert Setup(emulator, tmp_path).run(THIS, Source(source, RECORDS, Shape.ROWS, RECORDS)).seconds > 0
        assert (emulator.events(), emulator.members("members")) == (RECORDS, 3)


KEYS = {Shape.ROWS: "order_id", Shape.TRACKING: "message_id", Shape.MAPPED: "order_id"}


def comparable_event(event):
    has_times = "updated_at" in event["metadata"]
    return event | {"metadata": comparable(event["metadata"])} if has_times else event


def metadata(record):
    mapped = {"event", "user_id", "revenue", "event_time"}
    rest = {name: value for name, value in record.items() if name not in mapped and value is not None}
    return rest | {"order_id": str(rest["order_id"]), "quantity": str(rest["quantity"]), "is_gift": boolean_text(rest)}


def boolean_text(record):
    return "true" if record["is_gift"] else "false"


def comparable(texts):
    """Compare times as numbers, since `.000000` may be written or not."""
    return texts | {"updated_at": unix_ms(texts["updated_at"])}


def unix_ms(time):
    return round(datetime.fromisoformat(time).timestamp() * 1000)


@pytest.mark.e2e
def test_the_loopback_server_counts_every_event(source, tmp_path):
    with CountingServer() as server:
        for runs in (1, 2):
            measure.run(this_target.command_without_dedupe(server.project, tmp_path, Shape.ROWS), source)
            assert server.events() == runs * RECORDS


def test_the_input_is_the_same_in_every_run(source, tmp_path):
    again = tmp_path / "again.singer"
    data.write_events(again, RECORDS)
    assert again.read_bytes() == source.read_bytes()


def test_the_records_are_valid_for_their_schema(source):
    schema, *others = messages(source)
    validator = jsonschema.Draft202012Validator(schema["schema"])
    records = [message["record"] for message in others if message["type"] == "RECORD"]
    assert len(records) == RECORDS
    assert all(validator.is_valid(record) and len(record) == 12 for record in records)


def test_the_last_message_is_the_state_after_the_last_record(source):
    *_, record, state = messages(source)
    bookmark = state["value"]["bookmarks"][data.STREAM]
    assert bookmark == {"replication_key": "updated_at", "replication_key_value": record["record"]["updated_at"]}


def test_numbers_in_tables_are_aligned_to_the_right():
    assert markdown(["", "a"], [["one", "1"], ["two", "1,000"]]).splitlines() == [
        "|     |     a |",
        "| --- | ----: |",
        "| one |     1 |",
        "| two | 1,000 |",
    ]
