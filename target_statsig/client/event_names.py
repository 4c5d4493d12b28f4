"""For which names Statsig drops an event without a word, after it has answered 202.

Facts and pure functions; both the configuration and the mapping of events go by them.
"""

from __future__ import annotations

RESERVED_PREFIX = "statsig::"
"""Statsig's own exposures begin so."""

DROPPED_CHARACTERS = '\\[]{}<>#=;&$%|"\0\r\n'
"""https://docs.statsig.com/metrics/raw-events."""

_SANITIZED = str.maketrans(dict.fromkeys(DROPPED_CHARACTERS, "_"))


def dropped_characters(name: str) -> str:
    """Return for what Statsig would drop an event of this name, fit to be shown; empty where it would not."""
    found = [character for character in DROPPED_CHARACTERS if character in name]
    if name.startswith(RESERVED_PREFIX):
        found.append(RESERVED_PREFIX)
    return " ".join(ascii(part)[1:-1] if part < " " else part for part in found)


def sanitized(name: str) -> str:
    """Return the name with `_` in place of what Statsig would drop it for."""
    if name.startswith(RESERVED_PREFIX):
        name = RESERVED_PREFIX.replace(":", "_") + name[len(RESERVED_PREFIX) :]
    return name.translate(_SANITIZED)
