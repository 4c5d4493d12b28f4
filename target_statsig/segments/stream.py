"""A stream that goes to segments: passes the id of each record to the sync of its segment.

A stream may feed one segment, or many (`segment_id_field`). If one fails, the others go on.
"""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

from target_statsig.config.choices import SyncMode
from target_statsig.errors import SegmentError
from target_statsig.reports.progress import Progress
from target_statsig.reports.report import SegmentCounts
from target_statsig.reports.text import counted
from target_statsig.segments.changes import LimitedRowSync, RowSync
from target_statsig.segments.completeness import Proof, Verdict
from target_statsig.segments.members import MemberMapper
from target_statsig.segments.mirror import MirrorSync
from target_statsig.segments.segment import RemoteSegment
from target_statsig.singer.reader import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MemberCounts
    from target_statsig.segments.changes import SegmentSync
    from target_statsig.singer.columns import Faults
    from target_statsig.singer.dead_letters import Rejections
    from target_statsig.singer.records import Batch, Reading


class SegmentStream:
    """Takes the records of one stream and gathers the members of its segments."""

    def __init__(
        self, stream: str, settings: StreamSettings, counts: MemberCounts, rejections: Rejections, run: Run
    ) -> None:
        """Begin with nothing gathered."""
        self.stream = stream
        self.settings = settings
        self._counts = counts
        self.rejections = rejections
        self._mapper = MemberMapper(settings)
        self._run = run
        # Records name the segments of this mirror. The store knows those that no record names any more.
        mirrors_many = settings.segment_id_field is not None and settings.sync_mode is SyncMode.MIRROR
        self._store = run.store if mirrors_many else None
        self._syncs: dict[str, SegmentSync] = {}
        self._failed: set[str] = set()
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
                self._guarded(segment_id, methodcaller("add_changes", changes_here))
        finally:
            for row in sorted(rejected):
                self.rejections.add(batch.lines[row], reading.schema, rejected[row])
        if read.unreadable is not None:
            raise unreadable(number + len(read.rows) + len(read.faults), read.unreadable)

    def begin(self, segment_id: str) -> None:
        """Begin the sync of a segment."""
        self._syncs[segment_id] = self.make_sync(segment_id)
        self._guarded(segment_id, lambda sync: sync.begin())

    def make_sync(self, segment_id: str) -> SegmentSync:
        """Return the sync of a segment: as a mirror, by row, or by row under a size limit.

        Rows of replayed dead letters add and remove, whatever the `sync_mode` of their stream.
        """
        settings, run = self.settings, self._run
        counts = self._counts.segments.setdefault(segment_id, SegmentCounts(settings.sync_mode or SyncMode.ADD))
        remote = RemoteSegment(segment_id, settings, counts, run)
        if settings.sync_mode is SyncMode.MIRROR and not run.streams.replaying:
            return MirrorSync(self.stream, remote, run)
        return RowSync(remote, run) if settings.max_segment_size is None else LimitedRowSync(remote, run)

    # The end of the input: a run takes each step for all segments before the next, additions before removals

    def plan(self, verdict: Verdict) -> None:
        """Plan the changes of each segment."""
        for segment_id in self._store.segments_fed_by(self.stream) if self._store else ():
            if segment_id not in self._syncs:
                # Its audience is empty, and guarded as such.
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
        counts, planned = self._counts, self._planned
        requests = 0
        if planned is None:
            parts = [f"{counts.accepted:,} staged"]
        else:
            requests = self.requests
            sent = f"{planned - self._unsent:,} of {counted(planned, 'change')} sent"
            parts = [sent, f"{counted(requests, 'request')} left"]
        read = next((sync.remote.read for sync in self._going_on if sync.remote.read is not None), None)
        if read is not None:
            parts.append(f"{read:,} ids of a list read, in spaced requests")
        busy = requests > 0 or read is not None
        return Progress(self.stream, counts.records, parts, busy=busy, requests_left=requests)

    @property
    def _unsent(self) -> int:
        return sum(sum(sync.unsent) for sync in self._going_on)

    @property
    def _going_on(self) -> list[SegmentSync]:
        # A list, because the reading thread may add a segment meanwhile.
        return [sync for name, sync in list(self._syncs.items()) if name not in self._failed]

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
        for step in (self.add, self.remove, self.close):
            step()

    # During the input, and at an early end

    def flush(self) -> None:
        """Send the changes so far, so that a STATE may pass them."""
        for segment_id in self._syncs:
            self._guarded(segment_id, lambda sync: sync.flush())

    def keep(self) -> None:
        """Keep unsent changes for the next run."""
        for sync in self._syncs.values():
            sync.keep()

    def _each(self, step: Callable[[SegmentSync], None]) -> None:
        for segment_id in self._syncs:
            if segment_id not in self._failed:
                self._guarded(segment_id, step)

    def _guarded(self, segment_id: str, step: Callable[[SegmentSync], None]) -> None:
        """Run a step of one segment. If it fails, leave the segment as it is; the others go on."""
        try:
            step(self._syncs[segment_id])
        except SegmentError as error:
            self._failed.add(segment_id)
            self._syncs[segment_id].fail()
            self._run.fail(error)
