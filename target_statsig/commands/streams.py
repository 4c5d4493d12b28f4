"""The streams of a run. Each is created at its first SCHEMA, according to its `object_type`, and kept until the end."""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import ObjectType
from target_statsig.events.items import ITEM_TYPES
from target_statsig.events.remembered import replication_key_of
from target_statsig.events.stream import EventStream
from target_statsig.singer.dead_letters import Rejections
from target_statsig.singer.named import NamedColumns, warn_of_absent_streams
from target_statsig.store.ledger import NoLedger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.reports.report import ItemCounts, MemberCounts
    from target_statsig.segments.changes import SegmentSync
    from target_statsig.segments.stream import SegmentStream
    from target_statsig.singer.message import Message
    from target_statsig.singer.state import State
    from target_statsig.store.ledger import StreamLedger

logger = logging.getLogger(__name__)


class Streams:
    """The streams of a run, by name.

    Every method that sends events may raise the TargetStatsigError of an earlier batch.

    Attributes:
        syncs: The syncs of each segment, of all streams.
        replaying: Whether the last SCHEMA came from a dead-letter file. Such rows add or remove single members, even
            in a mirror, and prove nothing about other members.
    """

    def __init__(self, run: Run) -> None:
        self.events: dict[str, EventStream] = {}
        self.segments: dict[str, SegmentStream] = {}
        self.syncs: defaultdict[str, list[SegmentSync]] = defaultdict(list)
        self.replaying = False
        self._run = run
        self._columns: dict[str, NamedColumns] = {}

    def __iter__(self) -> Iterator[EventStream | SegmentStream]:
        # Copies, because the reading thread may add a stream meanwhile.
        yield from list(self.events.values())
        yield from list(self.segments.values())

    def get(self, name: str) -> EventStream | SegmentStream:
        """Return a stream; create it if it is new.

        Raises:
            SettingsError: The stream has no `object_type`.
            StoreError: The stream needs the store, and the store cannot be used.
        """
        return self.events.get(name) or self.segments.get(name) or self._make(name)

    def add_prepared(self, name: str, ledger: StreamLedger, *, expected: int) -> EventStream:
        """Create a stream for `expected` events that are already prepared; `ledger` records its deliveries."""
        stream = self._event_stream(name, self._run.config.for_stream(name), ledger)
        stream.expected = expected
        return stream

    def take_schema(self, name: str, message: Message, schema: Mapping[str, Any]) -> None:
        """Take the SCHEMA message of a tap's stream that feeds the stream `name`; `schema` is the one after its map."""
        tap_stream = message["stream"]
        if name in self.segments:
            self._run.sources.follow(tap_stream, name, self.segments[name].settings)
        else:
            self.events[name].follow(tap_stream, replication_key_of(message))
        self._columns[name].check(schema, message["schema"])

    def warn_of_absent(self) -> None:
        """Warn of streams that the settings name and the input lacked, or of an input without any stream."""
        if not self.replaying:
            came = sorted(name for name, columns in self._columns.items() if columns.seen)
            entries = self._run.config.entries
            absent = [key for key in entries if key not in came and not any(fnmatchcase(name, key) for name in came)]
            warn_of_absent_streams(absent, came, entries)
            if not (came or absent):
                logger.warning("No stream came: the input held no SCHEMA message. If the tap failed, its log says why.")

    # While the input is read

    def flush(self) -> None:
        """Send everything gathered so far, so that a waiting STATE can be written."""
        for stream in self:
            stream.flush()

    def flush_old(self) -> None:
        """Send the batches of events that were started before the last call."""
        for stream in self.events.values():
            stream.flush_old()

    def state_written(self, state: State, number: int) -> None:
        """Let the ledgers forget records that the tap will not send again after the run's `number`th STATE."""
        for stream in list(self.events.values()):
            stream.state_written(state, number)

    # The end of the input

    def finish_events(self) -> None:
        """Send the remaining events and wait for all responses, even if a batch has failed."""
        with ExitStack() as stack:
            stack.callback(self._run.workers.close)
            stack.callback(self._run.pool.finish)
            for stream in self.events.values():
                stream.flush()

    def sync_segments(self) -> None:
        """Update all segments: first all additions of the run, then the removals."""
        streams = list(self.segments.values())
        for stream in streams:
            stream.plan(self._run.sources.verdict(stream.stream))
        for stream in streams:
            stream.add()
        for stream in streams:
            stream.remove()
        for stream in streams:
            stream.close()
        # Changes that earlier runs kept are sent also for streams that the input lacked this time.
        for name in self._run.config.names_of_row_streams:
            if name not in self.segments and self._run.store_exists:
                self.get(name)
                self.segments[name].send_kept()

    def outdate_holds(self) -> None:
        """Void the removals that earlier runs held in segments which this run mirrors but did not sync.

        `--apply-held` after this run confirms that this run's tap finished, and says nothing of earlier ones.
        """
        if self._run.config.mirrored_segments and self._run.store_exists:
            store = self._run.store
            for segment_id, hold in store.holds().items():
                if self._run.config.mirrored(hold.stream, segment_id) is not None:
                    store.outdate_hold(segment_id)

    # A new stream

    def _make(self, name: str) -> EventStream | SegmentStream:
        settings = self._run.config.for_stream(name)
        if settings.object_type is not ObjectType.SEGMENT:
            return self._event_stream(name, settings, self._ledger(name, settings))
        # Imported here, because a run without segments does not need it.
        from target_statsig.segments.stream import SegmentStream

        counts = self._run.report.members(name)
        rejections = self._rejections(name, settings, counts)
        segment_stream = self.segments[name] = SegmentStream(name, settings, counts, rejections, self._run)
        if settings.segment_id is not None:
            # Without waiting for a record, because an audience may have become empty.
            segment_stream.begin(settings.segment_id)
        return segment_stream

    def _event_stream(self, name: str, settings: StreamSettings, ledger: StreamLedger) -> EventStream:
        item_type = ITEM_TYPES[settings.object_type]
        counts = self._run.report.items(name, item_type.object_type)
        rejections = self._rejections(name, settings, counts)
        self.events[name] = EventStream(name, settings, item_type, self._run, ledger, counts, rejections)
        return self.events[name]

    def _ledger(self, name: str, settings: StreamSettings) -> StreamLedger:
        if not settings.dedupe:
            return NoLedger()
        ledger = self._run.store.ledger(name, object_type=str(settings.object_type), keep_days=settings.dedupe_days)
        ledger.begin()
        return ledger

    def _rejections(self, name: str, settings: StreamSettings, counts: ItemCounts | MemberCounts) -> Rejections:
        columns = self._columns[name] = NamedColumns(name, settings)
        run, percent = self._run, settings.max_rejected_percent
        return Rejections(name, percent, counts, run.report, run.dead_letters, columns.where)
