"""One stream's way to its segments: reads the member of each record and hands it to the sync of its segment.

Refuses to know of Singer and HTTP. One stream may feed one segment, or many (`segment_id_field`); where one of them
fails, the others go on.
"""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

from target_statsig.exceptions import RecordError, SegmentError
from target_statsig.segments.completeness import Proof, Verdict
from target_statsig.segments.membership import MemberMapper
from target_statsig.segments.words import PlainWords
from target_statsig.watch import SegmentProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_statsig.columns import Columns
    from target_statsig.record import Record
    from target_statsig.rejections import Rejections
    from target_statsig.report import MemberCounts
    from target_statsig.segments.sync import SegmentSync
    from target_statsig.segments.words import Words
    from target_statsig.settings import StreamSettings


class SegmentLane:
    """Takes the records of one stream and gathers the members of its segments."""

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        counts: MemberCounts,
        rejections: Rejections,
        make_sync: Callable[[str], SegmentSync],
        on_failure: Callable[[SegmentError], None],
        fed_before: Callable[[], Sequence[str]],
    ) -> None:
        """Begin with nothing gathered.

        Args:
            stream: The stream's name.
            settings: Its settings.
            counts: Its counts in the report.
            rejections: Where its rejected records go.
            make_sync: Makes the sync of a segment.
            on_failure: Told of each segment that failed.
            fed_before: Returns the segments that earlier runs of this stream fed, where a record names its segment.
        """
        self.stream = stream
        self.settings = settings
        self._counts = counts
        self._rejections = rejections
        self._member = MemberMapper(settings)
        self._plain_words = PlainWords(settings)
        self._make_sync = make_sync
        self._on_failure = on_failure
        self._fed_before = fed_before
        self._syncs: dict[str, SegmentSync] = {}
        self._failed: set[str] = set()
        self._planned: int | None = None

    def accept(self, records: Sequence[Record]) -> None:
        """Take records.

        Raises:
            RejectionsError: One names no member, and no record of this stream may be rejected.
        """
        words = self._plain_words(lambda name: [record.data.get(name) for record in records])
        if words is None:
            self._accept_one_by_one(records)
        else:
            self._counts.records += len(records)
            self._hand_over(words)

    def accept_columns(self, columns: Columns) -> bool:
        """Take records that are held column by column; return False, and take none, where one needs a careful look."""
        words = self._plain_words(columns.get)
        if words is None:
            return False
        self._counts.records += len(columns)
        self._hand_over(words)
        return True

    def _accept_one_by_one(self, records: Sequence[Record]) -> None:
        words: dict[str, Words] = {}
        try:
            for record in records:
                self._counts.records += 1
                try:
                    change = self._member(record.data)
                except RecordError as error:
                    self._rejections.add(record, error)
                else:
                    words.setdefault(change.segment_id or self.settings.segment_id or "", {})[change.id] = change.member
        finally:
            self._hand_over(words)

    def _hand_over(self, words: Mapping[str, Words]) -> None:
        for segment_id, said in words.items():
            if segment_id not in self._syncs:
                self.begin(segment_id)
            self._guarded(segment_id, methodcaller("take", said))

    def reject(self, record: Record, error: RecordError) -> None:
        """Keep a record out.

        Raises:
            RejectionsError: No record of this stream may be rejected.
        """
        self._counts.records += 1
        self._rejections.add(record, error)

    def begin(self, segment_id: str) -> None:
        """Begin the sync of a segment."""
        self._syncs[segment_id] = self._make_sync(segment_id)
        self._guarded(segment_id, lambda sync: sync.begin())

    # The end of the input, in the order in which a run goes through all its segments: additions before removals

    def plan(self, verdict: Verdict) -> None:
        """Work out what to change in each segment.

        Args:
            verdict: Whether the tap finished the stream.
        """
        for segment_id in self._fed_before():
            if segment_id not in self._syncs:
                # Nobody names it any more: an audience that has become empty, and guarded like one.
                self.begin(segment_id)
        self._each(lambda sync: sync.plan(verdict, rejected=self._rejections.count))
        self._planned = sum(sync.unsent for sync in self._going_on)

    @property
    def requests(self) -> int:
        """Return how many requests the plans still need."""
        return sum(sync.requests for sync in self._going_on)

    @property
    def progress(self) -> SegmentProgress:
        """Return how far the stream is."""
        counts, planned = self._counts, self._planned
        staged = counts.records - counts.rejected
        if planned is None:
            return SegmentProgress(self.stream, counts.records, staged)
        unsent = sum(sync.unsent for sync in self._going_on)
        return SegmentProgress(self.stream, counts.records, staged, planned, unsent, self.requests)

    @property
    def _going_on(self) -> list[SegmentSync]:
        return [sync for name, sync in list(self._syncs.items()) if name not in self._failed]

    def add(self) -> None:
        """Send all additions."""
        self._each(lambda sync: sync.add())

    def remove(self) -> None:
        """Send all removals that may be sent."""
        self._each(lambda sync: sync.remove())

    def close(self) -> None:
        """Read back what became of each segment that was changed."""
        self._each(lambda sync: sync.close())

    def send_kept(self) -> None:
        """Send what earlier runs kept, of a stream that did not come this time."""
        self.plan(Verdict(Proof.NONE))
        for step in (self.add, self.remove, self.close):
            step()

    # During the input, and where it ends early

    def settle(self) -> None:
        """Send what rows asked for so far, so that a STATE may pass it."""
        for segment_id in self._syncs:
            self._guarded(segment_id, lambda sync: sync.settle())

    def keep(self) -> None:
        """Keep what rows asked for and was not sent, for the next run."""
        for sync in self._syncs.values():
            sync.keep()

    def judge(self) -> None:
        """Measure the stream against `max_rejected_percent`.

        Raises:
            RejectionsError: Too many of its records were rejected.
        """
        self._rejections.judge()

    def _each(self, step: Callable[[SegmentSync], None]) -> None:
        for segment_id in self._syncs:
            if segment_id not in self._failed:
                self._guarded(segment_id, step)

    def _guarded(self, segment_id: str, step: Callable[[SegmentSync], None]) -> None:
        """Take a step of one segment; where it fails, the segment is left as it is and the others go on."""
        try:
            step(self._syncs[segment_id])
        except SegmentError as error:
            self._failed.add(segment_id)
            self._syncs[segment_id].fail()
            self._on_failure(error)
