"""Rows as text: readable in 80 columns, in colours only on a terminal that wants them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from target_statsig.commands.check.row import Mark, failed
from target_statsig.reports.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_statsig.commands.check.row import Row, Section

MARK_WIDTH = 4
NAME_WIDTH = 20
"""Characters; a longer name has a line to itself."""

COLOURS = {Mark.OK: "\x1b[32m", Mark.UNTOLD: "\x1b[33m", Mark.FAIL: "\x1b[1;31m"}
PLAIN = "\x1b[0m"


def render(sections: Sequence[Section], *, width: int = 80, colours: bool = False) -> str:
    """Return the table, with a last line that sums it up.

    Args:
        sections: Its rows.
        width: Characters in a line.
        colours: Whether to colour the marks.
    """
    lines: list[str] = []
    for section in sections:
        lines += [section.title, *(line for row in section.rows for line in _row(row, width, colours=colours)), ""]
    rows = sum(len(section.rows) for section in sections)
    failures = failed(sections)
    verdict = f"{failures} of {rows} checks failed." if failures else f"None of {rows} checks failed."
    return "\n".join([*lines, f"{verdict} Nothing was sent and nothing was changed."]) + "\n"


def _row(row: Row, width: int, *, colours: bool) -> Iterator[str]:
    mark = row.mark.value.ljust(MARK_WIDTH)
    if colours:
        mark = f"{COLOURS[row.mark]}{mark}{PLAIN}"
    margin = " " * (2 + MARK_WIDTH + 2 + NAME_WIDTH + 2)
    told = _wrapped(row.found, width, margin) + _wrapped(f"→ {row.remedy}" if row.remedy else "", width, margin)
    name = visible(row.name)
    if len(name) > NAME_WIDTH:
        yield f"  {mark}  {name}"
    else:
        yield f"  {mark}  {name.ljust(NAME_WIDTH)}  {told.pop(0).lstrip()}"
    yield from told


def _wrapped(text: str, width: int, margin: str) -> list[str]:
    return textwrap.wrap(
        visible(text),
        width,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
