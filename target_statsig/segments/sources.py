"""Which of the tap's streams feed which of ours, and whether the tap finished them.

Stream maps rename and copy streams; completeness is told by the tap's own names, off the wire.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from target_statsig.config.settings import SyncMode
from target_statsig.errors import FatalRunError, Heading
from target_statsig.segments.bookmarks import hints_at_incremental, incremental_streams, without_resumption
from target_statsig.segments.completeness import judge, weakest
from target_statsig.segments.observer import MISSING, StreamObserver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_statsig.config.settings import StreamSettings
    from target_statsig.segments.completeness import Verdict
    from target_statsig.singer.columns import Column, Columns
    from target_statsig.singer.records import Read


class Sources:
    """Watches the tap's messages and answers for the streams that they feed."""

    def __init__(self) -> None:
        """Begin before the first message."""
        self._observer = StreamObserver()
        self._row_count_fields: dict[str, str] = {}
        self._followed: set[str] = set()
        self._feeding: dict[str, set[str]] = {}
        self._settings: dict[str, StreamSettings] = {}

    def follow(self, tap_stream: str, stream: str, settings: StreamSettings) -> None:
        """Note that a stream of the tap feeds a stream that changes segments.

        Args:
            tap_stream: The tap's name.
            stream: The name after the stream maps.
            settings: The settings of `stream`.
        """
        self._followed.add(tap_stream)
        self._feeding.setdefault(stream, set()).add(tap_stream)
        self._settings[stream] = settings
        if settings.row_count_field is not None:
            self._row_count_fields[tap_stream] = settings.row_count_field

    def schema(self, message: Mapping[str, Any], *, dead_letter: bool) -> None:
        """See a SCHEMA message; `dead_letter` says that it has the mark of a dead-letter file."""
        self._observer.schema(
            message["stream"], dead_letter=dead_letter, incremental_hint=hints_at_incremental(message)
        )

    def records(self, tap_stream: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """See RECORD messages that follow each other, before any stream map."""
        if tap_stream not in self._followed:
            self.count(tap_stream, len(messages))
            return
        field = self._row_count_fields.get(tap_stream)
        for message in messages:
            record = message["record"]
            # One that is nested too deeply to be read is no object here.
            row_count = MISSING if field is None or type(record) is not dict else record.get(field, MISSING)
            self._observer.record(tap_stream, row_count, version=message.get("version"))

    def read(self, tap_stream: str, read: Read) -> None:
        """See RECORDs that follow each other, as they were read."""
        if read.messages is None:
            self.columns(tap_stream, read.columns)
        else:
            self.records(tap_stream, read.messages)

    def columns(self, tap_stream: str, columns: Columns) -> None:
        """See RECORDs that follow each other, by their columns; else as `records`."""
        field = self._row_count_fields.get(tap_stream)
        row_counts: Column = (MISSING,) * len(columns)
        if field is not None and field in columns.names:
            row_counts = columns.get(field)
        for (row_count, version), alike in groupby(zip(row_counts, columns.versions, strict=True)):
            self._observer.record(tap_stream, row_count, version=version, count=len([*alike]))

    def count(self, tap_stream: str, records: int) -> None:
        """See RECORDs that follow each other, of a stream whose records tell nothing by what they hold."""
        self._observer.record(tap_stream, count=records)

    def activate_version(self, tap_stream: str, version: object) -> None:
        """See an ACTIVATE_VERSION."""
        self._observer.activate_version(tap_stream, version)

    def without_resumption(self, state: Any) -> Any:
        """Return a STATE's value from which the tap begins every mirrored stream afresh.

        A mirror needs the whole table in one run; a tap that goes on where it was interrupted brings only the rest.
        """
        return without_resumption(state, self._observer.places(self._mirrored))

    @property
    def must_keep_state(self) -> bool:
        """Whether the last STATE must not be written: it may hold a mirrored stream's place, nobody knows where."""
        return self._observer.is_unsure(self._mirrored)

    @property
    def _mirrored(self) -> set[str]:
        return {
            tap_stream
            for stream, tap_streams in self._feeding.items()
            if self._settings[stream].sync_mode is SyncMode.MIRROR
            for tap_stream in tap_streams
        }

    def state(self, value: object) -> None:
        """See a STATE.

        Raises:
            FatalRunError: It shows that a stream which is mirrored carries what changed, and not what is.
        """
        self._observer.state(value)
        incremental = incremental_streams(value)
        for stream, tap_streams in self._feeding.items():
            if incremental & tap_streams and self._settings[stream].sync_mode is SyncMode.MIRROR:
                msg = (
                    f"Stream '{stream}' is mirrored, but the tap's STATE shows that it is incremental: it carries what "
                    f"changed, and a mirror would remove everyone who did not. Nobody was added or removed; the run "
                    f"stops. Let the tap sync the stream as FULL_TABLE and clear its bookmark from the tap's state, or "
                    f"set `sync_mode` to add."
                )
                raise FatalRunError(msg, heading=Heading.INCREMENTAL)

    def verdict(self, stream: str) -> Verdict:
        """Return whether the tap finished everything that feeds a stream; the weakest of several answers counts."""
        field = self._settings[stream].row_count_field
        return weakest(
            judge(self._observer.seen(tap_stream), row_count_field=field)
            for tap_stream in sorted(self._feeding[stream])
        )
