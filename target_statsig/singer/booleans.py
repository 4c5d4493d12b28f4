"""Yes or no, as a column may say it."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOLEANS: Mapping[object, bool] = MappingProxyType(
    {
        **dict.fromkeys((True, "true", "t", "yes", "y", "on", "1", "granted"), True),
        **dict.fromkeys((False, "false", "f", "no", "n", "off", "0", "denied"), False),
    }
)
"""What a column may hold; the numbers 1 and 0 are the keys True and False."""


def parse_bool(value: object) -> bool | None:
    """Return the answer that a value is; None where it is none."""
    if isinstance(value, str):
        return BOOLEANS.get(value.strip().lower())
    if isinstance(value, Decimal) and value.is_snan():
        return None  # it has no hash to look it up by
    return BOOLEANS.get(value) if isinstance(value, int | float | Decimal) else None
