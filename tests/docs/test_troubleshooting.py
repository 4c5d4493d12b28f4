"""The page of troubleshooting has every heading with which an error begins, and every symptom without one."""

from __future__ import annotations

import re

import pytest

from target_statsig.errors import Heading
from tests.tools.plugin_definition import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\*\*(.+?)\.\*\* ", PAGE, re.MULTILINE)


@pytest.mark.parametrize("heading", Heading, ids=lambda heading: heading.name)
def test_every_heading_of_an_error_is_explained_once(heading):
    assert ENTRIES.count(heading.value) == 1


def test_headings_are_explained_in_the_order_of_their_list():
    headings = [heading.value for heading in Heading]
    assert [entry for entry in ENTRIES if entry in headings] == headings


@pytest.mark.parametrize(
    "symptom",
    [
        "Events do not show up",
        "Events without a user",
        "An empty revenue metric",
        "The wrong time",
        "Metadata are strings",
        "`custom` does not appear",
        "A column that the stream does not have",
        "A stream that does not come",
        "Values that arrive cut",
        "A mirror removes no members",
        "A mirror removes too many",
        "A run is slow",
    ],
)
def test_what_goes_wrong_without_an_error_is_explained_too(symptom):
    assert symptom in ENTRIES
