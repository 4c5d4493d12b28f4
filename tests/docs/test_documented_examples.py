"""The example rows of exposures and metrics become the items that the page shows."""

from __future__ import annotations

import json
import re

import pytest

from target_statsig.config.parse import parse_config
from target_statsig.config.settings import config_schema
from tests.mapped import item_of
from tests.tools.plugin_definition import ROOT

PAGE = (ROOT / "docs" / "exposures-and-metrics.md").read_text(encoding="utf-8")


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows_of(table):
    """Return the rows of a table as records: an empty cell is null, and a number a number."""
    header, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return [{name: _value(cell) for name, cell in zip(header, line, strict=True)} for line in lines]


def _value(cell):
    try:
        return json.loads(cell) if cell else None
    except ValueError:
        return cell


@pytest.mark.parametrize("title", ["Exposures", "Precomputed metrics"])
def test_the_example_rows_become_the_items_shown(title):
    text = section(title)
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)[0]
    config = parse_config(json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1]), config_schema())
    settings = config.for_stream(*config.entries)
    mapped = [item_of(row, settings) for row in rows_of(table)]
    shown = [json.loads(item) for item in re.findall(r"`(\{\"[^`]+\})`", text)]
    assert shown
    assert shown == mapped[: len(shown)]
