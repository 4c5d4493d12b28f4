"""Which way a stream's records go: makes the lane that its settings ask for.

A lane is made at a stream's first SCHEMA and lives with the run; the sinks
of the stream come and go.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from target_statsig.config.parse import unmatched
from target_statsig.config.settings import SyncMode
from target_statsig.events.delivery import Bounds
from target_statsig.events.item_types import ITEM_TYPES
from target_statsig.events.stream import DeliveryPool, EventServices, EventStream
from target_statsig.events.workforce import Workforce
from target_statsig.singer.named import NamedColumns, warn_of_absent_streams
from target_statsig.singer.rejections import Rejections
from target_statsig.store.ledger import NoLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.clock import Clock
    from target_statsig.config.parse import Config
    from target_statsig.config.settings import StreamSettings
    from target_statsig.errors import SegmentError
    from target_statsig.events.item_types import ItemType
    from target_statsig.reports.progress import Progress
    from target_statsig.reports.report import ItemCounts, MemberCounts, RunReport
    from target_statsig.segments.lane import SegmentStream
    from target_statsig.segments.syncs import SegmentSyncs
    from target_statsig.services import Services
    from target_statsig.singer.dead_letters import DeadLetters
    from target_statsig.singer.records import Read
    from target_statsig.singer.state_gate import StateGate
    from target_statsig.store.ledger import StreamLedger

BATCHES_AHEAD = 4
"""Batches that are prepared or written down, beside those whose requests are under way."""


class Lanes:
    """The lanes of a run, by stream.

    Attributes:
        items: Those of streams that go to the events API.
        segments: Those of streams that feed segments.
        replaying: Whether the SCHEMA at hand is that of a dead-letter file: its rows add and remove, whatever the
            stream's `sync_mode`, and nobody is missing because they do not hold him.
    """

    def __init__(
        self,
        config: Config,
        services: Services,
        gate: StateGate,
        report: RunReport,
        clock: Clock,
        dead_letters: Callable[[], DeadLetters],
        on_segment_failure: Callable[[SegmentError], None],
        observe: Callable[[str, Read], None],
    ) -> None:
        """Take what lanes share; nothing is opened before a stream needs it."""
        self.items: dict[str, EventStream] = {}
        self.segments: dict[str, SegmentStream] = {}
        self.replaying = False
        self._config = config
        self._services = services
        self._gate = gate
        self._report = report
        self._clock = clock
        self._dead_letters = dead_letters
        self._on_segment_failure = on_segment_failure
        self._observe = observe
        self._columns: dict[str, NamedColumns] = {}

    def get(self, stream: str) -> EventStream | SegmentStream:
        """Return a stream's lane, a new one at first.

        Raises:
            SettingsError: Nothing says what the stream's records become.
            StoreError: It needs the store, and that cannot be used.
        """
        lane = self.items.get(stream) or self.segments.get(stream)
        return lane or self._make(stream, self._config.for_stream(stream))

    def see_schema(self, stream: str, schema: Mapping[str, Any], tap_schema: Mapping[str, Any]) -> None:
        """Warn of columns that the settings of a stream name and its SCHEMA has not; see `NamedColumns.see`."""
        self._columns[stream].see(schema, tap_schema)

    def warn_of_absent_streams(self) -> None:
        """Warn of streams that the settings name and that did not come."""
        if not self.replaying:
            came = sorted(stream for stream, columns in self._columns.items() if columns.seen)
            warn_of_absent_streams(unmatched(came, self._config.entries), came)

    def progress(self) -> list[Progress]:
        """Return how far each stream is; any thread may ask."""
        # Lists: the thread that reads may add a stream meanwhile.
        lanes: list[EventStream | SegmentStream] = [*list(self.items.values()), *list(self.segments.values())]
        return [lane.progress for lane in lanes]

    def flush(self) -> None:
        """Send all batches of items, full or not.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        for lane in self.items.values():
            lane.flush()

    def check(self) -> None:
        """See whether all batches of items went well so far, so that a run that cannot go on reads no further.

        Raises:
            TargetStatsigError: What a batch failed with.
        """
        if self.items:
            self._event_services.pool.check()

    def age(self) -> None:
        """Send the batches of items that were begun before the last call.

        Raises:
            TargetStatsigError: What an earlier batch failed with.
        """
        for lane in self.items.values():
            lane.flush_old()

    def settle(self) -> None:
        """Send what holds a STATE back."""
        self.flush()
        for lane in self.segments.values():
            lane.flush()

    def reject_limit_checks(self) -> list[Callable[[], None]]:
        """Return what holds each stream against `max_rejected_percent`."""
        events = [lane.check_reject_limit for lane in self.items.values()]
        return events + [lane.check_reject_limit for lane in self.segments.values()]

    def send_kept(self) -> None:
        """Send what rows of earlier runs asked for, also of streams that did not come this time."""
        for stream in self._config.names_of_row_streams():
            segment_id = self._config.for_stream(stream).segment_id or ""
            if stream not in self.segments and self._services.pending_from_earlier(segment_id) is not None:
                self.get(stream)
                self.segments[stream].send_kept()

    def outdate_holds(self) -> None:
        """Let nobody apply what an earlier run held of a segment that this run could have mirrored and did not.

        Whoever says that this run's tap ended well says nothing of that run's.

        Raises:
            StoreError: The store cannot be used.
        """
        if self._config.settings.dry_run or not (self._config.mirrors and self._services.store_exists):
            return
        store = self._services.store
        for segment_id, hold in store.holds().items():
            if self._config.mirrored(hold.stream, segment_id) is not None:
                store.outdate_hold(segment_id)

    def finish_items(self) -> None:
        """Send the rest of all items and wait for every answer.

        Raises:
            TargetStatsigError: What a batch failed with; the others were still sent.
        """
        if self.items:
            try:
                self.flush()
            finally:
                try:
                    self._event_services.pool.finish()
                finally:
                    self._event_services.workers.close()

    def stop(self) -> None:
        """Let nobody wait for a worker process any more; a signal handler may call this."""
        if "_event_services" in self.__dict__:
            self._event_services.workers.stop()

    def _make(self, stream: str, settings: StreamSettings) -> EventStream | SegmentStream:
        item_type = ITEM_TYPES.get(settings.object_type)
        if item_type is not None:
            self.items[stream] = self._item_lane(stream, settings, item_type)
            return self.items[stream]
        lane = self.segments[stream] = self._segment_lane(stream, settings)
        if settings.segment_id is not None:
            # At once: a stream without records may be an audience that has become empty.
            lane.begin(settings.segment_id)
        return lane

    def _item_lane(self, stream: str, settings: StreamSettings, item_type: ItemType) -> EventStream:
        counts = self._report.items(stream, item_type.object_type)
        return EventStream(
            stream,
            settings,
            item_type,
            self._event_services,
            self._ledger(stream, settings),
            counts,
            self._rejections(stream, settings, counts),
        )

    def _ledger(self, stream: str, settings: StreamSettings) -> StreamLedger:
        if not settings.dedupe:
            return NoLedger()
        ledger = self._services.store.ledger(
            stream, object_type=str(settings.object_type), keep_days=settings.dedupe_days
        )
        ledger.begin()
        return ledger

    def _segment_lane(self, stream: str, settings: StreamSettings) -> SegmentStream:
        from target_statsig.segments.lane import SegmentStream

        counts = self._report.members(stream)
        make_sync = partial(self._syncs, stream, settings, counts, lambda: self.replaying)
        rejections = self._rejections(stream, settings, counts)
        mirrors_many = settings.segment_id_field is not None and settings.sync_mode is SyncMode.MIRROR
        fed_before = partial(self._services.store.segments_fed_by, stream) if mirrors_many else list
        return SegmentStream(
            stream, settings, counts, rejections, make_sync, self._on_segment_failure, fed_before, self._observe
        )

    @cached_property
    def _syncs(self) -> SegmentSyncs:
        # Here, and above: a run without segments does not wait for what only they need.
        from target_statsig.segments.syncs import SegmentSyncs

        return SegmentSyncs(self._services, self._gate, self._clock, self._config.settings.segment_batch_size)

    def _rejections(self, stream: str, settings: StreamSettings, counts: ItemCounts | MemberCounts) -> Rejections:
        columns = self._columns[stream] = NamedColumns(stream, settings)
        return Rejections(
            stream, settings.max_rejected_percent, counts, self._report, self._dead_letters(), columns.where
        )

    @cached_property
    def _event_services(self) -> EventServices:
        settings = self._config.settings
        requests = settings.max_parallel_requests
        return EventServices(
            self._services.events,
            # Some batches are made ready while those before them wait for their answers; a single one keeps its order.
            DeliveryPool(requests + min(requests - 1, BATCHES_AHEAD)),
            Workforce(),
            self._gate,
            self._report,
            self._clock,
            Bounds(settings.batch_size_rows, settings.batch_size_bytes),
        )
