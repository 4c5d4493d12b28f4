"""The Meltano Hub entries are generated from the schema, and Meltano and the Hub accept them."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml

from tests.tools import plugin_definition as definition

ENTRY = yaml.safe_load(definition.HUB.read())
UTILITY_ENTRY = yaml.safe_load(definition.HUB_UTILITY.read())
PLUGINS = yaml.safe_load(definition.MELTANO.path.read_text(encoding="utf-8"))["plugins"]
LOADER, UTILITY = PLUGINS["loaders"][0], PLUGINS["utilities"][0]

REQUIRED_BY_HUB = {"label", "name", "namespace", "variant"}
ONLY_FOR_HUB = {
    "definition",
    "domain_url",
    "keywords",
    "maintenance_status",
    "next_steps",
    "prereq",
    "settings_preamble",
}
"""Fields of meltano/hub's `schemas/plugin_definitions/hub_metadata.schema.json` that Meltano's schema lacks."""

REMEDY = "python -m tests.tools.plugin_definition --write"


def test_the_entries_are_generated_from_the_schema():
    assert definition.HUB.read() == definition.hub_text(), REMEDY
    assert definition.HUB_UTILITY.read() == definition.hub_utility_text(), REMEDY


@pytest.mark.parametrize(("kind", "entry"), [("loaders", ENTRY), ("utilities", UTILITY_ENTRY)])
def test_meltano_accepts_the_entry(kind, entry):
    schema = json.loads(files("meltano.schemas").joinpath("meltano.schema.json").read_text(encoding="utf-8"))
    plugin = {name: value for name, value in entry.items() if name not in ONLY_FOR_HUB}
    jsonschema.validate({"plugins": {kind: [plugin]}}, schema)


@pytest.mark.parametrize("entry", [ENTRY, UTILITY_ENTRY], ids=["loader", "utility"])
def test_the_entry_has_the_fields_that_the_hub_requires(entry):
    assert entry.keys() >= REQUIRED_BY_HUB | ONLY_FOR_HUB


@pytest.mark.parametrize("name", ["commands", "settings_group_validation", "namespace", "executable", "settings"])
def test_the_utility_entry_equals_the_sample_project(name):
    assert UTILITY_ENTRY[name] == UTILITY[name]


@pytest.mark.parametrize("name", ["namespace", "executable", "config", "settings"])
def test_the_utility_has_the_loader_s_program_and_settings(name):
    assert UTILITY[name] == LOADER[name]


def test_the_loader_has_all_commands_of_the_utility():
    assert UTILITY["commands"].items() <= LOADER["commands"].items()


@pytest.mark.parametrize(
    "name", ["capabilities", "commands", "settings_group_validation", "namespace", "executable", "settings"]
)
def test_the_loader_entry_equals_the_sample_project(name):
    assert ENTRY[name] == LOADER[name]


def test_the_hub_requires_one_of_the_two_keys():
    secrets = [setting["name"] for setting in ENTRY["settings"] if setting.get("sensitive")]
    assert [[key] for key in secrets if key.endswith("_key")] == ENTRY["settings_group_validation"]
