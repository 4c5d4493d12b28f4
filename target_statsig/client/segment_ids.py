"""Which texts can be a segment's id; the others cannot stand in the path of a request either."""

from __future__ import annotations

import re

LONGEST = 100
"""Characters of a segment's id at most: https://docs.statsig.com/console-api/segments."""

_UNUSABLE = re.compile(r"\s*|\.\.?|.*[\0-\x1f\x7f-\x9f\ud800-\udfff].*", re.DOTALL)
"""Blank; what a path takes for this or the next higher level; a control character, or half of a surrogate pair."""


def is_segment_id(text: str) -> bool:
    """Return whether a text can be a segment's id: whatever else it holds is percent-encoded."""
    return len(text) <= LONGEST and _UNUSABLE.fullmatch(text) is None
