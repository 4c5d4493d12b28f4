"""Whether the tap's messages prove that it finished a stream.

The end of the input proves nothing: the pipe of a dead tap closes like any other. Neither does a STATE, which taps also
write midway, nor a later stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import OnIncompleteStream, SyncMode
from target_statsig.errors import FatalRunError, Heading
from target_statsig.reports.text import counted
from target_statsig.segments.bookmarks import (
    BookmarkTracker,
    Kind,
    Position,
    hints_at_incremental,
    incremental_streams,
    without_resumption,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_statsig.config.settings import StreamSettings
    from target_statsig.singer.columns import Column
    from target_statsig.singer.records import Read


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


OVER_ROW_COUNT = frozenset({Sign.DEAD_LETTER, Sign.INCREMENTAL})
"""Signs that count even if the row count is met: the rows of such a stream are not all members."""

SIGN_HINTS = {
    Sign.DEAD_LETTER: "it came from a dead-letter file, which never holds all records, so it only adds members",
    Sign.INCREMENTAL: (
        "its bookmark has a replication key, so the stream holds only changed rows. Make it FULL_TABLE in the tap's "
        "catalog and clear its bookmark from the tap's state, or set `sync_mode` to add"
    ),
    Sign.PROGRESS_MARKERS: (
        "the last STATE has an unfinished bookmark for it. Check the tap's log for an error, and run again"
    ),
    Sign.CURRENTLY_SYNCING: (
        "the last STATE names it in `currently_syncing`. Check the tap's log for an error, and run again"
    ),
    Sign.UNKNOWN_BOOKMARK: (
        "its bookmark may be that of an incremental stream. Only `row_count_field` can prove it, with a column that "
        "holds `count(*) over ()`"
    ),
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

APPLY_REMEDY = f"If the tap ended well, {APPLY_HELD} removes them. Make it the next step, which runs only then"

PROOF_REMEDY = (
    "Or set `row_count_field` to a column that holds `count(*) over ()`. Or, if you notice when the tap fails, set "
    "`on_incomplete_stream: remove` to remove without a proof"
)


FAIL_REMEDY = (
    "`on_incomplete_stream: fail` makes that an error. To prove it, set `row_count_field` to a column that holds "
    f"`count(*) over ()`, and run again. Or set `on_incomplete_stream` to hold, and make {APPLY_HELD} the next step, "
    "which runs only if the tap ended well"
)
"""What a run that fails leaves behind is not for `--apply-held`."""

MIXED = object()
"""Stands for a value that the records of a stream do not share."""


@dataclass(slots=True)
class Seen:
    """What the messages of one of the tap's streams showed.

    Attributes:
        row_count: What every record's row count column holds; None if they have none.
        version: The `version` of every RECORD message; None if they have none.
        activated: The `version` of an ACTIVATE_VERSION after its last SCHEMA or RECORD; None if none came.
        dead_letter: Whether a SCHEMA of it came from a dead-letter file.
        incremental_hint: Whether a SCHEMA of it looked like that of an incremental stream.
    """

    stream: str
    schemas: int = 0
    records: int = 0
    row_count: object = None
    version: object = None
    activated: object = None
    dead_letter: bool = False
    incremental_hint: bool = False
    position: Position = field(default_factory=Position)

    @property
    def looks_incremental(self) -> bool:
        """Whether its SCHEMA looks incremental, and it has no bookmark that shows a full table."""
        return self.position.kind is None and self.incremental_hint

    @property
    def began_afresh(self) -> bool:
        """Whether the run held all of it, if the tap ended well."""
        return not (self.position.resumed or self.position.perhaps_resumed or self.looks_incremental)


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


class StreamObserver:
    """Observes all messages of a run before any stream map.

    It counts under the tap's stream names. Stream maps rename and copy streams; `follow` notes which of the tap's
    streams feed which of ours. Not thread-safe.
    """

    def __init__(self) -> None:
        self.bookmarks = BookmarkTracker()
        self._accounts: dict[str, Seen] = {}
        self._row_count_fields: dict[str, str | None] = {}
        self._feeding: dict[str, set[str]] = {}
        self._settings: dict[str, StreamSettings] = {}
        self._mirrored: dict[str, str] = {}

    def follow(self, tap_stream: str, stream: str, settings: StreamSettings) -> None:
        """Note that a stream of the tap feeds a segment stream with these settings."""
        self._feeding.setdefault(stream, set()).add(tap_stream)
        self._settings[stream] = settings
        self._row_count_fields[tap_stream] = settings.row_count_field or self._row_count_fields.get(tap_stream)
        if settings.sync_mode is SyncMode.MIRROR:
            self._mirrored.setdefault(tap_stream, stream)

    def schema(self, message: Mapping[str, Any], *, dead_letter: bool) -> None:
        """See a SCHEMA message; `dead_letter` is whether it has the mark of a dead-letter file."""
        seen = self._account(message["stream"])
        seen.schemas += 1
        seen.activated = None
        seen.dead_letter |= dead_letter
        seen.incremental_hint |= hints_at_incremental(message)

    def read(self, tap_stream: str, read: Read) -> None:
        """See consecutive RECORDs of a stream that feeds a segment."""
        if read.messages is not None:
            self.records(tap_stream, read.messages)
            return
        field, columns = self._row_count_fields[tap_stream], read.columns
        row_counts = (None,) * len(columns) if field is None else columns.get(field)
        self._runs(tap_stream, row_counts, columns.versions)

    def records(self, tap_stream: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """See consecutive RECORD messages."""
        field = self._row_count_fields.get(tap_stream)
        records = [message["record"] for message in messages]
        # A record that is nested too deeply was not read as an object.
        row_counts = [record.get(field) if type(record) is dict else None for record in records]
        self._runs(tap_stream, row_counts, [message.get("version") for message in messages])

    def _runs(self, tap_stream: str, row_counts: Column, versions: Column) -> None:
        for (row_count, version), alike in groupby(zip(row_counts, versions, strict=True)):
            self.record(tap_stream, row_count, version=version, count=len([*alike]))

    def record(self, tap_stream: str, row_count: object = None, *, version: object = None, count: int = 1) -> None:
        """See a RECORD, or several consecutive ones with the same row count and `version`."""
        seen = self._account(tap_stream, is_record=count > 0)
        seen.activated = None
        first = seen.records == 0
        seen.records += count
        seen.row_count = _common(seen.row_count, row_count, first=first)
        seen.version = _common(seen.version, version, first=first)

    def activate_version(self, tap_stream: str, version: object) -> None:
        """See an ACTIVATE_VERSION."""
        self._account(tap_stream).activated = version

    def state(self, value: object) -> None:
        """See a STATE's value.

        Raises:
            FatalRunError: It shows that a mirrored stream is incremental.
        """
        self.bookmarks.state(value)
        incremental = self._mirrored.keys() & incremental_streams(value)
        if incremental:
            msg = (
                f"Stream '{self._mirrored[min(incremental)]}' is mirrored, but the tap's STATE shows that it is "
                "incremental. It holds only changed rows, so a mirror would remove everyone else. No member was "
                "added or removed, and the run stops. Sync the stream as FULL_TABLE and clear its bookmark from the "
                "tap's state, or set `sync_mode` to add."
            )
            raise FatalRunError(msg, heading=Heading.INCREMENTAL)

    def without_resumption(self, state: Any) -> Any:
        """Return a STATE's value from which the tap begins every mirrored stream afresh.

        A mirror needs the whole table in one run. A tap that resumes sends only the rest.
        """
        return without_resumption(state, self.bookmarks.names(self._mirrored.keys()))

    @property
    def must_keep_state(self) -> bool:
        """Whether the last STATE must not be written, because an unnamed bookmark may let a mirrored stream resume."""
        return self.bookmarks.is_unsure(self._mirrored.keys())

    def verdict(self, stream: str) -> Verdict:
        """Return whether the tap finished all that feeds a stream."""
        settings = self._settings[stream]
        field, fails = settings.row_count_field, settings.on_incomplete_stream is OnIncompleteStream.FAIL
        tap_streams = sorted(self._feeding[stream])
        return weakest(assess(self.seen(each), row_count_field=field, fails=fails) for each in tap_streams)

    def seen(self, tap_stream: str) -> Seen:
        """Return what was seen of one of the tap's streams up to now."""
        seen = self._accounts.get(tap_stream, Seen(tap_stream))
        return replace(seen, position=self.bookmarks.position(tap_stream))

    def _account(self, tap_stream: str, *, is_record: bool = False) -> Seen:
        self.bookmarks.message(tap_stream, is_record=is_record)
        return self._accounts.setdefault(tap_stream, Seen(tap_stream))


