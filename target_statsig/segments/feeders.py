"""Whether another stream is mirrored into a segment already, which would remove whom this one adds, or vice versa."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_statsig.store.values import SegmentFacts

DAY = 86_400

FORGOTTEN = 7 * DAY
"""Seconds after which a stream that does not come any more is not taken for a segment's feeder."""

SEPARATE_FEEDERS = (
    f"Give each stream a segment of its own, or unite them in one. If it was renamed, wait {FORGOTTEN // DAY} days "
    f"after its last sync, or move the store aside: memberships are then read from Statsig anew."
)


def other_feeder(facts: SegmentFacts, stream: str, now: float) -> str | None:
    """Return what mirrors a segment besides a stream, as the end of a sentence; None where nothing does.

    Args:
        facts: What is remembered of the segment.
        stream: The stream's name, or a glob that it matches.
        now: Seconds since 1970.
    """
    if facts.fed_by is None or facts.last_sync_at is None:
        return None
    if facts.fed_by == stream or fnmatchcase(facts.fed_by, stream):
        return None
    if now - facts.last_sync_at > FORGOTTEN:
        return None
    return f"is mirrored from stream '{facts.fed_by}' (last on {moment(facts.last_sync_at)})"


def moment(seconds: float) -> str:
    """Return a time in ISO 8601, given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")
