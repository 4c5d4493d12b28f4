"""The table of `--check`."""

from __future__ import annotations

import enum
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import click

from target_statsig.reports.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Mark(enum.Enum):
    """The result of a check."""

    OK = "ok"
    UNKNOWN = "?"
    FAIL = "FAIL"


MARK_WIDTH = 4
NAME_WIDTH = 20
"""Characters. A longer name gets its own line."""

COLOURS = {Mark.OK: "green", Mark.UNKNOWN: "yellow", Mark.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """One check: its subject, what was found, and what to do."""

    mark: Mark
    name: str
    found: str
    remedy: str = ""


class Section(NamedTuple):
    """Rows under one title."""

    title: str
    rows: Sequence[Row]


def failed(sections: Sequence[Section]) -> int:
    """Return how many rows failed."""
    return sum(row.mark is Mark.FAIL for section in sections for row in section.rows)


def render(sections: Sequence[Section], *, width: int = 80, colours: bool = False) -> str:
    """Return the table in lines of `width` characters, with a summary as its last line."""
    lines: list[str] = []
    for section in sections:
        lines += [section.title, *(line for row in section.rows for line in _row(row, width, colours=colours)), ""]
    rows = sum(len(section.rows) for section in sections)
    failures = failed(sections)
    verdict = f"{failures} of {rows} checks failed." if failures else f"None of {rows} checks failed."
    return "\n".join([*lines, f"{verdict} Nothing was sent or changed."]) + "\n"


def _row(row: Row, width: int, *, colours: bool) -> Iterator[str]:
    mark = row.mark.value.ljust(MARK_WIDTH)
    if colours:
        mark = click.style(mark, fg=COLOURS[row.mark], bold=row.mark is Mark.FAIL or None)
    margin = " " * (2 + MARK_WIDTH + 2 + NAME_WIDTH + 2)
    wrapper = textwrap.TextWrapper(
        width, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )
    lines = wrapper.wrap(visible(row.found)) + (wrapper.wrap(visible(f"→ {row.remedy}")) if row.remedy else [])
    name = visible(row.name)
    if len(name) > NAME_WIDTH:
        yield f"  {mark}  {name}"
    else:
        yield f"  {mark}  {name.ljust(NAME_WIDTH)}  {lines.pop(0).lstrip()}"
    yield from lines