def _common(before: object, value: object, *, first: bool) -> object:
    """Return what all records so far have in common."""
    if first:
        return value
    return before if value is before or value == before else MIXED


def assess(seen: Seen, *, row_count_field: str | None = None, fails: bool = False) -> Verdict:
    """Return whether a stream is complete. If a row count is set, only that proves it.

    The remedy depends on whether the run `fails` without a proof.
    """
    if row_count_field is None:
        proof, doubt = Proof.ACTIVATE_VERSION, _doubt_by_messages(seen, fails=fails)
    else:
        proof, doubt = Proof.ROW_COUNT, _doubt_by_row_count(seen, row_count_field)
    sign = _gravest_sign(seen)
    if proof is Proof.ROW_COUNT and not doubt and sign not in OVER_ROW_COUNT:
        sign = None
    if not (sign or doubt):
        return Verdict(proof, applicable=True)
    hint = f"Nothing proves that the tap finished stream '{seen.stream}': {SIGN_HINTS[sign] if sign else doubt}."
    applicable = sign is None and row_count_field is None and seen.began_afresh
    return Verdict(Proof.NONE, sign, hint, applicable=applicable)


def weakest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the weakest verdict, which counts if several of the tap's streams feed one."""
    return max(verdicts, key=_weakness)


def _weakness(verdict: Verdict) -> tuple[int, int, bool]:
    gravity = len(Sign) - list(Sign).index(verdict.sign) if verdict.sign else 0
    return gravity, list(Proof).index(verdict.proof), not verdict.applicable


