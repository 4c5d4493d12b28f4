"""What the messages prove: has the tap finished a stream, or only stopped?

Pure. The end of the input proves nothing: a tap that died closes the pipe as any other does. A STATE proves nothing,
since taps write it on their way too, and neither does a stream that comes later.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from target_statsig.config.settings import Choice
from target_statsig.reports.text import counted
from target_statsig.segments.bookmarks import Kind
from target_statsig.segments.observer import Seen, Shared

if TYPE_CHECKING:
    from collections.abc import Iterable


class Proof(Choice):
    """What proves that the tap finished a stream, strongest first."""

    ROW_COUNT = "row_count"
    ACTIVATE_VERSION = "activate_version"
    APPLIED = "applied"
    """The word of whoever started the tap, given afterwards: no message says so."""
    NONE = "none"


class Sign(Choice):
    """What forbids removals whatever the settings, gravest first."""

    DEAD_LETTER = "dead_letter"
    INCREMENTAL = "incremental"
    PROGRESS_MARKERS = "progress_markers"
    CURRENTLY_SYNCING = "currently_syncing"
    UNKNOWN_BOOKMARK = "unknown_bookmark"


OVER_ROW_COUNT = frozenset({Sign.DEAD_LETTER, Sign.INCREMENTAL})
"""Signs that an equal row count does not lift: such a stream's rows are not all the members there are."""

SIGN_HINTS = {
    Sign.DEAD_LETTER: "it came from a dead-letter file, which holds some records and never all: it only adds",
    Sign.INCREMENTAL: (
        "its bookmark has a replication key, so it carries what changed. Make it FULL_TABLE in the tap's "
        "catalog and clear its bookmark from the tap's state, or set `sync_mode` to add"
    ),
    Sign.PROGRESS_MARKERS: (
        "the last STATE has its bookmark in mid-progress. Look for an error in the tap's log, and run again"
    ),
    Sign.CURRENTLY_SYNCING: (
        "the last STATE names it in `currently_syncing`. Look for an error in the tap's log, and run again"
    ),
    Sign.UNKNOWN_BOOKMARK: (
        "its bookmark may be an incremental stream's. Only `row_count_field` can prove it, with a column "
        "that holds `count(*) over ()`"
    ),
}

RESUMED = (
    "a STATE before its first record shows that the tap goes on from an earlier run, so it brings only the rest. Clear "
    "its bookmark from the tap's state, and run again"
)

PERHAPS_RESUMED = (
    "the tap's STATE goes on from somewhere in a bookmark that has no stream's name and may be its own. Clear the "
    "bookmarks of streams that are not selected any more from the tap's state, and run again"
)

APPLY_HELD = "`target-statsig --config … --apply-held` (under Meltano the block `statsig:apply-held`)"

APPLY_REMEDY = (
    f"Once whatever started the tap knows that it ended well, {APPLY_HELD} removes them: make it the next step, which "
    f"runs only then"
)

