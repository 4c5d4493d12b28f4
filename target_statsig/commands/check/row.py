"""What a row of the table is."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mark(enum.Enum):
    """How a row came out."""

    OK = "ok"
    UNTOLD = "?"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at.

    Attributes:
        mark: How it came out.
        name: What it is.
        found: What was found, in words.
        remedy: What to do; empty where nothing is.
    """

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
