"""What is wrong with records, by row, and how the values of a column are converted that may be at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_statsig.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.singer.columns import Column

Faults = dict[int, RecordError]
"""Why records cannot become what they are to become, by row; of several reasons the first counts."""


def convert(function: Callable[[Any], Any], column: Column, faults: Faults) -> Column:
    """Return what a function makes of each value, null where it finds a fault."""
    try:
        return [*map(function, column)]
    except RecordError:
        return [convert_one(function, value, row, faults) for row, value in enumerate(column)]


def convert_one(function: Callable[[Any], Any], value: object, row: int, faults: Faults) -> Any:
    """Return what a function makes of the value of a row, null where it finds a fault."""
    try:
        return function(value)
    except RecordError as error:
        faults.setdefault(row, error)
        return None
