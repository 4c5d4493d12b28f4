"""How a message is written: the table at the end of a run or a dry run, remarks, numbers, text from others.

The table has a row for each stream and segment. A dry run adds the names of events, although they come from records: a
preview is for seeing them.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from target_statsig.config.choices import SyncMode
from target_statsig.reports.report import OTHER_NAMES, MemberCounts, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.client.dry_run import ListChanges
    from target_statsig.reports.report import ItemCounts, RunReport, SegmentCounts

    Cell = int | str | None

logger = logging.getLogger(__name__)

MINUTE = 60
_TENTHS_UP_TO, _SECONDS_UP_TO, _MINUTES_UP_TO = 10, 120, 120

OFTEN_EMPTY = frozenset({"not sent", "skipped", "rejected", "retries", "held", "kept"})
"""Columns that are left out if all their cells are 0."""

MINUS = "\N{MINUS SIGN}"

SHOWN_NAMES = 20
"""Most names of events that a dry run shows for a stream."""

ENDS = {
    RunStatus.COMPLETE: "A run would end with 0, unless Statsig refuses a request.",
    RunStatus.FAILED: "A run would end with 1:",
    RunStatus.INTERRUPTED: "The dry run was stopped early. The table shows what it read until then.",
}


class Remark(NamedTuple):
    """The text about a number of records that are unusual, and the rest of its warning, once for a stream, if any."""

    text: str
    advice: str | None = None

    @property
    def warning(self) -> str:
        """The warning in the log; empty if there is none."""
        return "" if self.advice is None else f"there are records {self.text}. {self.advice}"


MAY_BE_CUT = "Statsig may cut or drop it silently."

REMARKS: Mapping[str, Remark] = {
    "skipped_duplicates": Remark("skipped, because an earlier run delivered them"),
    "deleted_row": Remark("of deleted rows, not sent", "To send them, set `deleted_rows` to send."),
    "maybe_duplicated": Remark(
        "perhaps delivered twice, because an answer was lost or unclear", "Statsig may count them twice."
    ),
    "behind_bookmark": Remark(
        "from before the last bookmark, perhaps delivered by an earlier run too",
        "After a reset of the bookmark, what earlier runs delivered is not remembered, so Statsig may count it twice. "
        "Set `dedupe_days` before you reset a bookmark.",
    ),
    "time_defaulted": Remark(
        "without a time",
        "They get the time of their extraction, or the current time. Name the column in `field_mapping.event_time`.",
    ),
    "old_times": Remark(
        "with a time over 60 days ago",
        "Statsig does not document how old an event may be: check whether they arrive.",
    ),
    "future_times": Remark(
        "with a time in the future",
        "Check the column of `event_time`, its time zone (UTC if it has none), and `time_unit`.",
    ),
    "placeholder_times": Remark(
        "with a time before 2000 or after 2100",
        "Such a time, as 1970-01-01 or 9999-12-31, usually means that there is none. It is sent all the same. Let the "
        "tap or a stream map make it null.",
    ),
    "text_values": Remark(
        "with a value that is text, not a number",
        'Statsig cannot add up text such as "$12.50" or "1,234.50". Let the tap or a stream map make numbers of it.',
    ),
    "long_values": Remark("with a value over 128 characters", MAY_BE_CUT),
    "long_user_ids": Remark("with a user id over 128 characters", MAY_BE_CUT),
    "large_metadata": Remark(
        "with metadata over 4,096 bytes", f"{MAY_BE_CUT} Name the columns that you need in `metadata_fields`."
    ),
    "large_users": Remark("with a user over 4,096 bytes", MAY_BE_CUT),
    "custom_ignored": Remark(
        "with a `custom` that is not an object, left out", "It must be an object, or JSON text of one."
    ),
    "consent_ignored": Remark(
        "with a marketing consent that is neither yes nor no, left out",
        "Yes is yes, y, true, on, 1 or granted; no is no, n, false, off, 0 or denied.",
    ),
    "tier_ignored": Remark(
        "with an environment tier that is not text, left out",
        "They get `environment_tier`, or count as production if that is not set.",
    ),
}
"""By name of the count, in the order of the log."""


def remarks(counts: ItemCounts) -> Iterator[tuple[str, int]]:
    """Yield the counts above 0 that the log explains, by name."""
    for name in REMARKS:
        if count := getattr(counts if hasattr(counts, name) else counts.warnings, name):
            yield name, count


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a dry run knows beside its counts: the seconds that all changes would wait, and whether it has a key."""

    waits: float
    has_server_key: bool


