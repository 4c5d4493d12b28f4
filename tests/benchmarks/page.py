"""Generates the tables, sentences and plots of the pages from `docs/performance.json`."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from tests.benchmarks import plots
from tests.benchmarks.contenders import PLAIN, THIS, THIS_WITHOUT_DEDUPE
from tests.benchmarks.plots import Bar, Panel
from tests.benchmarks.table import markdown
from tests.tools.plugin_definition import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.figures import Figures, Late, LateRate, Rate, Rates, SegmentWork, Shapes, Size

PAGES = ("README.md", "docs/performance.md")
BLOCK = re.compile(r"(?P<begin><!-- (?P<name>\w+): .*? -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
"""A generated block between two comments; the rest of a page is written by hand."""

LINE = 118


def write(figures: Figures, root: Path = ROOT) -> None:
    """Write the pages and plots of a checkout."""
    for name, content in files(figures, {name: (root / name).read_text(encoding="utf-8") for name in PAGES}).items():
        (root / name).write_text(content, encoding="utf-8")


def files(figures: Figures, pages: Mapping[str, str]) -> dict[str, str]:
    """Return the pages and plots with these figures, by their paths."""
    generated = blocks(figures)
    texts = {
        name: BLOCK.sub(lambda block: f"{block['begin']}\n{generated[block['name']]}\n\n{block['end']}", text)
        for name, text in pages.items()
    }
    return texts | {f"docs/{_picture(name)}": plots.draw(panels) for name, panels in panels_of(figures).items()}


def blocks(figures: Figures) -> dict[str, str]:
    """Return the generated blocks by their names."""
    pictures = {name: f"![{plots.describe(panels)}]({_picture(name)})" for name, panels in panels_of(figures).items()}
    generated = {
        "speed": [_wrapped(_speed(figures))],
        "rates": [
            _wrapped(
                f"Measured on {figures.date}, on {figures.machine}: {figures.rates.events:,} events of twelve columns "
                f"into a loopback server, all settings at their defaults, start-up taken off, "
                f"{_medians(figures.rates.rounds)}."
            ),
            pictures["rates"],
            rates_table(figures.rates),
            _wrapped(_price(figures)),
            late_table(figures.late),
        ],
        "sizes": [pictures["sizes"], sizes_table(figures.sizes)],
        "shapes": [
            _wrapped(f"{figures.shapes.events:,} events, {_medians(figures.shapes.rounds)}:"),
            pictures["shapes"],
            shapes_table(figures.shapes),
            _wrapped(" ".join(shapes_sentences(figures.shapes))),
        ],
        "segments": [segments_table(figures.segments)],
    }
    return {name: "\n\n".join(parts) for name, parts in generated.items()}


def rates_table(rates: Rates) -> str:
    """Return the table of all contenders."""
    return markdown(
        ["", "events/s", "target-statsig is", "processor time an event", "peak memory"],
        [
            [
                each.name,
                f"{each.rate:,.0f}",
                "" if each.ratio is None else f"{each.ratio:.1f} times as fast",
                f"{each.microseconds:.1f} µs",
                _megabytes(each.megabytes),
            ]
            for each in rates.contenders
        ],
    )


def late_table(late: Late) -> str:
    """Return the table of the contenders with latency."""
    rows = [[each.name, f"{each.rate:,.0f}"] for each in late.contenders]
    return markdown(["", f"events/s, {late.milliseconds} ms"], rows)


def sizes_table(sizes: Sequence[Size]) -> str:
    """Return the table of time and memory by the number of events."""
    return markdown(
        ["events", "time", "events/s", "peak memory"],
        [
            [
                f"{each.events:,}",
                f"{each.seconds:.1f} s",
                f"{each.events / each.seconds:,.0f}",
                _megabytes(each.megabytes),
            ]
            for each in sizes
        ],
    )


def shapes_table(shapes: Shapes) -> str:
    """Return the table of shapes and short runs."""
    rates = [
        [f"{each.name}, events/s", f"{each.plain:,.0f}", f"{each.ours:,.0f}", f"{each.ratio:.1f}"]
        for each in shapes.rates
    ]
    short = [
        [f"a run of {each.events:,} events", f"{each.plain:.2f} s", f"{each.ours:.2f} s", f"{each.ratio:.1f}"]
        for each in shapes.short
    ]
    return markdown(["", PLAIN.name, THIS.name, "times as fast"], [*rates, *short])


def shapes_sentences(shapes: Shapes) -> Iterator[str]:
    """Yield the sentences on slow responses and on reruns."""
    main = " and ".join(f"{_megabytes(each.main)} at {each.events:,} events" for each in shapes.slow)
    everything = " and ".join(_megabytes(each.all) for each in shapes.slow)
    yield (
        f"With answers that take {shapes.slow_milliseconds} ms the main process holds {main}; with its workers "
        f"{everything}."
    )
    yield (
        f"A rerun of {shapes.rerun.events:,} events that are all known goes at {shapes.rerun.ratio:.1f} of the rate of "
        f"sending them, in {_megabytes(shapes.rerun.megabytes)}."
    )


def segments_table(works: Sequence[SegmentWork]) -> str:
    """Return the table of segments."""
    return markdown(
        ["", "time", "ids/s", "peak memory"],
        [[each.name, f"{each.seconds:.1f} s", f"{each.rate:,.0f}", _megabytes(each.megabytes)] for each in works],
    )


def panels_of(figures: Figures) -> Mapping[str, Sequence[Panel]]:
    """Return the panels of each plot."""
    late, sizes, shapes = figures.late, figures.sizes, figures.shapes
    return {
        "rates": [
            Panel("Events per second, answers at once", _rate_bars(figures.rates.contenders)),
            Panel(f"Events per second, answers after {late.milliseconds} ms", _rate_bars(late.contenders)),
        ],
        "sizes": [
            Panel("Time", [Bar(f"{each.events:,} events", each.seconds, f"{each.seconds:.1f} s") for each in sizes]),
            Panel(
                "Peak memory",
                [Bar(f"{each.events:,} events", each.megabytes, _megabytes(each.megabytes)) for each in sizes],
            ),
        ],
        "shapes": [
            Panel(
                f"{each.name[0].upper()}{each.name[1:]}, events/s",
                [
                    Bar(_plain(PLAIN.name), each.plain, f"{each.plain:,.0f}", ours=False),
                    Bar(_plain(THIS.name), each.ours, f"{each.ours:,.0f}"),
                ],
            )
            for each in shapes.rates
        ],
    }


def _rate_bars(contenders: Sequence[Rate] | Sequence[LateRate]) -> list[Bar]:
    ours = {THIS.name, THIS_WITHOUT_DEDUPE.name}
    return [Bar(_plain(each.name), each.rate, f"{each.rate:,.0f}", ours=each.name in ours) for each in contenders]


def _speed(figures: Figures) -> str:
    machine = figures.machine.partition(" (")[0]
    flat, nested = figures.shapes.rates[:2]
    return (
        f"On {machine} the target sends about {round(flat.ours, -3):,.0f} flat events a second, or "
        f"{round(nested.ours, -3):,.0f} nested ones: {flat.ratio:.0f} and {nested.ratio:.0f} times as many as a plain "
        "singer-sdk target. [How fast is it?](docs/performance.md) has the measurements."
    )


def _price(figures: Figures) -> str:
    """Return the sentences on the cost of the delivery ledger."""
    at_once = {each.name: each.rate for each in figures.rates.contenders}
    late = {each.name: each.rate for each in figures.late.contenders}

    def price(rates: Mapping[str, float]) -> str:
        percent = round(100 * (1 - rates[THIS.name] / rates[THIS_WITHOUT_DEDUPE.name]))
        return f"{percent} %" if percent > 0 else "nothing"

    return (
        f"Remembering deliveries costs {price(at_once)} where the processors are the limit, as here. The way to "
        f"Statsig is longer. With answers that take {figures.late.milliseconds} ms it costs {price(late)}, and the "
        f"target is {late[THIS.name] / late[PLAIN.name]:.0f} times as fast as the plain one:"
    )


def _medians(rounds: int) -> str:
    return "one round" if rounds == 1 else f"medians of {rounds} rounds"


def _megabytes(count: float) -> str:
    return f"{count:,.0f} MB"


def _picture(name: str) -> str:
    return f"performance-{name}.svg"


def _plain(name: str) -> str:
    return re.sub(r"[*`]", "", name)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, LINE, break_on_hyphens=False)
