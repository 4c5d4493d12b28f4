"""`--suggest`: what it prints for what taps send, and that it runs as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from target_statsig.config.choices import ObjectType
from target_statsig.target import TargetStatsig
from tests.singer import ANYTHING, record, schema, to_lines

DATA = Path(__file__).parents[1] / "data"
SAMPLES = [*sorted(DATA.glob("*.singer")), DATA.parents[1] / "sample_data" / "shop.singer"]

TEXT = {"type": ["string", "null"]}
NUMBER = {"type": "number"}
TIME = {"type": "string", "format": "date-time"}


def suggested(lines, exit_code=0):
    result = CliRunner().invoke(TargetStatsig.cli, ["--suggest"], input=lines)
    assert result.exit_code == exit_code, result.output
    return result.stdout


def settings_of(*messages):
    return yaml.safe_load(suggested(to_lines(messages)))["streams"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_what_is_suggested_runs_as_it_stands(sample, run_target, statsig):
    text = suggested(sample.read_bytes())
    lines = [line for line in sample.read_bytes().splitlines(keepends=True) if json.loads(line)["type"] != "STATE"]
    creates = {"create_segment": True, "max_rejected_percent": 100}
    outcome = run_target(lines, **yaml.safe_load(text), **creates)
    assert outcome.exit_code == 0, outcome.log
    assert all(counts["rejected"] == 0 for counts in outcome.report["streams"].values())
    assert statsig.state.events or statsig.state.segments


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(
            {"user_id": TEXT, "event": TEXT, "timestamp": TIME}, {"object_type": "event"}, id="all under known names"
        ),
        pytest.param(
            {"customer": TEXT, "placed_at": TIME, "updated_at": TIME, "total": NUMBER, "plan": TEXT},
            {
                "object_type": "event",
                "event_name": "orders",
                "field_mapping": {"user_id": "customer", "event_time": "placed_at", "event_value": "total"},
            },
            id="names of its own",
        ),
        pytest.param(
            {"customer": TEXT, "total": TEXT, "plan": TEXT, "placed_at": TEXT},
            {
                "object_type": "event",
                "event_name": "orders",
                "field_mapping": {"user_id": "customer", "event_time": "placed_at", "event_value": "total"},
            },
            id="nothing but text, as in a CSV file",
        ),
        pytest.param(
            {"user_id": TEXT, "row_count": {"type": "integer"}},
            {"object_type": "segment", "segment_id": "orders", "sync_mode": "mirror", "row_count_field": "row_count"},
            id="an audience that counts its rows",
        ),
        pytest.param(
            {"user_id": TEXT, "is_member": {"type": "boolean"}},
            {"object_type": "segment", "segment_id": "orders", "sync_mode": "add", "membership_field": "is_member"},
            id="an audience with changes",
        ),
        pytest.param({"user_id": TEXT, "experiment": TEXT, "group": TEXT}, {"object_type": "exposure"}, id="exposures"),
        pytest.param({"user_id": TEXT, "metric": TEXT, "value": NUMBER}, {"object_type": "metric"}, id="metrics"),
        pytest.param(
            {"user_id": TEXT, "a b": TEXT, "on": TIME, "c": TEXT, "d": TEXT, "e": TEXT},
            {"object_type": "event", "event_name": "orders", "field_mapping": {"event_time": "on"}},
            id="a name that YAML takes for a boolean",
        ),
    ],
)
def test_the_object_type_goes_by_the_columns(columns, expected):
    assert settings_of(schema("public-orders", columns)) == {"public-orders": expected}


def test_every_object_type_can_be_suggested():
    tables = [
        {"user_id": TEXT},
        {"user_id": TEXT, "event": TEXT},
        {"user_id": TEXT, "gate": TEXT, "passes": TEXT},
        {"user_id": TEXT, "metric": TEXT, "numerator": NUMBER, "denominator": NUMBER},
    ]
    found = settings_of(*(schema(f"s{number}", columns) for number, columns in enumerate(tables)))
    assert {each["object_type"] for each in found.values()} == {each.value for each in ObjectType}


def test_columns_that_only_records_have_are_found():
    assert settings_of(schema("s"), record("s", {"user_id": "u", "event": "e"})) == {"s": {"object_type": "event"}}
    assert ANYTHING["properties"] == {}


def test_a_stream_without_an_identifier_is_left_out():
    text = suggested(to_lines([schema("countries", {"code": TEXT}), schema("s", {"user_id": TEXT})]))
    assert yaml.safe_load(text)["stream_maps"] == {"countries": "__NULL__"}
    assert "countries" not in yaml.safe_load(text)["streams"]


def test_the_remarks_say_what_is_read_and_what_becomes_metadata():
    text = suggested(to_lines([schema("s", {"customer": TEXT, "event": TEXT, "time": TIME, "plan": TEXT})]))
    assert "# Read: user_id ← customer, event_name ← event, event_time ← time." in text
    assert "# Metadata: plan." in text
    assert "# `customer` is a guess" in text


def test_of_a_time_in_a_column_of_text_the_remarks_say_what_a_run_does():
    told = "# `placed_at` is text. A record whose `placed_at` is not a time is rejected."
    assert told in suggested(to_lines([schema("s", {"user_id": TEXT, "placed_at": TEXT})]))
    assert "is text" not in suggested(to_lines([schema("s", {"user_id": TEXT, "placed_at": TIME})]))


def test_a_catalog_suggests_the_streams_that_are_selected():
    def entry(name, *, selected):
        return {
            "tap_stream_id": name,
            "schema": {"properties": {"user_id": TEXT, "event": TEXT}},
            "metadata": [{"breadcrumb": [], "metadata": {"selected": selected}}],
        }

    catalog = {"streams": [entry("taken", selected=True), entry("left", selected=False)]}
    text = suggested(json.dumps(catalog, indent=2).encode())
    assert yaml.safe_load(text)["streams"] == {"taken": {"object_type": "event"}}


def test_a_stream_may_have_a_number_for_a_name():
    entry = {"tap_stream_id": 5, "schema": {"properties": {"user_id": TEXT, "event": TEXT}}}
    text = suggested(json.dumps({"streams": [entry]}).encode())
    assert yaml.safe_load(text)["streams"] == {"5": {"object_type": "event"}}


@pytest.mark.parametrize(
    "lines",
    [b"", b"hello\n", b'{"a": 1}\n', b'{"type": "STATE", "value": {}}\n', b"[]", b"\xff\n", b"[" * 100_000],
    ids=["nothing", "text", "an object", "no SCHEMA", "a list", "no text", "nested too deeply"],
)
def test_what_is_neither_output_nor_catalog_is_an_error(lines, caplog):
    assert suggested(lines, exit_code=1) == ""
    assert "`--discover`" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "SCHEMA"}',
        b'{"type": "RECORD", "stream": "s", "record": 1}',
        b'{"type": []}',
        pytest.param(b'{"type": "RECORD", "stream": "s", "record": {"name": "Andr\xe9"}}', id="no UTF-8"),
        b"hello",
    ],
)
def test_a_line_that_is_no_message_is_named(line, caplog):
    assert suggested(to_lines([schema("s")]) + line + b"\n", exit_code=1) == ""
    assert "Line 2 of the input is not a Singer message." in caplog.text