def _gravest_sign(seen: Seen) -> Sign | None:
    position = seen.position
    shown = {
        Sign.DEAD_LETTER: seen.dead_letter,
        Sign.INCREMENTAL: position.kind is Kind.INCREMENTAL,
        Sign.PROGRESS_MARKERS: position.in_progress,
        Sign.CURRENTLY_SYNCING: position.currently_syncing,
        Sign.UNKNOWN_BOOKMARK: position.kind is Kind.UNKNOWN,
    }
    return next((sign for sign in Sign if shown[sign]), None)


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
        return (
            f"{came} a smaller number. Rows come twice, or the query counts rows before a join multiplies them. Let "
            "the query count the rows that it returns, and run again"
        )
    return f"{came} another number. Check the tap's log for an error, and run again"


def _doubt_by_messages(seen: Seen, *, fails: bool) -> str:
    """Return why no ACTIVATE_VERSION ends a stream that began afresh in this run; empty if one does."""
    doubts = (
        (seen.records == 0, "no record came"),
        (seen.position.resumed, RESUMED),
        (seen.position.perhaps_resumed, PERHAPS_RESUMED),
        (seen.looks_incremental, "its SCHEMA looks like that of an incremental stream, and no STATE denies it"),
        (seen.schemas > 1, "its SCHEMA came more than once, so the stream came in several pieces"),
        (seen.activated is None, "no ACTIVATE_VERSION came after its last record"),
        (seen.version != seen.activated, "its records do not all have the activated version"),
    )
    doubt = next((text for applies, text in doubts if applies), None)
    if doubt is None:
        return ""
    remedies = [APPLY_REMEDY, PROOF_REMEDY] if seen.began_afresh else [PROOF_REMEDY]
    return ". ".join([doubt, *([FAIL_REMEDY] if fails else remedies)])