PROOF_REMEDY = (
    "Set `row_count_field` to a column that holds `count(*) over ()`; for a tap whose failures are noticed, "
    "`on_incomplete_stream: remove` does without a proof"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a stream's completeness.

    Attributes:
        proof: The strongest proof; `NONE` where there is a sign.
        signs: What forbids removals, gravest first; a row count that proves has lifted its signs already.
        hint: For whoever is on call: why nothing is proven and what would be. Empty where there is a proof.
        applicable: Whether a missing proof is all that is missing, so that the word of whoever started the tap will do.
    """

    proof: Proof
    signs: tuple[Sign, ...] = ()
    hint: str = ""
    applicable: bool = False


def judge(seen: Seen, *, row_count_field: str | None = None) -> Verdict:
    """Judge a stream by what was seen of it.

    Args:
        seen: What the messages showed, up to the end of the input.
        row_count_field: The stream's setting; where it is set, nothing else proves.
    """
    if row_count_field is None:
        proof, doubt = _by_messages(seen)
        applicable = _began_afresh(seen)
    else:
        proof, doubt = _by_row_count(seen, row_count_field)
        applicable = False
    signs = _signs(seen)
    if proof is Proof.ROW_COUNT:
        signs = tuple(sign for sign in signs if sign in OVER_ROW_COUNT)
    if signs:
        proof, doubt = Proof.NONE, SIGN_HINTS[signs[0]]
    if proof is not Proof.NONE:
        return Verdict(proof, applicable=True)
    hint = f"Nothing proves that the tap finished stream '{seen.stream}': {doubt}."
    return Verdict(proof, signs, hint, applicable=applicable and not signs)


def weakest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that counts where several of the tap's streams feed one.

    Raises:
        ValueError: There is no verdict.
    """
    return max(verdicts, key=_weakness)


def _weakness(verdict: Verdict) -> tuple[int, int, bool]:
    gravity = len(Sign) - list(Sign).index(verdict.signs[0]) if verdict.signs else 0
    return gravity, list(Proof).index(verdict.proof), not verdict.applicable


def _signs(seen: Seen) -> tuple[Sign, ...]:
    bookmark = seen.bookmark
    shown = {
        Sign.DEAD_LETTER: seen.dead_letter,
        Sign.INCREMENTAL: bookmark is not None and bookmark.kind is Kind.INCREMENTAL,
        Sign.PROGRESS_MARKERS: bookmark is not None and bookmark.in_progress,
        Sign.CURRENTLY_SYNCING: seen.currently_syncing,
        Sign.UNKNOWN_BOOKMARK: bookmark is not None and bookmark.kind is Kind.UNKNOWN,
    }
    return tuple(sign for sign in Sign if shown[sign])


def _by_row_count(seen: Seen, field: str) -> tuple[Proof, str]:
    """Compare the records that came with the number that each of them tells."""
    told = seen.row_count
    if seen.records == 0:
        return Proof.NONE, f"no record came, so none could tell in `{field}` how many there are"
    if told is Shared.MIXED:
        return (
            Proof.NONE,
            f"its records do not all tell the same number in `{field}`, which must be that of all its rows",
        )
    if isinstance(told, bool) or not isinstance(told, int | float | Decimal | str):
        return Proof.NONE, f"its records tell no number in `{field}`, which must be that of all its rows"
    if told in {seen.records, str(seen.records)}:
        return Proof.ROW_COUNT, ""
    came = f"{counted(seen.records, 'record')} came, and `{field}` tells"
    if isinstance(told, int) and told < seen.records:
        return Proof.NONE, (
            f"{came} a smaller number. Rows come twice, or are counted before others join them: let the query count "
            "the very rows that it gives, and run again"
        )
    return Proof.NONE, f"{came} another number. Look for an error in the tap's log, and run again"


def _began_afresh(seen: Seen) -> bool:
    """Return whether a run that went well has brought all of a stream."""
    return not (seen.resumed or seen.perhaps_resumed or _looks_incremental(seen))


def _looks_incremental(seen: Seen) -> bool:
    # Without a bookmark nothing says that the tap was told to sync the stream as a full table.
    return seen.bookmark is None and seen.incremental_hint


def _by_messages(seen: Seen) -> tuple[Proof, str]:
    """Look for an ACTIVATE_VERSION that ends a stream which began afresh in this run."""
    doubts = (
        (seen.records == 0, "no record of it came"),
        (seen.resumed, RESUMED),
        (seen.perhaps_resumed, PERHAPS_RESUMED),
        (_looks_incremental(seen), "its SCHEMA looks like an incremental stream's, and no STATE says otherwise"),
        (seen.schemas > 1, "its SCHEMA came more than once, so it came in parts"),
        (seen.activated is None, "no ACTIVATE_VERSION came after its last record"),
        (seen.version != seen.activated, "its records are not all of the version that was activated"),
    )
    doubt = next((text for applies, text in doubts if applies), None)
    if doubt is None:
        return Proof.ACTIVATE_VERSION, ""
    remedies = [APPLY_REMEDY, PROOF_REMEDY] if _began_afresh(seen) else [PROOF_REMEDY]
    return Proof.NONE, ". ".join([doubt, *remedies])
