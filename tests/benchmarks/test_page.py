"""The pages say and draw what `docs/performance.json` holds, and nothing that was measured stands beside it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import figures, page, plots
from tests.benchmarks.page import PAGES
from tests.tools.plugin_definition import ROOT

TELEPHONE = 390
WIDE_CHARACTER = 8
"""Pixels of a character in bold, on average, at most."""

SVG = "{http://www.w3.org/2000/svg}"

KEPT = figures.load()
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
MADE = page.files(KEPT, TEXTS)
PICTURES = sorted(MADE.keys() - {*PAGES})
PERFORMANCE = "docs/performance.md"


@pytest.mark.parametrize("name", MADE)
def test_the_pages_and_the_plots_are_made_of_the_figures(name):
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name], "run `python -m tests.benchmarks --redraw`"


def test_every_block_stands_somewhere_once():
    found = [block["name"] for text in TEXTS.values() for block in page.BLOCK.finditer(text)]
    assert sorted(found) == sorted(page.blocks(KEPT))


def test_other_figures_change_the_pages_the_plots_and_no_word_beside_them(tmp_path):
    (tmp_path / "docs").mkdir()
    figures.save(KEPT, tmp_path)
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


def test_nothing_that_was_measured_stands_beside_the_blocks():
    by_hand = page.BLOCK.sub("", TEXTS[PERFORMANCE])
    assert not re.search(r"\d (?:MB|s|µs)\b|events/s|\d\.\d", by_hand.replace("200 MB", ""))


@pytest.mark.parametrize("name", page.panels_of(KEPT))
def test_a_plot_says_in_words_what_it_draws(name):
    panels = page.panels_of(KEPT)[name]
    words = plots.describe(panels)
    assert f"![{words}]" in TEXTS[PERFORMANCE]
    assert all(bar.text in words for panel in panels for bar in panel.bars)
    assert ET.fromstring(plots.draw(panels))[0].text == words


@pytest.mark.parametrize("name", PICTURES)
def test_a_plot_fits_a_telephone_and_is_drawn_for_light_and_dark(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    _, _, width, height = map(int, root.get("viewBox").split())
    assert width <= TELEPHONE
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    for each in ("text", ".card", ".ours", ".other"):
        assert f"{each} {{ " in light
        assert f"{each} {{ " in dark
    for line in root.iter(f"{SVG}text"):
        assert len(line.text) * WIDE_CHARACTER <= width - 2 * plots.MARGIN
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x")) + float(box.get("width")) <= width
        assert float(box.get("y")) + float(box.get("height")) <= height
