"""How counts, times and text from others are written in a message."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from typing import Any

from typing_extensions import override

MINUTE = 60
_TENTHS_UP_TO, _SECONDS_UP_TO, _MINUTES_UP_TO = 10, 120, 120


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 record`, `1,000 records`, `2 retries`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a duration for people, rounded up: `3.2 s`, `45 s`, `12 min`, `2 h 5 min`."""
    seconds = max(seconds, 0.0)
    if seconds < _TENTHS_UP_TO:
        return f"{math.ceil(seconds * 10) / 10:g} s"
    if seconds < _SECONDS_UP_TO:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / MINUTE)
    if minutes < _MINUTES_UP_TO:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def iso_time(seconds: float) -> str:
    """Return a time in ISO 8601, given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def readable_time(seconds: float) -> str:
    """Return a time in UTC to the minute, given in seconds since 1970."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M} UTC"


def visible(text: str) -> str:
    r"""Return text that stays on its line and cannot control a terminal: a line break becomes `\n`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class LineRecord(logging.LogRecord):
    """A log record with escaped values. Line breaks of the message itself are kept."""

    @override
    def __init__(self, name: str, *args: Any, **options: Any) -> None:
        """Take the logger's name, in which singer-sdk puts that of a stream, and what any record takes."""
        super().__init__(visible(name), *args, **options)

    @override
    def getMessage(self) -> str:
        """Return the message with its values."""
        if not self.args:
            return visible(str(self.msg))
        if isinstance(self.args, tuple):
            return str(self.msg) % tuple(map(_on_its_line, self.args))
        return str(self.msg) % {name: _on_its_line(value) for name, value in self.args.items()}


def _on_its_line(value: object) -> object:
    return value if isinstance(value, int | float) else visible(str(value))
