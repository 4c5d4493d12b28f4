"""Tables in Markdown, and descriptions of the machine and the versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, with all columns but the first aligned to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(cells, widths) for cells in (headings, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def megabytes(count: int) -> str:
    """Return bytes as text in megabytes."""
    return f"{count / 1_000_000:,.0f} MB"


def machine() -> str:
    """Return the machine's size and the version of Python as text."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"a machine with {os.cpu_count()} cores and {gigabytes:.0f} GB ({platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()})"
    )


def circumstances() -> str:
    """Return the machine's size, the versions and the date."""
    return (
        f"{machine()}; singer-sdk {version('singer-sdk')}, statsig-python-core {version('statsig-python-core')}; "
        f"{datetime.now(tz=UTC):%-d %B %Y}"
    )
