"""How the values of a column are converted: exact numbers, booleans, and the faults of values that cannot be."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from target_statsig.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from target_statsig.singer.columns import Column

Faults = dict[int, RecordError]
"""Why records cannot become what they are to become, by row; of several reasons the first counts."""


def convert(function: Callable[[Any], Any], column: Column, faults: Faults) -> Column:
    """Apply a function to each value; null where it finds a fault."""
    try:
        return [*map(function, column)]
    except RecordError:
        return [convert_one(function, value, row, faults) for row, value in enumerate(column)]


def convert_one(function: Callable[[Any], Any], value: object, row: int, faults: Faults) -> Any:
    """Apply a function to the value of a row; null where it finds a fault."""
    try:
        return function(value)
    except RecordError as error:
        faults.setdefault(row, error)
        return None


LARGEST_POWER = 308
"""Powers of ten past which a number is none for a reader of JSON that keeps doubles (IEEE 754: about 1.8e308)."""

SMALLEST_POWER = -324
"""The power of ten of the smallest double. Both bounds keep `1E+400000` from becoming 400,000 digits."""


def exact(number: Decimal | float) -> Decimal:
    """Return the decimal that a number was written as.

    Raises:
        ValueError: It is not finite, or too large or too small for a double.
    """
    # repr gives the shortest digits that mean this float: 89.99, and not the 50 digits of its binary value.
    decimal = number if isinstance(number, Decimal) else Decimal(repr(number))
    if is_double(decimal):
        return decimal
    if decimal.is_zero():
        return Decimal(0)
    msg = "the number is not finite, or too large or too small"
    raise ValueError(msg)


def is_double(number: Decimal) -> bool:
    """Return whether a number is finite, and of a size that a double can have."""
    return number.is_finite() and SMALLEST_POWER <= number.adjusted() <= LARGEST_POWER


def print_plainly(numbers: Collection[Decimal]) -> bool:
    """Return whether all numbers are doubles, as `is_double` has it, and print without an exponent."""
    texts = [*map(str, numbers)]
    return not "".join(texts).strip("-.0123456789") and max(map(len, texts), default=0) <= LARGEST_POWER


def plain_text(number: float | Decimal) -> str:
    """Return the digits of a number as they came, without an exponent and without a fraction of zeros.

    Raises:
        ValueError: It is not finite, or too large or too small for a double.
    """
    if isinstance(number, int):
        return str(int(number))
    text = format(exact(number), "f")
    whole, _, fraction = text.partition(".")
    if fraction.strip("0"):
        return text
    return "0" if whole == "-0" else whole


BOOLEANS: Mapping[object, bool] = MappingProxyType(
    {
        **dict.fromkeys((True, "true", "t", "yes", "y", "on", "1", "granted"), True),
        **dict.fromkeys((False, "false", "f", "no", "n", "off", "0", "denied"), False),
    }
)
"""What a column may hold; the numbers 1 and 0 are the keys True and False."""


def parse_bool(value: object) -> bool | None:
    """Return the boolean that a value stands for; None where it stands for none."""
    if isinstance(value, str):
        return BOOLEANS.get(value.strip().lower())
    if isinstance(value, Decimal) and value.is_snan():
        return None  # it has no hash to look it up by
    return BOOLEANS.get(value) if isinstance(value, int | float | Decimal) else None
