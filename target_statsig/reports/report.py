"""What a run did, in counts and reasons: the JSON of `report_path`, and what the summary in the log is made of.

Holds names of streams, segments and reasons, never a value from a record and never a key. Safe to use from several
threads.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_statsig.config.settings import Choice, ObjectType, SyncMode
from target_statsig.reports.remarks import REMARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


MOST_NAMES = 1_000
"""Names of events that are counted one by one: a mapping that takes an id for a name must not fill the memory."""

OTHER_NAMES = "…"


class RunStatus(Choice):
    """How a run ended."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(slots=True)
class ItemCounts:
    """What became of one stream's items.

    Attributes:
        deleted_row: Records that said that their row was deleted, and were not sent.
        time_defaulted: Counts from here to `consent_ignored` are those of `MappingWarnings`.
        bytes_sent: Bytes on the wire, every attempt counted.
        names: Delivered items by name; names over `MOST_NAMES` are counted under `OTHER_NAMES`. They come from records
            and so are not in the report.
    """

    object_type: ObjectType
    records: int = 0
    delivered: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    skipped_duplicates: int = 0
    deleted_row: int = 0
    maybe_duplicated: int = 0
    time_defaulted: int = 0
    old_times: int = 0
    future_times: int = 0
    placeholder_times: int = 0
    text_values: int = 0
    long_values: int = 0
    long_user_ids: int = 0
    large_metadata: int = 0
    large_users: int = 0
    custom_ignored: int = 0
    consent_ignored: int = 0
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    billable: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)

    @property
    def remarks(self) -> Iterator[tuple[str, int]]:
        """The counts of which something is to be said, by name."""
        return ((name, count) for name in REMARKS if (count := getattr(self, name)))

    @property
    def settled(self) -> int:
        """Records of which it is known what became of them."""
        return self.delivered + self.rejected + self.skipped_duplicates + self.deleted_row

    @property
    def accepted(self) -> int:
        """Records that were to go, and were not rejected: those that an earlier run delivered too."""
        return self.records - self.deleted_row - self.rejected

    def count_names(self, names: Mapping[str, int]) -> None:
        """Count delivered events by name."""
        for name, count in names.items():
            known = name in self.names or len(self.names) < MOST_NAMES
            self.names[name if known else OTHER_NAMES] += count

    def as_json(self) -> dict[str, Any]:
        """Return the counts under the names of the run report."""
        report = {name: getattr(self, name) for name in self.__slots__ if name not in {"renamed", "names"}}
        report |= {"object_type": self.object_type.value, "reasons": dict(self.reasons)}
        if self.renamed:
            report["renamed"] = dict(sorted(self.renamed.items()))
        return report


@dataclass(slots=True)
class SegmentCounts:
    """What became of one segment; `None` means that it could not be told.

    Attributes:
        kept: Changes that rows asked for and that the next run sends first.
    """

    sync_mode: SyncMode
    before: int | None = None
    added: int = 0
    removed: int = 0
    unchanged: int | None = None
    held: int | None = 0
    held_since: str | None = None
    held_because: str | None = None
    kept: int = 0
    after: int | None = None
    proof: str = "none"
    requests: int = 0
    warnings: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the counts under the names of the run report."""
        report = {name: getattr(self, name) for name in self.__slots__} | {"sync_mode": self.sync_mode.value}
        for name in ("held_because", "kept"):
            if not report[name]:
                del report[name]
        return report


@dataclass(slots=True)
class MemberCounts:
    """What became of one stream's records that feed segments."""

    records: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    segments: dict[str, SegmentCounts] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Records that were not rejected."""
        return self.records - self.rejected

    def as_json(self) -> dict[str, Any]:
        """Return the counts under the names of the run report."""
        return {
            "object_type": ObjectType.SEGMENT.value,
            "records": self.records,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "segments": {name: segment.as_json() for name, segment in self.segments.items()},
        }


class RunReport:
    """The report of one run, filled while it goes on.

    Attributes:
        lock: Held by whoever changes counts of a stream that other threads change too.
        status: How the run ended, once it has.
        errors: Texts of what went wrong, in order.
    """

    def __init__(self, started_at: float, *, dry_run: bool = False) -> None:
        """Begin a report.

        Args:
            started_at: When the run began, in seconds since 1970.
            dry_run: Whether it changes nothing, so that the counts say what a run would do.
        """
        self.lock = threading.Lock()
        self.status = RunStatus.COMPLETE
        self.errors: list[str] = []
        self._started_at = started_at
        self._dry_run = dry_run
        self._items: dict[str, ItemCounts] = {}
        self._members: dict[str, MemberCounts] = {}

    def items(self, stream: str, object_type: ObjectType) -> ItemCounts:
        """Return the counts of a stream that goes to the events API, new ones at first."""
        return self._items.setdefault(stream, ItemCounts(object_type))

    def members(self, stream: str) -> MemberCounts:
        """Return the counts of a stream that feeds segments, new ones at first."""
        return self._members.setdefault(stream, MemberCounts())

    @property
    def item_streams(self) -> Mapping[str, ItemCounts]:
        """The counts of all streams that go to the events API."""
        return self._items

    @property
    def member_streams(self) -> Mapping[str, MemberCounts]:
        """The counts of all streams that feed segments."""
        return self._members

    def seconds(self, now: float) -> float:
        """Return how long the run has lasted, given the seconds since 1970."""
        return now - self._started_at

    def fail(self, error: str) -> None:
        """Note that something failed, for the report and the exit code."""
        with self.lock:
            if error not in self.errors:
                self.errors.append(error)
            self.status = RunStatus.FAILED

    def interrupt(self) -> None:
        """Note that a signal ended the run."""
        with self.lock:
            self.status = RunStatus.INTERRUPTED

    def as_json(self, now: float) -> dict[str, Any]:
        """Return the whole report.

        Args:
            now: Seconds since 1970.
        """
        with self.lock:
            started = datetime.fromtimestamp(self._started_at, tz=UTC)
            return {
                "status": self.status.value,
                "dry_run": self._dry_run,
                "started_at": started.isoformat(timespec="seconds"),
                "seconds": round(now - self._started_at, 3),
                "streams": {name: counts.as_json() for name, counts in self._items.items()}
                | {name: counts.as_json() for name, counts in self._members.items()},
                "errors": list(self.errors),
            }

    def write(self, path: str, now: float) -> None:
        """Write the report as JSON.

        Raises:
            OSError: The file cannot be written.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(self.as_json(now), indent=2) + "\n", encoding="utf-8")
