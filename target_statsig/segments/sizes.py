"""What the size of a list means in Statsig: https://docs.statsig.com/segments/add-id-list.

Pure. Refuses to know who is in a list.
"""

from __future__ import annotations

LARGEST_LIST = 10_000_000
"""Ids over all lists of a project: a hard limit."""

SLOWER_FROM = 1_000
"""Members up to which a list travels with the gates; a longer one reaches SDKs by a slower path."""

SLOWEST_FROM = 10_000
"""Members from which that path is slower still, and on some plans not there."""


def size_class(members: int) -> str:
    """Return what a list's size means, in words."""
    if members <= SLOWER_FROM:
        return "small: it travels with the gates"
    if members <= SLOWEST_FROM:
        return f"over {SLOWER_FROM:,}: it reaches SDKs by a slower path"
    return f"over {SLOWEST_FROM:,}: it reaches SDKs by the slowest path, and not on every plan"


def growth(before: int, after: int) -> str | None:
    """Return the class that a list has grown into, in words, or None where it is in the same one as before."""
    grown = after > before and size_class(after) != size_class(before)
    return size_class(after) if grown else None
