"""What the messages prove: has the tap finished a stream, or only stopped?

Pure. Refuses to know messages (`observer` and `bookmarks` read them) and what is done about an unproven
stream (`guards`). The end of the input proves nothing: a tap that died closes the pipe as any other does.

What no reader of messages can see, and `row_count_field` can:

- rows filtered out on the way (a stream map of the tap, a Meltano mapper) move the cadence of STATEs;
- a mapper that renames a stream parts it from its bookmark;
- a tap that is told to stop may write a last STATE with the bookmark of the stream that it leaves unfinished;
- a parent's first rows may have no children, so that its first child looks like a stream that follows it;
- children of a deselected parent, where their state is not partitioned, look like streams that follow each
  other.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from target_statsig.segments.bookmarks import Kind
from target_statsig.segments.observer import RowCount, Seen
from target_statsig.settings import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable

SDK_CADENCE = 10_000
"""Records after which singer-sdk writes a STATE within a stream: `Stream.STATE_MSG_FREQUENCY`."""


class Proof(Choice):
    """What proves that the tap finished a stream, strongest first."""

    ROW_COUNT = "row_count"
    ACTIVATE_VERSION = "activate_version"
    LATER_STREAM = "later_stream"
    STATE = "state"
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

PROOF_REMEDY = (
    "Set `row_count_field` to a column that holds `count(*) over ()`, or select a small second stream that "
    "the tap syncs after it (singer-sdk goes by name); for a tap whose failures are noticed, "
    "`on_incomplete_stream: remove` does without a proof"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a stream's completeness.

    Attributes:
        proof: The strongest proof; `NONE` where there is a sign.
        signs: What forbids removals, gravest first; a row count that proves has lifted its signs already.
        hint: For whoever is on call: why nothing is proven and what would be. Empty where there is a proof.
    """

    proof: Proof
    signs: tuple[Sign, ...] = ()
    hint: str = ""


def judge(seen: Seen, *, row_count_field: str | None = None) -> Verdict:
    """Judge a stream by what was seen of it.

    Args:
        seen: What the messages showed, up to the end of the input.
        row_count_field: The stream's setting; where it is set, nothing else proves.
    """
    if row_count_field is None:
        proof, doubt = _by_messages(seen)
    else:
        proof, doubt = _by_row_count(seen, row_count_field)
    signs = _signs(seen)
    if proof is Proof.ROW_COUNT:
        signs = tuple(sign for sign in signs if sign in OVER_ROW_COUNT)
    if signs:
        proof, doubt = Proof.NONE, SIGN_HINTS[signs[0]]
    if proof is not Proof.NONE:
        return Verdict(proof)
    return Verdict(proof, signs, f"Nothing proves that the tap finished stream '{seen.stream}': {doubt}.")


def weakest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict that counts where several of the tap's streams feed one.

    Raises:
        ValueError: There is no verdict.
    """
    return max(verdicts, key=_weakness)


def _weakness(verdict: Verdict) -> tuple[int, int]:
    gravity = len(Sign) - list(Sign).index(verdict.signs[0]) if verdict.signs else 0
    return gravity, list(Proof).index(verdict.proof)


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
    if told is RowCount.MIXED:
        return (
            Proof.NONE,
            f"its records do not all tell the same number in `{field}`, which must be that of all its rows",
        )
    if isinstance(told, bool) or not isinstance(told, int | float | Decimal | str):
        return Proof.NONE, f"its records tell no number in `{field}`, which must be that of all its rows"
    if told in {seen.records, str(seen.records)}:
        return Proof.ROW_COUNT, ""
    came = f"{seen.records:,} records came, and `{field}` tells"
    if isinstance(told, int) and told < seen.records:
        return Proof.NONE, (
            f"{came} a smaller number. Rows come twice, or are counted before others join them: let the query count "
            "the very rows that it gives, and run again"
        )
    return Proof.NONE, f"{came} another number. Look for an error in the tap's log, and run again"


def _by_messages(seen: Seen) -> tuple[Proof, str]:
    """Look for what the order and content of the messages prove, strongest first."""
    # An empty stream needs a STATE of its own: of a parent, too, only its SCHEMA is seen until the children of its
    # first row are done. A stream without any bookmark needs a SCHEMA that does not look incremental.
    if seen.records and (seen.bookmark is not None or not seen.incremental_hint):
        if seen.activated and seen.schemas == 1:
            return Proof.ACTIVATE_VERSION, ""
        if any(_moved_on(seen, later) for later in seen.later):
            return Proof.LATER_STREAM, ""
    doubt = _doubt_of_state(seen)
    return (Proof.STATE, "") if doubt is None else (Proof.NONE, f"{doubt}. {PROOF_REMEDY}")


def _moved_on(seen: Seen, later: Seen) -> bool:
    """Return whether a later stream shows that the tap is done with this one.

    singer-sdk syncs children between the rows of their parent and partitions their state by those rows. So a later
    stream with partitions may be a child of this one; and where this one has partitions, any may be its sibling
    until a STATE closes it without.
    """
    return _doubt_of_state(later) is None if seen.partitioned else not later.partitioned


def _doubt_of_state(seen: Seen) -> str | None:
    """Return why no STATE proves the stream, or None where one does."""
    doubts = (
        (seen.schemas > 1, "its SCHEMA came more than once, so it came in parts, with a STATE after each"),
        (seen.bookmark is None, "no STATE has a bookmark of that name"),
        (seen.partitioned, "its bookmark has partitions, and the tap writes a STATE after each"),
        (seen.interleaved, "messages of other streams came between its own"),
        (not seen.closed, "no STATE with its bookmark came right after its last record"),
        (seen.irregular, "the tap writes a STATE now and then within it"),
        (
            _on_cadence(seen),
            f"the STATE after {seen.records:,} records is one that comes within a stream too",
        ),
    )
    return next((text for applies, text in doubts if applies), None)


def _on_cadence(seen: Seen) -> bool:
    """Return whether the tap writes a STATE after so many records, whether more follow or not."""
    intervals = {SDK_CADENCE, seen.interval or SDK_CADENCE}
    return seen.records > 0 and any(seen.records % interval == 0 for interval in intervals)
