"""The entry for the Meltano Hub is what the schema makes of it, in the form that the Hub and Meltano accept."""

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

REQUIRED_BY_THE_HUB = {"label", "name", "namespace", "variant"}
ONLY_FOR_THE_HUB = {
    "definition",
    "domain_url",
    "keywords",
    "maintenance_status",
    "next_steps",
    "prereq",
    "settings_preamble",
}
"""What meltano/hub's `schemas/plugin_definitions/hub_metadata.schema.json` has beside Meltano's own words."""

REMEDY = "python -m tests.tools.plugin_definition --write"


def test_the_entry_is_what_the_schema_makes_of_it():
    assert definition.HUB.read() == definition.hub_text(), REMEDY
    assert definition.HUB_UTILITY.read() == definition.hub_utility_text(), REMEDY


@pytest.mark.parametrize(("kind", "entry"), [("loaders", ENTRY), ("utilities", UTILITY_ENTRY)])
def test_meltano_accepts_the_entry(kind, entry):
    schema = json.loads(files("meltano.schemas").joinpath("meltano.schema.json").read_text(encoding="utf-8"))
    plugin = {name: value for name, value in entry.items() if name not in ONLY_FOR_THE_HUB}
    jsonschema.validate({"plugins": {kind: [plugin]}}, schema)


@pytest.mark.parametrize("entry", [ENTRY, UTILITY_ENTRY], ids=["loader", "utility"])
def test_the_entry_has_what_the_hub_requires(entry):
    assert entry.keys() >= REQUIRED_BY_THE_HUB | ONLY_FOR_THE_HUB


@pytest.mark.parametrize("name", ["commands", "settings_group_validation", "namespace", "executable", "settings"])
def test_the_utility_s_entry_says_what_the_sample_project_says(name):
    assert UTILITY_ENTRY[name] == UTILITY[name]


@pytest.mark.parametrize("name", ["namespace", "executable", "config", "settings"])
def test_the_utility_is_the_loader_s_program_with_the_loader_s_settings(name):
    assert UTILITY[name] == LOADER[name]


def test_the_utility_s_commands_are_the_loader_s():
    assert UTILITY["commands"].items() <= LOADER["commands"].items()


@pytest.mark.parametrize("name", ["capabilities", "commands", "settings_group_validation", "namespace", "executable"])
def test_the_entry_says_what_the_sample_project_says(name):
    assert ENTRY[name] == LOADER[name]


def test_the_settings_are_those_of_the_sample_project():
    assert ENTRY["settings"] == LOADER["settings"]


def test_one_key_or_the_other_is_enough():
    secrets = [setting["name"] for setting in ENTRY["settings"] if setting.get("sensitive")]
    assert [[key] for key in secrets if key.endswith("_key")] == ENTRY["settings_group_validation"]
