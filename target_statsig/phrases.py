"""How a count, and text that others wrote, stand in a message.

Pure. Refuses to know what the message is about.
"""

from __future__ import annotations


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
