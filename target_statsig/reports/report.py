"""The report of a run: counts and reasons, as JSON, as OpenMetrics text, and as a notification.

It holds names of streams, segments and reasons, never a value from a record and never a key.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig import __version__
from target_statsig.clock import iso_time
from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.errors import FatalRunError, Heading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


MOST_NAMES, RENAMED_LISTED = 1_000, 100
"""Most names to count, and renamed ones to list: a mapping that mistakes an id for a name must not fill the memory."""

OTHER_NAMES = "…"

Span = tuple[int, int]
"""The earliest and the latest time of events, in Unix milliseconds."""


def wider(span: Span | None, other: Span | None) -> Span | None:
    """Return the span of both; None is an empty span."""
    if span is None or other is None:
        return span or other
    return min(span[0], other[0]), max(span[1], other[1])


def _add_numbers(counts: ItemCounts | MappingWarnings, others: ItemCounts | MappingWarnings) -> None:
    for name in counts.__slots__:
        if isinstance(number := getattr(others, name), int):
            setattr(counts, name, getattr(counts, name) + number)


class RunStatus(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(slots=True)
class MappingWarnings:
    """What the mapping of records warns of; `text.REMARKS` has a text for each number.

    Attributes:
        behind_bookmark: Records below the bookmark of the last STATE of an earlier run.
        renamed: The sanitized names of events, by their original names; the first `RENAMED_LISTED` only.
    """

    behind_bookmark: int = 0
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
    tier_ignored: int = 0
    renamed: dict[str, str] = field(default_factory=dict)

    def add_renamed(self, old: str, new: str) -> None:
        """Add an event name that was sanitized."""
        if len(self.renamed) < RENAMED_LISTED:
            self.renamed[old] = new

    def add(self, others: MappingWarnings) -> None:
        """Add the warnings of a batch."""
        _add_numbers(self, others)
        for old, new in others.renamed.items():
            self.add_renamed(old, new)


@dataclass(slots=True)
class ItemCounts:
    """The counts of one stream's items, or of those of one batch.

    Attributes:
        maybe_duplicated: Delivered records that an earlier request, without a clear response, may also have delivered.
        bytes_sent: Bytes of bodies on the wire, in all tries.
        billable: Delivered items that Statsig bills.
        names: Delivered items by name; names beyond `MOST_NAMES` are counted under `OTHER_NAMES`. They come from
            records, so they are not in the report.
        span: The known times of delivered events; not in the report either.
    """

    object_type: ObjectType
    records: int = 0
    delivered: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    skipped_duplicates: int = 0
    deleted_row: int = 0
    maybe_duplicated: int = 0
    warnings: MappingWarnings = field(default_factory=MappingWarnings)
    requests: int = 0
    retries: int = 0
    bytes_sent: int = 0
    billable: int = 0
    names: Counter[str] = field(default_factory=Counter)
    span: Span | None = None

    @property
    def not_sent(self) -> int:
        """Records that a failure or a signal left unsent; the next run sends them."""
        return self.records - self.delivered - self.rejected - self.skipped_duplicates - self.deleted_row

    @property
    def accepted(self) -> int:
        """Records to send that were not rejected, including those that an earlier run delivered."""
        return self.records - self.deleted_row - self.rejected

    def add(self, others: ItemCounts) -> None:
        """Add the counts of a batch or of another stream, apart from the reasons of rejections."""
        _add_numbers(self, others)
        self.warnings.add(others.warnings)
        for name, count in others.names.items():
            known = name in self.names or len(self.names) < MOST_NAMES
            self.names[name if known else OTHER_NAMES] += count
        self.span = wider(self.span, others.span)

    def as_json(self) -> dict[str, Any]:
        """Return the counts under the names of the run report."""
        report: dict[str, Any] = msgspec.to_builtins(self)
        warnings = report.pop("warnings")
        del report["names"], report["span"]
        if not warnings["renamed"]:
            del warnings["renamed"]
        report |= {"not_sent": self.not_sent} | warnings
        return report


@dataclass(slots=True)
class SegmentCounts:
    """The counts of one segment; None is unknown. The next run first sends the changes that are `kept`."""

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
        report = asdict(self)
        if not self.held_because:
            del report["held_because"]
        return report


@dataclass(slots=True)
class MemberCounts:
    """The counts of one stream that feeds segments."""

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
        segments = {name: segment.as_json() for name, segment in self.segments.items()}
        return {"object_type": ObjectType.SEGMENT.value, **msgspec.to_builtins(self), "segments": segments}


@dataclass(eq=False)
class RunReport:
    """The report of one run, filled by several threads.

    Attributes:
        started_at: In seconds since 1970.
        lock: Hold it to change counts that other threads change too.
        errors: The code of each error, by its text.
        stop_signal: The number of the signal that ended the run, or None.
    """

    started_at: float
    run_id: str = ""
    dry_run: bool = False
    item_streams: dict[str, ItemCounts] = field(default_factory=dict)
    member_streams: dict[str, MemberCounts] = field(default_factory=dict)
    dead_letter_files: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    stop_signal: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def items(self, stream: str, object_type: ObjectType) -> ItemCounts:
        """Return the counts of a stream that goes to the events API; new ones at the first call."""
        return self.item_streams.setdefault(stream, ItemCounts(object_type))

    def members(self, stream: str) -> MemberCounts:
        """Return the counts of a stream that feeds segments; new ones at the first call."""
        return self.member_streams.setdefault(stream, MemberCounts())

    @property
    def status(self) -> RunStatus:
        """How the run ended, so far."""
        if self.stop_signal is not None:
            return RunStatus.INTERRUPTED
        return RunStatus.FAILED if self.errors else RunStatus.COMPLETE

    @property
    def exit_code(self) -> int:
        """Return 0 for a complete run, 1 for a failed one, 128 and the signal's number for an interrupted one."""
        if self.stop_signal is not None:
            return 128 + self.stop_signal
        return 1 if self.errors else 0

    def fail(self, text: str, heading: Heading) -> None:
        """Add an error; its heading has the code."""
        with self.lock:
            self.errors.setdefault(text, heading.code)

    def seconds(self, now: float) -> float:
        """Return the seconds since the start of the run, 0 if the clock was set back; `now` is since 1970."""
        return max(now - self.started_at, 0.0)

    def as_json(self, now: float) -> dict[str, Any]:
        """Return the whole report; `now` is in seconds since 1970."""
        with self.lock:
            streams = self.item_streams | self.member_streams
            return {
                "run_id": self.run_id,
                "version": __version__,
                "status": self.status,
                "exit_code": self.exit_code,
                "dry_run": self.dry_run,
                "started_at": iso_time(self.started_at),
                "seconds": round(self.seconds(now), 3),
                "streams": {name: counts.as_json() for name, counts in streams.items()},
                "dead_letter_files": self.dead_letter_files,
                "errors": [*self.errors],
                "error_codes": [*self.errors.values()],
            }


