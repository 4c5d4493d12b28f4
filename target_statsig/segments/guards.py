"""Whether a mirror may remove the members who are missing from its stream.

Pure. Decides about removals only: additions go first, whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_statsig.config.choices import Choice, OnIncompleteStream
from target_statsig.errors import Heading
from target_statsig.reports.text import counted
from target_statsig.segments.completeness import Proof, Sign, Verdict

if TYPE_CHECKING:
    from target_statsig.config.settings import StreamSettings

ALWAYS_REMOVABLE = 10
"""Members who may be removed whatever their share: one member of a small segment is a large share."""


class Action(Choice):
    """What is done about those who are missing."""

    REMOVE = "remove"
    NOTHING_TO_REMOVE = "nothing_to_remove"
    HOLD = "hold"
    """Remove nobody, remember who is missing, and warn."""
    FAIL = "fail"
    """Remove nobody, remember who is missing, and end the run with an error."""


class Reason(Choice):
    """Why nobody is removed, where that is no `Sign`."""

    NONE = "none"
    REJECTED_RECORDS = "rejected_records"
    EMPTY_STREAM = "empty_stream"
    UNPROVEN = "unproven"
    TOO_MANY = "too_many"


HEADINGS = {Sign.INCREMENTAL: Heading.INCREMENTAL, Reason.TOO_MANY: Heading.TOO_MANY_REMOVALS}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the decision rests on.

    Attributes:
        verdict: Whether the tap finished what feeds the segment.
        rejected: Records of the stream that were rejected.
        before: Members of the segment before this sync, whoever put them there.
        current: Members in the audience that the stream showed.
        removals: Members who are missing from the audience and would be removed.
    """

    verdict: Verdict
    rejected: int
    before: int
    current: int
    removals: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about those who are missing.

    Attributes:
        reason: Why nobody is removed; `NONE` where someone is, or nobody is missing.
        hint: The reason in a sentence or two for whoever is on call, with what to do; empty with `NONE`.
    """

    action: Action
    reason: Reason | Sign = Reason.NONE
    hint: str = ""

    @property
    def heading(self) -> Heading:
        """What the error begins with where this ends the run with one."""
        return HEADINGS.get(self.reason, Heading.UNPROVEN)


def decide(evidence: Evidence, settings: StreamSettings) -> Decision:
    """Decide about a mirror's removals at the end of the input.

    `on_incomplete_stream: remove` stands for a missing proof and for nothing else.
    """
    action, reason = _decide(evidence, settings)
    return Decision(action, reason, _hint(reason, evidence, settings))


def _decide(evidence: Evidence, settings: StreamSettings) -> tuple[Action, Reason | Sign]:
    signs = evidence.verdict.signs
    unproven = evidence.verdict.proof is Proof.NONE
    doubt = signs[0] if signs else Reason.UNPROVEN
    fails = unproven and settings.on_incomplete_stream is OnIncompleteStream.FAIL
    holds = unproven and settings.on_incomplete_stream is not OnIncompleteStream.REMOVE
    # In this order: a dead-letter file, which never removes; what is an error even if nobody is missing; what stands
    # against a removal. An empty stream comes before a missing proof, since its source is what to look at.
    rules = (
        (Sign.DEAD_LETTER in signs, Action.HOLD, Sign.DEAD_LETTER),
        (Sign.INCREMENTAL in signs or fails, Action.FAIL, doubt),
        (evidence.removals == 0, Action.NOTHING_TO_REMOVE, Reason.NONE),
        (bool(signs), Action.HOLD, doubt),
        (evidence.rejected > 0, Action.HOLD, Reason.REJECTED_RECORDS),
        (evidence.current == 0 and not settings.allow_empty_segment, Action.HOLD, Reason.EMPTY_STREAM),
        (holds, Action.HOLD, Reason.UNPROVEN),
        (evidence.current > 0 and _too_many(evidence, settings), Action.FAIL, Reason.TOO_MANY),
    )
    return next(((action, reason) for applies, action, reason in rules if applies), (Action.REMOVE, Reason.NONE))


def _too_many(evidence: Evidence, settings: StreamSettings) -> bool:
    """Return whether more than `max_removal_percent` of the segment, and more than 10 members, would be removed."""
    share_exceeded = evidence.removals * 100 > evidence.before * settings.max_removal_percent
    return share_exceeded and evidence.removals > ALWAYS_REMOVABLE


def _hint(reason: Reason | Sign, evidence: Evidence, settings: StreamSettings) -> str:
    hints: dict[Reason | Sign, str] = {
        Reason.NONE: "",
        Reason.REJECTED_RECORDS: (
            f"{counted(evidence.rejected, 'record of the stream was', 'records of the stream were')} rejected, and "
            "may hold missing members. The summary and the report have the reasons. Fix the records, and run again."
        ),
        Reason.EMPTY_STREAM: (
            "The stream held no member. Check its source. To empty the segment, set `allow_empty_segment` to true."
        ),
        Reason.TOO_MANY: (
            f"That is more than `max_removal_percent` ({settings.max_removal_percent}) allows. Check the stream's "
            "source. To remove them all, raise the setting for one run."
        ),
    }
    return hints.get(reason, evidence.verdict.hint)