def run_table(report: RunReport, now: float, forecast: Forecast | None = None) -> list[str]:
    """Return the summary of a run; `now` is in seconds since 1970, `forecast` is for a dry run."""
    with report.lock:
        streams: list[tuple[str, ItemCounts | MemberCounts]] = list(report.item_streams.items())
        streams += report.member_streams.items()
        segments = [fed for counts in report.member_streams.values() for fed in counts.segments.items()]
        lines = [
            _title(report, now),
            *table_lines([_stream_row(name, counts) for name, counts in streams]),
            *table_lines([_segment_row(name, counts) for name, counts in segments]),
        ]
        lines += (f"  {name}: {remark}" for name, counts in streams for remark in _stream_remarks(counts, forecast))
        lines += (f"  {name}: {remark}" for name, counts in segments for remark in _segment_remarks(counts, forecast))
        if forecast is not None:
            lines += (f"  {line}" for line in _forecast_lines(report, forecast))
    return lines


def log_summary(report: RunReport, now: float, forecast: Forecast | None = None) -> None:
    """Log the summary as one entry; the arguments are those of `run_table`."""
    lines = run_table(report, now, forecast)
    logger.info("\n".join(["%s"] * len(lines)), *lines)


def id_lines(lists: Mapping[str, ListChanges]) -> Iterator[str]:
    """Yield lines with some ids that would join or leave each segment. For a terminal only."""
    for segment, changes in lists.items():
        yield f"{segment}: +{changes.added:,} {MINUS}{changes.removed:,}"
        for sign, ids, number in (
            ("+", changes.some_added, changes.added),
            (MINUS, changes.some_removed, changes.removed),
        ):
            for member in ids:
                yield f"  {sign} {member}"
            if number > len(ids):
                yield f"  {sign} … and {number - len(ids):,} more"


def _title(report: RunReport, now: float) -> str:
    title = f"{report.status} after {report.seconds(now):,.1f} s"
    if report.dry_run:
        return f"Dry run {title}. Nothing was changed. A run would do this:"
    if report.status is not RunStatus.FAILED:
        return f"Run {title}"
    headings = dict.fromkeys(error.partition(":")[0] for error in report.errors)
    return f"Run {title}: {', '.join(headings)}"


def _stream_row(stream: str, counts: ItemCounts | MemberCounts) -> dict[str, Cell]:
    if isinstance(counts, MemberCounts):
        return {"stream": stream, "becomes": "segments", "records": counts.records, "rejected": counts.rejected}
    return {
        "stream": stream,
        "becomes": f"{counts.object_type}s",
        "records": counts.records,
        "delivered": counts.delivered,
        "not sent": counts.not_sent,
        "skipped": counts.skipped_duplicates,
        "rejected": counts.rejected,
        "retries": counts.retries,
        "requests": counts.requests,
        "bytes": counts.bytes_sent,
        "billed": counts.billable,
    }


def _segment_row(segment: str, counts: SegmentCounts) -> dict[str, Cell]:
    def known(number: int | None) -> Cell:
        # Changes by row do not ask for the segment's other members. Of a mirror, an unknown number is not 0.
        return "?" if number is None and counts.sync_mode is SyncMode.MIRROR else number

    return {
        "segment": segment,
        "mode": counts.sync_mode.value,
        "before": known(counts.before),
        "added": counts.added,
        "removed": counts.removed,
        "unchanged": known(counts.unchanged),
        "held": known(counts.held),
        "kept": counts.kept,
        "after": known(counts.after),
        "requests": counts.requests,
    }


