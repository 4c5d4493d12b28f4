"""The page says and draws what `docs/performance.json` holds, and nothing that was measured stands anywhere else."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import figures, page, plots
from tests.benchmarks.figures import DOCS
from tests.benchmarks.page import PAGE

TELEPHONE = 390
WIDE_CHARACTER = 8
"""Pixels of a character in bold, on average, at most."""

SVG = "{http://www.w3.org/2000/svg}"

KEPT = figures.load()
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")
PICTURES = sorted(page.files(KEPT, TEXT).keys() - {PAGE})


@pytest.mark.parametrize("name", [PAGE, *PICTURES])
def test_the_page_and_its_plots_are_made_of_the_figures(name):
    assert (DOCS / name).read_text(encoding="utf-8") == page.files(KEPT, TEXT)[name], (
        "run `python -m tests.benchmarks --redraw`"
    )


def test_every_block_stands_on_the_page_once():
    assert sorted(block["name"] for block in page.BLOCK.finditer(TEXT)) == sorted(page.blocks(KEPT))


def test_other_figures_change_the_page_the_plots_and_no_word_beside_them(tmp_path):
    figures.save(KEPT, tmp_path)
    (tmp_path / PAGE).write_text(TEXT, encoding="utf-8")
    changed = figures.load(tmp_path)
    changed.rates.contenders[0].rate = 12_345
    changed.sizes[0].megabytes = 678
    page.write(changed, tmp_path)
    written = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "| a plain singer-sdk target           |   12,345 |" in written
    assert "678 MB" in written
    assert "12,345" in (tmp_path / "performance-rates.svg").read_text(encoding="utf-8")
    assert page.BLOCK.sub("", written) == page.BLOCK.sub("", TEXT)


def test_nothing_that_was_measured_stands_beside_the_blocks():
    assert not re.search(r"\d (?:MB|s|µs)\b|events/s|\d\.\d", page.BLOCK.sub("", TEXT).replace("200 MB", ""))


@pytest.mark.parametrize("name", page.panels_of(KEPT))
def test_a_plot_says_in_words_what_it_draws(name):
    panels = page.panels_of(KEPT)[name]
    words = plots.describe(panels)
    assert f"![{words}]" in TEXT
    assert all(bar.text in words for panel in panels for bar in panel.bars)
    assert ET.fromstring(plots.draw(panels))[0].text == words


@pytest.mark.parametrize("name", PICTURES)
def test_a_plot_fits_a_telephone_and_is_drawn_for_light_and_dark(name):
    text = (DOCS / name).read_text(encoding="utf-8")
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
