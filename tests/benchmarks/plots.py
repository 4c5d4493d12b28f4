"""Bar plots as SVG, in light and dark colours, as wide as a phone."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 380
"""The width of the drawing in pixels; a phone shows it unscaled."""

SHOWN_WIDTH = 520
"""The width on larger screens."""

MARGIN = 16
PANEL_HEIGHT = 36
BAR_HEIGHT = 10
ROW_HEIGHT = 36

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.panel { font-weight: 600 }
.ours { fill: #0969da }
.other { fill: #818b98 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.card { fill: #0d1117; stroke: #3d444d }
.ours { fill: #4493f8 }
.other { fill: #9198a1 }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: Its label.
        value: Its length, relative to the other bars of its panel.
        text: The value as text.
        ours: Whether it belongs to `target-statsig`.
    """

    label: str
    value: float
    text: str
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars of one measure."""

    title: str
    bars: Sequence[Bar]


def describe(panels: Sequence[Panel]) -> str:
    """Return a text with the values of a plot, for its title and its alternative text."""
    bars = ("; ".join(f"{bar.label}: {bar.text}" for bar in panel.bars) for panel in panels)
    return " ".join(f"{panel.title}. {values}." for panel, values in zip(panels, bars, strict=True))


def draw(panels: Sequence[Panel]) -> str:
    """Return a plot as SVG."""
    shapes: list[str] = []
    y = 0
    for panel in panels:
        y += PANEL_HEIGHT
        shapes.append(_text(MARGIN, y - 8, panel.title, 'class="panel"'))
        longest = max(bar.value for bar in panel.bars)
        for bar in panel.bars:
            width = max(bar.value / longest * (WIDTH - 2 * MARGIN), 1)
            colour = "ours" if bar.ours else "other"
            box = f'x="{MARGIN}" y="{y + 19}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2"'
            shapes += [
                _text(MARGIN, y + 14, bar.label),
                _text(WIDTH - MARGIN, y + 14, bar.text, 'text-anchor="end"'),
                f'<rect class="{colour}" {box}/>',
            ]
            y += ROW_HEIGHT
    height = y + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{SHOWN_WIDTH}" role="img">',
        f"<title>{escape(describe(panels))}</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        *shapes,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: int, y: int, text: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}"{" " * bool(attributes)}{attributes}>{escape(text)}</text>'
