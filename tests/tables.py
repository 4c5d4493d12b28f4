"""Reads the table at the end of a run or dry run from the log."""

from __future__ import annotations

import re


def table_row(log: str, name: str) -> dict[str, str]:
    """Return the cells in the row of a stream or segment, by column."""
    header: list[str] = []
    for line in log.splitlines():
        cells = re.split(r" {2,}", line.strip())
        if cells[0] in {"stream", "segment"}:
            header = cells
        elif header and cells[0] == name:
            return dict(zip(header, cells, strict=True))
    msg = f"No row of {name} in:\n{log}"
    raise AssertionError(msg)
