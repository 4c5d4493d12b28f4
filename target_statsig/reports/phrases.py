"""How a count, and text that others wrote, stand in a message."""

from __future__ import annotations

import logging
from typing import Any

from target_statsig._compat import override


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 record`, `1,000 records`, `2 retries`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def visible(text: str) -> str:
    r"""Return text so that it stays on its line and cannot play with a terminal: a line break becomes `\n`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class LineRecord(logging.LogRecord):
    """A log record whose values stay on their line; line breaks of the message itself stay what they are."""

    @override
    def __init__(self, name: str, *args: Any, **options: Any) -> None:
        """Take the logger's name, in which singer-sdk puts that of a stream, and what any record takes."""
        super().__init__(visible(name), *args, **options)

    @override
    def getMessage(self) -> str:
        """Return the message with its values put in."""
        if not self.args:
            return visible(str(self.msg))
        if isinstance(self.args, tuple):
            return str(self.msg) % tuple(map(_on_its_line, self.args))
        return str(self.msg) % {name: _on_its_line(value) for name, value in self.args.items()}


def _on_its_line(value: object) -> object:
    return value if isinstance(value, int | float) else visible(str(value))
