"""Whether a stream is complete, by what the tap's messages showed, and whether its mirror may remove members.

Pure. The end of the input proves nothing: the pipe of a dead tap closes like any other. Neither does a STATE, which
taps also write midway, nor a later stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from target_statsig.config.choices import OnIncompleteStream
from target_statsig.errors import Heading
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.config.settings import StreamSettings
    from target_statsig.store.tables import Hold


class Proof(StrEnum):
    """What proves that the tap finished a stream, strongest first."""

    ROW_COUNT = "row_count"
    ACTIVATE_VERSION = "activate_version"
    APPLIED = "applied"
    """The scheduler confirmed it with `--apply-held`. No message does."""
    NONE = "none"


class Sign(StrEnum):
    """What forbids removals under all settings, gravest first."""

    DEAD_LETTER = "dead_letter"
    INCREMENTAL = "incremental"
    PROGRESS_MARKERS = "progress_markers"
    CURRENTLY_SYNCING = "currently_syncing"
    UNKNOWN_BOOKMARK = "unknown_bookmark"


CHECK_TAP = "Check the tap's log for an error, and run again"

SET_ROW_COUNT = "set `row_count_field` to a column that holds `count(*) over ()`"

SIGN_HINTS = {
    Sign.DEAD_LETTER: "it came from a dead-letter file, which never holds all records, so it only adds members",
    Sign.INCREMENTAL: (
        "its bookmark has a replication key, so the stream holds only changed rows. Make it FULL_TABLE in the tap's "
        "catalog and clear its bookmark from the tap's state, or set `sync_mode` to add"
    ),
    Sign.PROGRESS_MARKERS: f"the last STATE has an unfinished bookmark for it. {CHECK_TAP}",
    Sign.CURRENTLY_SYNCING: f"the last STATE names it in `currently_syncing`. {CHECK_TAP}",
    Sign.UNKNOWN_BOOKMARK: f"its bookmark may be that of an incremental stream. To prove it, {SET_ROW_COUNT}",
}

RESUMED = (
    "a STATE before its first record shows that the tap resumed it, so only the rest of its rows came. Clear its "
    "bookmark from the tap's state, and run again"
)

PERHAPS_RESUMED = (
    "the tap's STATE holds a bookmark to resume from that has no stream's name, and it may be this stream's. Clear "
    "the bookmarks of deselected streams from the tap's state, and run again"
)

APPLY_HELD = "`target-statsig --config … --apply-held` (under Meltano the block `statsig:apply-held`)"

PROOF_REMEDY = f"Or {SET_ROW_COUNT}. Or, if you notice when the tap fails, set `on_incomplete_stream: remove`"

HOLD_REMEDY = (
    f"If the tap ended well, {APPLY_HELD} removes them. Make it the next step, which runs only then. {PROOF_REMEDY}"
)

FAIL_REMEDY = (
    f"`on_incomplete_stream: fail` makes that an error. To prove it, {SET_ROW_COUNT}, and run again. Or set "
    f"`on_incomplete_stream: hold`, and make {APPLY_HELD} the next step, which runs only if the tap ended well"
)
"""What a run that fails leaves behind is not for `--apply-held`."""

MIXED = object()
"""Stands for a value that the records of a stream do not share."""


@dataclass(slots=True)
class Seen:
    """What the messages of one of the tap's streams showed up to now.

    Attributes:
        row_count: What every record's row count column holds; None if they have none.
        version: The `version` of every RECORD message; None if they have none.
        activated: The `version` of an ACTIVATE_VERSION after its last SCHEMA or RECORD; None if none came.
        signs: What forbids removals.
        incremental_hint: Whether a SCHEMA of it looked like that of an incremental stream.
        resume_points: The bookmarks to resume from that STATEs held before its first record; None before that.
        has_bookmark: Whether it has any that is its own.
        resumed: Whether a STATE before its first record shows that the tap resumed an earlier run.
        perhaps_resumed: Whether none has its name, and one without a stream's name is a position to resume from.
    """

    stream: str
    schemas: int = 0
    records: int = 0
    row_count: object = None
    version: object = None
    activated: object = None
    signs: frozenset[Sign] = frozenset()
    incremental_hint: bool = False
    resume_points: frozenset[str] | None = None
    has_bookmark: bool = False
    resumed: bool = False
    perhaps_resumed: bool = False

    @property
    def looks_incremental(self) -> bool:
        """Whether its SCHEMA looks incremental, and it has no bookmark that shows a full table."""
        return self.incremental_hint and not self.has_bookmark

    @property
    def began_afresh(self) -> bool:
        """Whether the run held all of it, if the tap ended well."""
        return not (self.resumed or self.perhaps_resumed or self.looks_incremental)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a stream's completeness.

    Attributes:
        proof: The strongest proof; `NONE` if there is a sign.
        sign: What forbids removals: the gravest sign. A met row count has lifted its signs already.
        hint: Why nothing is proven, and which proof is possible. Empty if there is a proof.
        applicable: Whether only a proof is missing, so that `--apply-held` may remove the held members.
    """

    proof: Proof
    sign: Sign | None = None
    hint: str = ""
    applicable: bool = False


