"""Rates as they are written, `10/10s, 850/15m`, and as they are kept; knows no setting that holds them."""

from __future__ import annotations

import re

from target_statsig.settings import RateWindow

_RATE = re.compile(r"(\d{1,9}) */ *(\d{1,9}) *([smh])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_rate_windows(text: str) -> tuple[RateWindow, ...]:
    """Read pairs of a number and a period, with commas between them; every pair holds.

    Args:
        text: For instance `10/10s, 850/15m`: at most 10 requests in 10 seconds, and 850 in 15 minutes.
            A period is a whole number of seconds (`s`), minutes (`m`) or hours (`h`).

    Raises:
        ValueError: Its text says what is wrong.
    """
    return tuple(_parse_rate(part.strip()) for part in text.split(","))


def _parse_rate(text: str) -> RateWindow:
    match = _RATE.fullmatch(text)
    if match is None:
        msg = f"'{text}' is not a number of requests and a period, such as `10/10s` or `850/15m`"
        raise ValueError(msg)
    number, period, unit = match.groups()
    window = RateWindow(int(number), int(period) * _SECONDS[unit])
    if not window.limit or not window.seconds:
        msg = f"'{text}' would let no request through: both numbers must be 1 or more"
        raise ValueError(msg)
    return window
