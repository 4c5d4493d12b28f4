"""`--about`, the settings page and `meltano.yml` describe every setting alike."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from importlib.resources import files

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from target_statsig.config.parse import parse_config
from target_statsig.config.settings import Settings, StreamSettings
from target_statsig.target import TargetStatsig
from tests.tools import plugin_definition as definition
from tests.tools.hub_definition import UNKNOWN_TO_MELTANO

PROJECT = yaml.safe_load(definition.MELTANO.path.read_text(encoding="utf-8"))
LOADER = PROJECT["plugins"]["loaders"][0]
MELTANO_SETTINGS = {setting["name"]: setting for setting in LOADER["settings"]}

REMEDY = "python -m tests.tools.plugin_definition --write"


def test_the_settings_page_is_generated_from_the_schema():
    assert definition.SETTINGS_PAGE.read() == definition.settings_markdown(), REMEDY


def test_the_settings_page_has_every_setting_once():
    rows = re.findall(r"^\| `(\w+)` \|", definition.SETTINGS_PAGE.read(), re.MULTILINE)
    assert sorted(rows) == sorted(definition.whole_schema()["properties"])


def test_meltano_yml_has_all_settings_in_order():
    assert list(MELTANO_SETTINGS) == list(definition.whole_schema()["properties"]), REMEDY


def test_about_describes_every_setting():
    result = CliRunner().invoke(TargetStatsig.cli, ["--about", "--format=markdown"])
    for name, declared in definition.whole_schema()["properties"].items():
        assert re.search(rf"^\| {name} +\|.*{re.escape(declared['description'][:40])}", result.stdout, re.MULTILINE)


def test_the_settings_of_meltano_yml_are_generated_from_the_schema():
    assert LOADER["settings"] == definition.meltano_settings(), REMEDY


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("server_secret_key", {"kind": "string", "sensitive": True}, id="a key is sensitive"),
        pytest.param("store_url", {"kind": "string", "sensitive": True}, id="a URL with a password is sensitive"),
        pytest.param("segment_id", {"kind": "string"}, id="text without a default"),
        pytest.param("console_rate_limits", {"kind": "string", "value": "10/10s, 850/15m"}, id="text with a default"),
        pytest.param("request_timeout", {"kind": "integer", "value": 30}, id="whole number"),
        pytest.param("create_segment", {"kind": "boolean", "value": False}, id="flag"),
        pytest.param("metadata_fields", {"kind": "array", "value": ["*"]}, id="list"),
        pytest.param("streams", {"kind": "object"}, id="object without a default"),
        pytest.param("field_mapping", {"kind": "object", "value": {}}, id="object with a default"),
        pytest.param("flattening_separator", {"kind": "string"}, id="nullable text of singer-sdk"),
        pytest.param(
            "compression",
            {
                "kind": "options",
                "options": [{"label": "gzip", "value": "gzip"}, {"label": "none", "value": "none"}],
                "value": "gzip",
            },
            id="closed set",
        ),
    ],
)
def test_a_setting_has_its_kind_and_default(name, expected):
    setting = MELTANO_SETTINGS[name]
    declared = {key: value for key, value in setting.items() if key not in {"name", "label", "description"}}
    assert declared == expected


def test_only_secrets_are_sensitive():
    sensitive = {name for name, setting in MELTANO_SETTINGS.items() if setting.get("sensitive")}
    assert sensitive == {"server_secret_key", "console_api_key", "store_url", "notify_url"}


@pytest.mark.parametrize("values", [Settings, StreamSettings])
def test_the_defaults_are_those_of_the_code(values):
    schema_value = {field: _json_value(default) for field, default in _defaults(values).items()}
    assert schema_value == {name: MELTANO_SETTINGS[name].get("value") for name in schema_value}


def _defaults(values):
    required = {"object_type": None} if values is StreamSettings else {}
    settings = values(**required)
    return {name: getattr(settings, name) for name in settings.__slots__}


def _json_value(default):
    if isinstance(default, StrEnum):
        return default.value
    return list(default) if isinstance(default, tuple) else default


def test_meltano_yml_has_the_capabilities_that_meltano_knows():
    known = {str(capability.value) for capability in TargetStatsig.capabilities} - UNKNOWN_TO_MELTANO
    assert set(LOADER["capabilities"]) == known


def test_meltano_accepts_the_project_file():
    schema = json.loads(files("meltano.schemas").joinpath("meltano.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(PROJECT, schema)


@pytest.mark.parametrize("sample", ["meltano.yml", "config.json"])
def test_the_sample_configurations_are_valid(sample):
    config = json.loads((definition.ROOT / "sample_data" / "config.json").read_text(encoding="utf-8"))
    if sample == "meltano.yml":
        defaults = {name: setting["value"] for name, setting in MELTANO_SETTINGS.items() if "value" in setting}
        config = defaults | LOADER["config"]
    keys = {"server_secret_key": "secret-x", "console_api_key": "console-x"}
    parse_config(config | keys, definition.whole_schema())


def test_both_sample_configurations_are_equal():
    config = json.loads((definition.ROOT / "sample_data" / "config.json").read_text(encoding="utf-8"))
    assert config == LOADER["config"]


def test_a_generated_part_needs_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing marked\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md needs a line '<begin>'"):
        definition.GeneratedPart(page, "<begin>", "<end>").read()


def test_writing_replaces_only_the_text_between_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n  <begin>\nold\n  <end>\nafter\n", encoding="utf-8")
    part = definition.GeneratedPart(page, "<begin>", "<end>")
    part.write("new\nlines\n")
    assert page.read_text(encoding="utf-8") == "before\n  <begin>\nnew\nlines\n  <end>\nafter\n"