def table_lines(rows: Sequence[Mapping[str, Cell]], *, texts: int = 2) -> Iterator[str]:
    """Yield the lines of a table: names of columns, then rows. After `texts` columns of text come numbers."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name not in OFTEN_EMPTY or any(row.get(name) for row in rows)]
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for line in [names, *cells] if rows else []:
        shown = [
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield f"  {'  '.join(shown)}".rstrip()


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:,}" if isinstance(cell, int) else visible(cell)


def _stream_remarks(counts: ItemCounts | MemberCounts, forecast: Forecast | None) -> Iterator[str]:
    if counts.rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common())
        yield f"{counts.rejected:,} rejected: {reasons}"
    if isinstance(counts, MemberCounts):
        return
    if counts.not_sent:
        yield "the next run sends what was not sent"
    for name, count in remarks(counts):
        yield f"{count:,} {REMARKS[name].text}"
    if renamed := counts.warnings.renamed:
        names = ", ".join(f"{old!r} → {new!r}" for old, new in sorted(renamed.items()))
        yield f"names made valid: {names}"
    if forecast is not None and counts.names:
        shown = [(name, count) for name, count in counts.names.most_common() if name != OTHER_NAMES][:SHOWN_NAMES]
        others = counts.delivered - sum(count for _, count in shown)
        names = ", ".join(f"{name} {count:,}" for name, count in shown)
        yield f"{names}{f', and {others:,} of other names' if others else ''}"


def _segment_remarks(counts: SegmentCounts, forecast: Forecast | None) -> Iterator[str]:
    if counts.held is None:
        yield "the members to remove are not known"
    elif counts.held:
        since = f" since {counts.held_since}" if counts.held_since else ""
        yield f"{counts.held:,} held{since} ({counts.held_because})"
    if counts.kept:
        yield f"{counts.kept:,} kept; the next run sends them first"
    if forecast is not None:
        yield from counts.warnings


def _forecast_lines(report: RunReport, forecast: Forecast) -> Iterator[str]:
    if forecast.waits:
        yield f"All segments together take about {duration(forecast.waits)} under `console_rate_limits`."
    key_missing = bool(report.item_streams) and not forecast.has_server_key
    if key_missing:
        yield "A run cannot start: these streams need `server_secret_key`, which is not set."
        yield "Without it, the dry run does not know what earlier runs delivered. A run may skip more records."
    if not key_missing or report.status is not RunStatus.COMPLETE:
        yield ENDS[report.status]
    yield from (f"  {error}" for error in report.errors)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 record`, `1,000 records`, `2 retries`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a duration for people, rounded up: `3.2 s`, `45 s`, `12 min`, `2 h 5 min`."""
    seconds = max(seconds, 0.0)
    if seconds < _TENTHS_UP_TO:
        return f"{math.ceil(seconds * 10) / 10:g} s"
    if seconds < _SECONDS_UP_TO:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / MINUTE)
    if minutes < _MINUTES_UP_TO:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def visible(text: str) -> str:
    r"""Return text that stays on its line and cannot control a terminal: a line break becomes `\n`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class LineRecord(logging.LogRecord):
    """A log record with escaped values. Line breaks of the message itself are kept."""

    @override
    def __init__(self, name: str, *args: Any, **options: Any) -> None:
        """Take the logger's name, in which singer-sdk puts that of a stream, and what any record takes."""
        super().__init__(visible(name), *args, **options)

    @override
    def getMessage(self) -> str:
        """Return the message with its values."""
        if not self.args:
            return visible(str(self.msg))
        if isinstance(self.args, tuple):
            return str(self.msg) % tuple(map(_on_its_line, self.args))
        return str(self.msg) % {name: _on_its_line(value) for name, value in self.args.items()}


def _on_its_line(value: object) -> object:
    return value if isinstance(value, int | float) else visible(str(value))
