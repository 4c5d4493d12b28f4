"""Whether a mirror may remove the members that are missing from its stream.

Pure. Additions do not depend on it and go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from target_statsig.config.choices import OnIncompleteStream
from target_statsig.errors import Heading
from target_statsig.reports.text import counted
from target_statsig.segments.completeness import Proof, Sign

if TYPE_CHECKING:
    from target_statsig.config.settings import StreamSettings
    from target_statsig.segments.completeness import Verdict
    from target_statsig.store.tables import Hold

ALWAYS_REMOVABLE = 10
"""Members that may be removed whatever their share: one member of a small segment is a large share."""


class Action(StrEnum):
    """What to do about missing members."""

    REMOVE = "remove"
    NOTHING_TO_REMOVE = "nothing_to_remove"
    HOLD = "hold"
    """Remove none, remember the missing members, and warn."""
    FAIL = "fail"
    """Remove none, remember the missing members, and fail the run."""


class Reason(StrEnum):
    """Why no member is removed, if it is not a `Sign`."""

    NONE = "none"
    REJECTED_RECORDS = "rejected_records"
    EMPTY_STREAM = "empty_stream"
    UNPROVEN = "unproven"
    TOO_MANY = "too_many"


HEADINGS = {Sign.INCREMENTAL: Heading.INCREMENTAL, Reason.TOO_MANY: Heading.TOO_MANY_REMOVALS}


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about missing members, and why.

    Attributes:
        reason: Why no member is removed; `NONE` if some are, or none is missing.
        hint: The reason and the remedy as text; empty with `NONE`.
    """

    action: Action
    reason: Reason | Sign = Reason.NONE
    hint: str = ""

    @property
    def heading(self) -> Heading:
        """The heading of the error, if this fails the run."""
        return HEADINGS.get(self.reason, Heading.UNPROVEN)


def decide(verdict: Verdict, hold: Hold, settings: StreamSettings) -> Decision:
    """Decide about a mirror's removals at the end of the input.

    `on_incomplete_stream: remove` replaces a missing proof and nothing else.

    Args:
        verdict: Whether the tap finished what feeds the segment.
        hold: The counts of the mirror, which are held if no member may be removed.
        settings: The settings of the stream.
    """
    signs, unproven = verdict.signs, verdict.proof is Proof.NONE
    doubt = signs[0] if signs else Reason.UNPROVEN
    fails = unproven and settings.on_incomplete_stream is OnIncompleteStream.FAIL
    holds = unproven and settings.on_incomplete_stream is not OnIncompleteStream.REMOVE
    is_empty = hold.current == 0
    exceeds_share = hold.removals * 100 > hold.before * settings.max_removal_percent
    too_many = exceeds_share and hold.removals > ALWAYS_REMOVABLE and not is_empty
    rejected = counted(hold.rejected, "record of the stream was", "records of the stream were")
    # The order matters: a dead-letter file never removes; then errors even if no member is missing; then what forbids a
    # removal. An empty stream comes before a missing proof, because its source is the likely cause.
    rules = (
        (Sign.DEAD_LETTER in signs, Decision(Action.HOLD, Sign.DEAD_LETTER, verdict.hint)),
        (Sign.INCREMENTAL in signs or fails, Decision(Action.FAIL, doubt, verdict.hint)),
        (hold.removals == 0, Decision(Action.NOTHING_TO_REMOVE)),
        (bool(signs), Decision(Action.HOLD, doubt, verdict.hint)),
        (
            hold.rejected > 0,
            Decision(
                Action.HOLD,
                Reason.REJECTED_RECORDS,
                f"{rejected} rejected, and may hold missing members. The summary and the report have the reasons. Fix "
                f"the records, and run again.",
            ),
        ),
        (
            is_empty and not settings.allow_empty_segment,
            Decision(
                Action.HOLD,
                Reason.EMPTY_STREAM,
                "The stream held no member. Check its source. To empty the segment, set `allow_empty_segment` to true.",
            ),
        ),
        (holds, Decision(Action.HOLD, Reason.UNPROVEN, verdict.hint)),
        (
            too_many,
            Decision(
                Action.FAIL,
                Reason.TOO_MANY,
                f"That is more than `max_removal_percent` ({settings.max_removal_percent}) allows. Check the stream's "
                f"source. To remove them all, raise the setting for one run.",
            ),
        ),
    )
    return next((decision for applies, decision in rules if applies), Decision(Action.REMOVE))
