"""A number as its plain decimal text: never `1.0`, never `1e+06`.

Pure arithmetic; knows nothing of records and of Statsig.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

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
