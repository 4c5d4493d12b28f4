"""`--suggest` prints settings that fit the tap's output and run unchanged."""

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


def suggest(lines, exit_code=0):
    result = CliRunner().invoke(TargetStatsig.cli, ["--suggest"], input=lines)
    assert result.exit_code == exit_code, result.output
    return result.stdout


def suggested_streams(*messages):
    return yaml.safe_load(suggest(to_lines(messages)))["streams"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_suggested_settings_run_unchanged(sample, run_target, statsig):
    text = suggest(sample.read_bytes())
    lines = [line for line in sample.read_bytes().splitlines(keepends=True) if json.loads(line)["type"] != "STATE"]
    outcome = run_target(lines, **yaml.safe_load(text), create_segment=True, max_rejected_percent=100)
    assert outcome.exit_code == 0, outcome.log
    assert all(counts["rejected"] == 0 for counts in outcome.report["streams"].values())
    assert statsig.state.events or statsig.state.segments


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param({"user_id": TEXT, "event": TEXT, "timestamp": TIME}, {"object_type": "event"}, id="known names"),
        pytest.param(
            {"customer": TEXT, "placed_at": TIME, "updated_at": TIME, "total": NUMBER, "plan": TEXT},
            {
                "object_type": "event",
                "event_name": "orders",
                "field_mapping": {"user_id": "customer", "event_time": "placed_at", "event_value": "total"},
            },
            id="other names",
        ),
        pytest.param(
            {"customer": TEXT, "total": TEXT, "plan": TEXT, "placed_at": TEXT},
            {
                "object_type": "event",
                "event_name": "orders",
                "field_mapping": {"user_id": "customer", "event_time": "placed_at", "event_value": "total"},
            },
            id="only text, as in a CSV file",
        ),
        pytest.param(
            {"Customer ID": TEXT, "Total": TEXT, "Plan": TEXT, "Placed at": TEXT},
            {
                "object_type": "event",
                "event_name": "orders",
                "field_mapping": {"user_id": "Customer ID", "event_time": "Placed at", "event_value": "Total"},
            },
            id="titles, as in a CSV file",
        ),
        pytest.param(
            {"user_id": TEXT, "row_count": {"type": "integer"}},
            {"object_type": "segment", "segment_id": "orders", "sync_mode": "mirror", "row_count_field": "row_count"},
            id="an audience with a row count",
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
            id="a name that YAML reads as a boolean",
        ),
    ],
)
def test_the_columns_decide_the_object_type(columns, expected):
    assert suggested_streams(schema("public-orders", columns)) == {"public-orders": expected}


def test_every_object_type_can_be_suggested():
    tables = [
        {"user_id": TEXT},
        {"user_id": TEXT, "event": TEXT},
        {"user_id": TEXT, "gate": TEXT, "passes": TEXT},
        {"user_id": TEXT, "metric": TEXT, "numerator": NUMBER, "denominator": NUMBER},
    ]
    found = suggested_streams(*(schema(f"s{number}", columns) for number, columns in enumerate(tables)))
    assert {each["object_type"] for each in found.values()} == {each.value for each in ObjectType}


def test_columns_missing_from_the_schema_are_read_from_records():
    assert suggested_streams(schema("s"), record("s", {"user_id": "u", "event": "e"})) == {
        "s": {"object_type": "event"}
    }
    assert ANYTHING["properties"] == {}


def test_a_stream_without_an_identifier_is_left_out():
    text = suggest(to_lines([schema("countries", {"code": TEXT}), schema("s", {"user_id": TEXT})]))
    assert yaml.safe_load(text)["stream_maps"] == {"countries": "__NULL__"}
    assert "countries" not in yaml.safe_load(text)["streams"]


def test_comments_name_the_columns_read_and_the_metadata():
    text = suggest(to_lines([schema("s", {"customer": TEXT, "event": TEXT, "time": TIME, "plan": TEXT})]))
    assert "# Read: user_id ← customer, event_name ← event, event_time ← time." in text
    assert "# Metadata: plan." in text
    assert "# `customer` is a guess" in text


def test_a_comment_warns_of_times_in_text_columns():
    comment = "# `placed_at` is text. A record whose `placed_at` is not a time is rejected."
    assert comment in suggest(to_lines([schema("s", {"user_id": TEXT, "placed_at": TEXT})]))
    assert "is text" not in suggest(to_lines([schema("s", {"user_id": TEXT, "placed_at": TIME})]))


def test_only_selected_streams_of_a_catalog_are_suggested():
    def entry(name, *, selected):
        return {
            "tap_stream_id": name,
            "schema": {"properties": {"user_id": TEXT, "event": TEXT}},
            "metadata": [{"breadcrumb": [], "metadata": {"selected": selected}}],
        }

    catalog = {"streams": [entry("taken", selected=True), entry("left", selected=False)]}
    text = suggest(json.dumps(catalog, indent=2).encode())
    assert yaml.safe_load(text)["streams"] == {"taken": {"object_type": "event"}}


def test_a_stream_named_by_a_number_is_suggested():
    entry = {"tap_stream_id": 5, "schema": {"properties": {"user_id": TEXT, "event": TEXT}}}
    text = suggest(json.dumps({"streams": [entry]}).encode())
    assert yaml.safe_load(text)["streams"] == {"5": {"object_type": "event"}}


@pytest.mark.parametrize(
    "lines",
    [b"", b"hello\n", b'{"a": 1}\n', b'{"type": "STATE", "value": {}}\n', b"[]", b"\xff\n", b"[" * 100_000],
    ids=["empty", "text", "an object", "no SCHEMA", "a list", "not UTF-8", "nested too deeply"],
)
def test_input_that_is_neither_messages_nor_a_catalog_is_an_error(lines, caplog):
    assert suggest(lines, exit_code=1) == ""
    assert "`--discover`" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "SCHEMA"}',
        b'{"type": "RECORD", "stream": "s", "record": 1}',
        b'{"type": []}',
        pytest.param(b'{"type": "RECORD", "stream": "s", "record": {"name": "Andr\xe9"}}', id="not UTF-8"),
        b"hello",
    ],
)
def test_an_error_names_the_line_that_is_no_message(line, caplog):
    assert suggest(to_lines([schema("s")]) + line + b"\n", exit_code=1) == ""
    assert "Line 2 of the input is not a Singer message." in caplog.text
