"""How Python looks for garbage in a process through which records go by the million."""

from __future__ import annotations

import gc

COLLECTED_AFTER = 10_000
"""Objects more than before, after which Python looks for garbage that refers to itself; its choice is 700 or 2,000."""


def spare_the_collector() -> None:
    """Let Python look for garbage seldom, and never at what is there by now: records are trees, and free themselves."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, *gc.get_threshold()[1:])
    gc.enable()
