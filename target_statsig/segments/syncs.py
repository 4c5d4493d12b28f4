"""Which way a segment is changed: by rows, by rows under a size limit, or as a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.config.settings import SyncMode
from target_statsig.reports.report import SegmentCounts
from target_statsig.segments.growth import Growth, ProjectRoom
from target_statsig.segments.mirror import MirrorSync
from target_statsig.segments.remote import RemoteSegment
from target_statsig.segments.rows import RowSync
from target_statsig.segments.staged import StagedRowSync

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import MemberCounts
    from target_statsig.run import Run
    from target_statsig.segments.sync import SegmentSync


class SegmentSyncs:
    """Makes the sync of each segment of a run."""

    def __init__(self, run: Run) -> None:
        """Take what they share: the Console API, the store, the clock, and where changes hold a STATE back."""
        self._run = run
        self._room = ProjectRoom()

    def __call__(
        self,
        stream: str,
        settings: StreamSettings,
        counts: MemberCounts,
        replaying: Callable[[], bool],
        segment_id: str,
    ) -> SegmentSync:
        """Return the sync of a segment.

        Args:
            stream: The stream that feeds it.
            settings: The stream's settings.
            counts: The stream's counts in the report.
            replaying: Whether dead letters are replayed: their rows add and remove, whatever the `sync_mode`.
            segment_id: The segment.
        """
        run = self._run
        segment_counts = counts.segments.setdefault(segment_id, SegmentCounts(settings.sync_mode or SyncMode.ADD))
        mirrors = settings.sync_mode is SyncMode.MIRROR and not replaying()
        # Opened before anything is asked of Statsig: it may turn out to be of no use, and it knows the quota's windows.
        store = run.store if mirrors else None
        remote = RemoteSegment(
            segment_id, settings, run.console, segment_counts, run.clock, run.settings.segment_batch_size
        )
        growth = Growth(remote, self._room, segment_counts, settings.max_segment_size)
        if store is not None:
            return MirrorSync(stream, settings, remote, store, segment_counts, run.clock, growth)
        if settings.max_segment_size is not None:
            audience, kept = run.store.audience(segment_id), run.store.pending(segment_id)
            return StagedRowSync(remote, run.gate, growth, segment_counts, audience, kept)
        return RowSync(
            remote,
            run.gate,
            growth,
            segment_counts,
            earlier=lambda: run.pending_from_earlier(segment_id),
            pending=lambda: run.store.pending(segment_id),
        )
