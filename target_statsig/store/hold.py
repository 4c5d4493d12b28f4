"""What the last run of a mirrored segment left undone: removals that it held, or all that it began.

Values only: whoever mirrors a segment makes them, without a store at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from target_statsig.settings import Choice


class HoldState(Choice):
    """How far a segment's last run, and what it held, have come."""

    BEGUN = "begun"
    """A run began to mirror the segment, and did not end it well up to now."""
    HELD = "held"
    """It ended, and holds removals."""
    APPLYING = "applying"
    """They are being carried out."""
    OUTDATED = "outdated"
    """A run came after it that could have mirrored the segment and did not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What the last run of a segment left; the counts are its own.

    Attributes:
        stream: The stream that feeds the segment.
        state: How far it has come.
        before: Members before the run.
        members: Members after it.
        removals: Members that it held.
        current: Members in the audience that the stream showed.
        rejected: Records of the stream that were rejected.
        doubt: Why nobody's word can stand for the missing proof; empty where it can.
    """

    stream: str
    state: HoldState = HoldState.BEGUN
    before: int = 0
    members: int = 0
    removals: int = 0
    current: int = 0
    rejected: int = 0
    doubt: str = ""
