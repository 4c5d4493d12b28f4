"""The page "Troubleshooting" explains every error and every symptom without one."""

from __future__ import annotations

import re

import pytest

from target_statsig.errors import Heading
from tests.tools.plugin_definition import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\*\*(.+?)\.\*\* ", PAGE, re.MULTILINE)


def test_every_error_heading_is_explained_once_and_in_order():
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
def test_symptoms_without_an_error_are_explained(symptom):
    assert symptom in ENTRIES
