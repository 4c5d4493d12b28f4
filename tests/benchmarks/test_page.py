"""The pages and plots show the figures of `docs/performance.json`, and no other measured values."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import figures, page, plots
from tests.benchmarks.page import PAGES
from tests.tools.plugin_definition import ROOT

PHONE_WIDTH = 390
CHARACTER_WIDTH = 8
"""The most pixels of a bold character, on average."""

SVG = "{http://www.w3.org/2000/svg}"

FIGURES = figures.load()
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
GENERATED = page.files(FIGURES, TEXTS)
PICTURES = sorted(GENERATED.keys() - {*PAGES})
PERFORMANCE = "docs/performance.md"


@pytest.mark.parametrize("name", GENERATED)
def test_the_pages_and_plots_are_generated_from_the_figures(name):
    assert (ROOT / name).read_text(encoding="utf-8") == GENERATED[name], "run `python -m tests.benchmarks --redraw`"


def test_every_block_is_on_a_page_once():
    found = [block["name"] for text in TEXTS.values() for block in page.BLOCK.finditer(text)]
    assert sorted(found) == sorted(page.blocks(FIGURES))


def test_other_figures_change_only_the_blocks_and_plots(tmp_path):
    (tmp_path / "docs").mkdir()
    figures.save(FIGURES, tmp_path)
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    changed = figures.load(tmp_path)
    changed.rates.contenders[0].rate = 12_345
    changed.sizes[0].megabytes = 678
    changed.shapes.rates[0].ours = 54_321
    page.write(changed, tmp_path)
    readme, written = ((tmp_path / name).read_text(encoding="utf-8") for name in PAGES)
    assert "54,000 flat events" in readme
    assert "| a plain singer-sdk target           |   12,345 |" in written
    assert "678 MB" in written
    assert "12,345" in (tmp_path / "docs" / "performance-rates.svg").read_text(encoding="utf-8")
    assert [page.BLOCK.sub("", text) for text in (readme, written)] == [
        page.BLOCK.sub("", text) for text in TEXTS.values()
    ]


def test_no_measured_value_is_outside_of_the_blocks():
    handwritten = page.BLOCK.sub("", TEXTS[PERFORMANCE])
    assert not re.search(r"\d (?:MB|s|µs)\b|events/s|\d\.\d", handwritten.replace("200 MB", ""))


@pytest.mark.parametrize("name", page.panels_of(FIGURES))
def test_a_plot_has_a_description_of_its_values(name):
    panels = page.panels_of(FIGURES)[name]
    description = plots.describe(panels)
    assert f"![{description}]" in TEXTS[PERFORMANCE]
    assert all(bar.text in description for panel in panels for bar in panel.bars)
    assert ET.fromstring(plots.draw(panels))[0].text == description


@pytest.mark.parametrize("name", PICTURES)
def test_a_plot_fits_a_phone_and_has_light_and_dark_colours(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    _, _, width, height = map(int, root.get("viewBox").split())
    assert width <= PHONE_WIDTH
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    for each in ("text", ".card", ".ours", ".other"):
        assert f"{each} {{ " in light
        assert f"{each} {{ " in dark
    for line in root.iter(f"{SVG}text"):
        assert len(line.text) * CHARACTER_WIDTH <= width - 2 * plots.MARGIN
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x")) + float(box.get("width")) <= width
        assert float(box.get("y")) + float(box.get("height")) <= height