PREFIX = "target_statsig"

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def write_report(path: str, report: Mapping[str, Any]) -> None:
    """Write the report as JSON, or raise a FatalRunError."""
    with _file_of("report_path", path) as file:
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def open_metrics(report: Mapping[str, Any], ended_at: float) -> str:
    """Return the counts of a report as OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec/).

    All are gauges, because each run begins at zero. `report` is that of `RunReport.as_json`; `ended_at` is in seconds
    since 1970.
    """
    families: dict[str, list[str]] = {}

    def add(of: str, labels: Mapping[str, str], counts: Mapping[str, Any]) -> None:
        shown = ",".join(f'{label}="{text.translate(_LABEL_ESCAPES)}"' for label, text in labels.items())
        for name, value in counts.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                family = f"{PREFIX}_{of}_{name}"
                families.setdefault(family, []).append(f"{family}{f'{{{shown}}}' if shown else ''} {value}")

    success = int(report["status"] == "complete")
    times = {"seconds": report["seconds"], "ended_timestamp_seconds": round(ended_at, 3)}
    add("run", {}, {"success": success, **times})
    for stream, counts in report["streams"].items():
        labels = {"stream": stream, "object_type": counts["object_type"]}
        add("stream", labels, counts)
        for reason, count in counts["reasons"].items():
            add("stream", labels | {"reason": reason}, {"rejected_by_reason": count})
        for segment, changes in counts.get("segments", {}).items():
            add("segment", {"stream": stream, "segment": segment}, changes)
    lines = [line for name, samples in families.items() for line in (f"# TYPE {name} gauge", *samples)]
    return "\n".join([*lines, "# EOF", ""])


def write_open_metrics(path: str, report: Mapping[str, Any], ended_at: float) -> None:
    """Write the metrics in one step, so that a collector never reads half of them, or raise a FatalRunError."""
    with _file_of("metrics_path", path) as file:
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        unfinished.write_bytes(open_metrics(report, ended_at).encode("utf-8", "backslashreplace"))
        unfinished.replace(file)


@contextmanager
def _file_of(setting: str, path: str) -> Iterator[Path]:
    """Give the file of a setting, in a directory that exists; a FatalRunError names both."""
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield file
    except OSError as error:
        msg = f"`{setting}` ({path}) cannot be written: {error.strerror}. The run itself is done."
        raise FatalRunError(msg, heading=Heading.REPORT) from error


def notification(report: Mapping[str, Any]) -> bytes:
    """Return the report as JSON, with a sentence and the errors in `text` for Slack and similar services."""
    streams = report["streams"].values()
    segments = [segment for counts in streams for segment in counts.get("segments", {}).values()]
    numbers = {name: sum(counts.get(name, 0) for counts in streams) for name in ("delivered", "rejected")}
    if segments:
        numbers |= {name: sum(segment[name] or 0 for segment in segments) for name in ("added", "removed", "held")}
    facts = ", ".join(f"{number:,} {name}" for name, number in numbers.items())
    text = f"target-statsig: run {report['status']} after {report['seconds']:,} s. {facts}."
    return msgspec.json.encode({"text": "\n".join([text, *report["errors"]]), **report})