def assess(seen: Seen, *, row_count_field: str | None = None, fails: bool = False) -> Verdict:
    """Return whether a stream is complete. If a row count is set, only that proves it.

    The remedy depends on whether the run `fails` without a proof.
    """
    if row_count_field is None:
        proof, doubt = Proof.ACTIVATE_VERSION, _doubt_by_messages(seen, fails=fails)
    else:
        proof, doubt = Proof.ROW_COUNT, _doubt_by_row_count(seen, row_count_field)
    sign = next((each for each in Sign if each in seen.signs), None)
    # Of a stream from a dead-letter file, or an incremental one, even all rows are not all members.
    if proof is Proof.ROW_COUNT and not doubt and sign not in {Sign.DEAD_LETTER, Sign.INCREMENTAL}:
        sign = None
    if not (sign or doubt):
        return Verdict(proof, applicable=True)
    hint = f"Nothing proves that the tap finished stream '{seen.stream}': {SIGN_HINTS[sign] if sign else doubt}."
    applicable = sign is None and row_count_field is None and seen.began_afresh
    return Verdict(Proof.NONE, sign, hint, applicable=applicable)


def weakest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the weakest verdict, which counts if several of the tap's streams feed one."""
    signs, proofs = [*Sign, None], list(Proof)
    return min(verdicts, key=lambda each: (signs.index(each.sign), -proofs.index(each.proof), each.applicable))


def _doubt_by_row_count(seen: Seen, field: str) -> str:
    """Return why the row count column does not prove that all records came; empty if it does."""
    told = seen.row_count
    if seen.records == 0:
        return f"no record came, so the count in `{field}` is unknown"
    if told is MIXED:
        return f"the records have different counts in `{field}`. Each must hold the number of all rows"
    if isinstance(told, bool) or not isinstance(told, int | float | Decimal | str):
        return f"the records have no number in `{field}`. Each must hold the number of all rows"
    if told in {seen.records, str(seen.records)}:
        return ""
    came = f"{counted(seen.records, 'record')} came, but `{field}` holds"
    if isinstance(told, int) and told < seen.records:
        why = "Rows come twice, or the query counts rows before a join multiplies them"
        return f"{came} a smaller number. {why}. Let the query count the rows that it returns, and run again"
    return f"{came} another number. {CHECK_TAP}"


def _doubt_by_messages(seen: Seen, *, fails: bool) -> str:
    """Return why no ACTIVATE_VERSION ends a stream that began afresh in this run; empty if one does."""
    remedy = FAIL_REMEDY if fails else HOLD_REMEDY if seen.began_afresh else PROOF_REMEDY
    doubts = (
        (seen.records == 0, "no record came"),
        (seen.resumed, RESUMED),
        (seen.perhaps_resumed, PERHAPS_RESUMED),
        (seen.looks_incremental, "its SCHEMA looks like that of an incremental stream, and no STATE denies it"),
        (seen.schemas > 1, "its SCHEMA came more than once, so the stream came in several pieces"),
        (seen.activated is None, "no ACTIVATE_VERSION came after its last record"),
        (seen.version != seen.activated, "its records do not all have the activated version"),
    )
    return next((f"{doubt}. {remedy}" for applies, doubt in doubts if applies), "")


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


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about missing members, why none is removed if any are missing, and that with the remedy as text."""

    action: Action
    reason: Reason | Sign = Reason.NONE
    hint: str = ""

    @property
    def heading(self) -> Heading:
        """The heading of the error, if this fails the run."""
        headings = {Sign.INCREMENTAL: Heading.INCREMENTAL, Reason.TOO_MANY: Heading.TOO_MANY_REMOVALS}
        return headings.get(self.reason, Heading.UNPROVEN)


def decide(verdict: Verdict, hold: Hold, settings: StreamSettings) -> Decision:
    """Decide about a mirror's removals at the end of the input; additions do not depend on it.

    `on_incomplete_stream: remove` replaces a missing proof and nothing else. `hold` has the counts of the mirror.
    """
    sign, hint, unproven = verdict.sign, verdict.hint, verdict.proof is Proof.NONE
    doubt = sign or Reason.UNPROVEN
    fails = unproven and settings.on_incomplete_stream is OnIncompleteStream.FAIL
    holds = unproven and settings.on_incomplete_stream is not OnIncompleteStream.REMOVE
    is_empty = hold.current == 0
    exceeds_share = hold.removals * 100 > hold.before * settings.max_removal_percent
    too_many = exceeds_share and hold.removals > ALWAYS_REMOVABLE and not is_empty
    rejected = counted(hold.rejected, "record of the stream was", "records of the stream were")
    reasons = "The report has the reasons. Fix the records, and run again."
    rejected_hint = f"{rejected} rejected, and may hold missing members. {reasons}"
    empty_hint = "The stream held no member. Check its source. To empty the segment, set `allow_empty_segment` to true."
    share = f"`max_removal_percent` ({settings.max_removal_percent})"
    share_hint = f"That is more than {share} allows. Check the stream's source, or raise the setting for one run."
    # The order matters: a dead-letter file never removes; then errors even if no member is missing; then what forbids a
    # removal. An empty stream comes before a missing proof, because its source is the likely cause.
    rules: tuple[tuple[bool, Action, Reason | Sign, str], ...] = (
        (sign is Sign.DEAD_LETTER, Action.HOLD, doubt, hint),
        (sign is Sign.INCREMENTAL or fails, Action.FAIL, doubt, hint),
        (hold.removals == 0, Action.NOTHING_TO_REMOVE, Reason.NONE, ""),
        (sign is not None, Action.HOLD, doubt, hint),
        (hold.rejected > 0, Action.HOLD, Reason.REJECTED_RECORDS, rejected_hint),
        (is_empty and not settings.allow_empty_segment, Action.HOLD, Reason.EMPTY_STREAM, empty_hint),
        (holds, Action.HOLD, doubt, hint),
        (too_many, Action.FAIL, Reason.TOO_MANY, share_hint),
        (True, Action.REMOVE, Reason.NONE, ""),
    )
    return next(Decision(action, reason, text) for applies, action, reason, text in rules if applies)
