"""What the size of a list means in Statsig: https://docs.statsig.com/segments/add-id-list."""

from __future__ import annotations

SLOWER_FROM = 1_000
"""Members up to which a list travels with the gates; a longer one reaches SDKs by a slower path, for good."""

SLOWEST_FROM = 10_000
"""Members from which that path is slower still, and on some plans not there."""

MEANINGS = {
    SLOWER_FROM: (
        f"over {SLOWER_FROM:,}. That is a one-way door: the list then lives in Statsig's ID-list service, and removing "
        f"ids does not bring it back. An SDK sees it only with its ID lists switched on (`enableIDLists: true`), else "
        f"the segment answers no for everybody; and some plans do not have it. `max_segment_size` keeps a segment small"
    ),
    SLOWEST_FROM: f"over {SLOWEST_FROM:,}: its changes reach SDKs later, and on some plans they do not",
}
"""What it means that a list grows over a size; a sentence goes before, and a full stop comes behind."""


def size_class(members: int) -> str:
    """Return what a list's size means, in words."""
    if members <= SLOWER_FROM:
        return "small: it travels with the gates"
    if members <= SLOWEST_FROM:
        return f"over {SLOWER_FROM:,}: it reaches SDKs by a slower path"
    return f"over {SLOWEST_FROM:,}: it reaches SDKs by the slowest path, and not on every plan"


def crossings(before: int, after: int) -> list[str]:
    """Return what it means that a list grows from so many members to so many: a text for each line that it crosses."""
    return [text for size, text in MEANINGS.items() if before <= size < after]
