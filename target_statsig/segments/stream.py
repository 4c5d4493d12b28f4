"""A stream that goes to segments: its columns become ids, and those pass to the sync of their segment.

A stream may feed one segment, or many (`segment_id_field`). If one fails, the others go on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from target_statsig.config.choices import SyncMode, is_segment_id
from target_statsig.errors import Heading, RecordError, SegmentError
from target_statsig.reports.progress import Progress
from target_statsig.reports.report import SegmentCounts
from target_statsig.reports.text import counted
from target_statsig.segments.changes import RowSync
from target_statsig.segments.completeness import Proof, Verdict
from target_statsig.segments.mirror import MirrorSync
from target_statsig.segments.segment import RemoteSegment
from target_statsig.singer.columns import (
    convert,
    deleted_rows,
    first_of,
    id_destination,
    parse_bool,
    plain_text,
    sources_of,
)
from target_statsig.singer.reader import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MemberCounts
    from target_statsig.segments.changes import Changes, SegmentSync
    from target_statsig.singer.columns import Column, Columns, Faults
    from target_statsig.singer.dead_letters import Rejections
    from target_statsig.singer.records import Batch, Reading

MISSING_IDENTIFIER = "missing_identifier"
INVALID_IDENTIFIER = "invalid_identifier"

UNSENDABLE = re.compile("[,\r\n\0\ud800-\udfff]")
"""What no id may hold. Statsig's published example of `GET /segments/{id}/id_list` has several ids in one string, with
commas between them, so lists are split there when they are read: an id with a comma would come back as two others.
Line breaks separate ids where lists are uploaded; neither JSON nor a database takes a NUL or half a surrogate pair."""


class MemberMapper:
    """Turns the records of one stream into changes of members."""

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._sources = sources_of(id_destination(settings), settings.field_mapping)
        self._joins = settings.sync_mode is not SyncMode.REMOVE

    def changes(self, columns: Columns, faults: Faults) -> dict[str, Changes]:
        """Return the changes that records ask for, by segment; `faults` gets why a record asks for none.

        A row that was deleted at its source means "not a member" in every `sync_mode`. In `remove` it meant the same
        while it was there: taking someone off a list of removals does not add them again.
        """
        ids = self._ids(first_of(columns, self._sources), faults)
        deleted, settings = deleted_rows(columns), self._settings
        if ids and settings.segment_id and not (faults or deleted or settings.membership_field):
            return {settings.segment_id: dict.fromkeys(ids, self._joins)}
        members = self._members(columns, {*deleted}, faults)
        changes: defaultdict[str, Changes] = defaultdict(dict)
        for row, (segment_id, member) in enumerate(zip(self._segments(columns, faults), ids, strict=True)):
            if row not in faults:
                changes[segment_id][member] = members[row]
        return changes

    def _ids(self, values: Column, faults: Faults) -> Column:
        kinds = set(map(type, values))
        if kinds == {int}:
            with suppress(ValueError):  # of thousands of digits
                return [*map(str, values)]
        if kinds == {str}:
            ids = [*map(str.strip, values)]
            # One search over all ids: starting a search is the slow part.
            if all(ids) and not UNSENDABLE.search("".join(ids)):
                return ids
        return convert(partial(normalise_id, field=self._sources[0]), values, faults)

    def _members(self, columns: Columns, deleted: set[int], faults: Faults) -> Column:
        field = self._settings.membership_field
        if field is None:
            return [row not in deleted and self._joins for row in range(len(columns))]
        members = [*map(parse_bool, first_of(columns, (field,)))]
        for row, member in enumerate(members):
            # A deleted row may have no other column.
            if row in deleted:
                members[row] = False
            elif member is None:
                faults.setdefault(row, RecordError("invalid_membership", field))
        return members

    def _segments(self, columns: Columns, faults: Faults) -> Column:
        field = self._settings.segment_id_field
        if field is None:
            return (self._settings.segment_id,) * len(columns)
        named = first_of(columns, (field,))
        segments = [each.strip() if type(each) is str else "" for each in named]
        for row, segment_id in enumerate(segments):
            if not is_segment_id(segment_id):
                reason = "missing_segment_id" if named[row] is None else "invalid_segment_id"
                faults.setdefault(row, RecordError(reason, field))
        return segments


def normalise_id(value: object, field: str | None = None) -> str:
    """Return an id as Statsig keeps it: a string, surrounding blanks cut, a number in plain digits.

    Raises:
        RecordError: `missing_identifier` for null and blanks; `invalid_identifier` for other types, for a number that
            is not finite or beyond a double, and for `UNSENDABLE` characters.
    """
    if value is None or isinstance(value, str):
        text = (value or "").strip()
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise RecordError(INVALID_IDENTIFIER, field)
    else:
        try:
            text = plain_text(value)
        except ValueError:
            raise RecordError(INVALID_IDENTIFIER, field) from None
    if not text:
        raise RecordError(MISSING_IDENTIFIER, field)
    if UNSENDABLE.search(text):
        raise RecordError(INVALID_IDENTIFIER, field)
    return text


class SegmentStream:
    """Takes the records of one stream and gathers the members of its segments."""

    def __init__(
        self, stream: str, settings: StreamSettings, counts: MemberCounts, rejections: Rejections, run: Run
    ) -> None:
        self.stream = stream
        self.settings = settings
        self._counts = counts
        self.rejections = rejections
        self._mapper = MemberMapper(settings)
        self._run = run
        self._syncs: dict[str, SegmentSync] = {}
        self._planned: int | None = None

    def accept(self, number: int, batch: Batch, reading: Reading) -> None:
        """Take RECORD messages, the first of which is on the line `number` of the input.

        Raises:
            InputError: One is not a RECORD message.
            RejectionsError: One was rejected, and `max_rejected_percent` is 0.
        """
        read = reading.reader.read(batch)
        faults: Faults = {}
        changes = self._mapper.changes(read.columns, faults)
        rejected = {**read.faults, **{read.rows[row]: error for row, error in faults.items()}}
        if rejected and self.rejections.allows_none and len(batch) > min(rejected) + 1:
            # The run ends with the first rejected record. Later ones are not taken or counted.
            self.accept(number, batch.part(0, min(rejected) + 1), reading)
            return
        if batch.mapped is None:
            self._run.sources.read(reading.schema["stream"], read)
        self._counts.records += len(read.rows) + len(read.faults)
        try:
            for segment_id, changes_here in changes.items():
                if segment_id not in self._syncs:
                    self.begin(segment_id)
                sync = self._syncs[segment_id]
                self._guarded(sync, partial(sync.add_changes, changes_here))
        finally:
            for row in sorted(rejected):
                self.rejections.add(batch.lines[row], reading.schema, rejected[row])
        if read.unreadable is not None:
            raise unreadable(number + len(read.rows) + len(read.faults), read.unreadable)

    def begin(self, segment_id: str) -> None:
        """Begin the sync of a segment."""
        sync = self._syncs[segment_id] = self.make_sync(segment_id)
        self._guarded(sync, partial(self._begin, segment_id, sync))

    def _begin(self, segment_id: str, sync: SegmentSync) -> None:
        syncs = self._run.streams.syncs[segment_id]
        syncs.append(sync)
        if len(syncs) > 1 and MirrorSync in map(type, syncs):
            msg = (
                f"Segment '{segment_id}' is being synced from another stream of this run, and one of them mirrors it. "
                "This stream did not touch it. Give each stream its own segment, or unite them in one stream."
            )
            raise SegmentError(msg, heading=Heading.SHARED_SEGMENT)
        sync.begin()

    def make_sync(self, segment_id: str) -> SegmentSync:
        """Return the sync of a segment: as a mirror, or by row.

        Rows of replayed dead letters add and remove, whatever the `sync_mode` of their stream.
        """
        settings, run = self.settings, self._run
        counts = self._counts.segments.setdefault(segment_id, SegmentCounts(settings.sync_mode or SyncMode.ADD))
        remote = RemoteSegment(segment_id, settings, counts, run)
        if settings.sync_mode is SyncMode.MIRROR and not run.streams.replaying:
            return MirrorSync(self.stream, remote, run)
        return RowSync(remote, run)

    # The end of the input: a run takes each step for all segments before the next, additions before removals

    def plan(self, verdict: Verdict) -> None:
        """Plan the changes of each segment."""
        if self.settings.segment_id_field is not None and self.settings.sync_mode is SyncMode.MIRROR:
            # Of segments that no record names any more the audience is empty, and guarded as such.
            for segment_id in self._run.store.segments_fed_by(self.stream):
                if segment_id not in self._run.streams.syncs:
                    self.begin(segment_id)
        self._each(lambda sync: sync.plan(verdict, rejected=self._counts.rejected))
        self._planned = self._unsent

    @property
    def requests(self) -> int:
        """The number of requests that the plans still need."""
        return sum(-(-ids // sync.remote.batch_size) for sync in self._going_on for ids in sync.unsent)

    @property
    def progress(self) -> Progress:
        """The progress of the stream."""
        planned, requests = self._planned, 0
        parts = [f"{self._counts.accepted:,} staged"]
        if planned is not None:
            requests = self.requests
            sent = f"{planned - self._unsent:,} of {counted(planned, 'change')} sent"
            parts = [sent, f"{counted(requests, 'request')} left"]
        read = next((sync.remote.read for sync in self._going_on if sync.remote.read is not None), None)
        if read is not None:
            parts.append(f"{read:,} ids of a list read, in spaced requests")
        busy = requests > 0 or read is not None
        return Progress(self.stream, self._counts.records, parts, busy=busy, requests_left=requests)

    @property
    def _unsent(self) -> int:
        return sum(sum(sync.unsent) for sync in self._going_on)

    @property
    def _going_on(self) -> list[SegmentSync]:
        # A list, because the reading thread may add a segment meanwhile.
        return [sync for sync in list(self._syncs.values()) if not sync.failed]

    def add(self) -> None:
        """Send all additions."""
        self._each(lambda sync: sync.add())

    def remove(self) -> None:
        """Send all removals that may be sent."""
        self._each(lambda sync: sync.remove())

    def close(self) -> None:
        """Read each changed segment back."""
        self._each(lambda sync: sync.close())

    def send_kept(self) -> None:
        """Send what earlier runs kept of a stream that did not come this time."""
        self.plan(Verdict(Proof.NONE))
        self.add()
        self.remove()
        self.close()

    # During the input, and at an early end

    def flush(self) -> None:
        """Send the changes so far, so that a STATE may pass them."""
        for sync in self._syncs.values():
            self._guarded(sync, sync.flush)

    def keep(self) -> None:
        """Keep unsent changes for the next run."""
        for sync in self._syncs.values():
            sync.keep()

    def _each(self, step: Callable[[SegmentSync], None]) -> None:
        for sync in self._going_on:
            self._guarded(sync, partial(step, sync))

    def _guarded(self, sync: SegmentSync, step: Callable[[], None]) -> None:
        """Take a step of one segment. If it fails, leave the segment as it is; the others go on."""
        try:
            step()
        except SegmentError as error:
            sync.fail()
            self._run.fail(error)
