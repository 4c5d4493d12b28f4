"""What a run did, as a short table for the end of the log: a row for each stream and segment, then what stands out.

Pure: lines out of a report. No value from a record is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.config.settings import SyncMode
from target_statsig.reports.remarks import REMARKS
from target_statsig.reports.report import MemberCounts, RunStatus
from target_statsig.reports.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.reports.report import ItemCounts, RunReport, SegmentCounts

    Cell = int | str | None

SOMETIMES = frozenset({"not sent", "skipped", "rejected", "retries", "held", "kept"})
"""Columns that are left out where they would hold nothing but 0."""

UNTOLD = "?"
"""Stands for a number that cannot be told, which is not 0."""


def summary(report: RunReport, now: float) -> list[str]:
    """Return the lines of the summary.

    Args:
        report: The run's report.
        now: Seconds since 1970.
    """
    with report.lock:
        streams: list[tuple[str, ItemCounts | MemberCounts]] = list(report.item_streams.items())
        streams += report.member_streams.items()
        segments = [fed for counts in report.member_streams.values() for fed in counts.segments.items()]
        lines = [
            _title(report, now),
            *_table([_stream_row(name, counts) for name, counts in streams]),
            *_table([_segment_row(name, counts) for name, counts in segments]),
        ]
        lines += (f"  {name}: {remark}" for name, counts in streams for remark in _stream_remarks(counts))
        lines += (f"  {name}: {remark}" for name, counts in segments for remark in _segment_remarks(counts))
        return [visible(line) for line in lines]


def _title(report: RunReport, now: float) -> str:
    title = f"Run {report.status} after {report.seconds(now):,.1f} s"
    if report.status is not RunStatus.FAILED:
        return title
    headings = dict.fromkeys(error.partition(":")[0] for error in report.errors)
    return f"{title}: {', '.join(headings)}"


def _stream_row(stream: str, counts: ItemCounts | MemberCounts) -> dict[str, Cell]:
    if isinstance(counts, MemberCounts):
        return {"stream": stream, "becomes": "segments", "records": counts.records, "rejected": counts.rejected}
    return {
        "stream": stream,
        "becomes": f"{counts.object_type}s",
        "records": counts.records,
        "delivered": counts.delivered,
        "not sent": counts.records - counts.settled,
        "skipped": counts.skipped_duplicates,
        "rejected": counts.rejected,
        "retries": counts.retries,
    }


def _segment_row(segment: str, counts: SegmentCounts) -> dict[str, Cell]:
    def known(number: int | None) -> Cell:
        # Who adds or removes by row never asks who else is in the segment.
        return UNTOLD if number is None and counts.sync_mode is SyncMode.MIRROR else number

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
    }


def _table(rows: Sequence[Mapping[str, Cell]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name not in SOMETIMES or any(row.get(name) for row in rows)]
    cells = [[_text(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    # The first two columns hold words, the others numbers.
    for line in [names, *cells] if rows else []:
        words = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        yield f"  {'  '.join([*words, *numbers])}"


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:,}" if isinstance(cell, int) else visible(cell)


def _stream_remarks(counts: ItemCounts | MemberCounts) -> Iterator[str]:
    if counts.rejected:
        words = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common())
        yield f"{counts.rejected:,} rejected: {words}"
    if isinstance(counts, MemberCounts):
        return
    if counts.records > counts.settled:
        yield "what was not sent comes again with the next run"
    for name, count in counts.remarks:
        yield f"{count:,} {REMARKS[name].text}"
    if counts.renamed:
        names = ", ".join(f"{old!r} → {new!r}" for old, new in sorted(counts.renamed.items()))
        yield f"names made valid: {names}"


def _segment_remarks(counts: SegmentCounts) -> Iterator[str]:
    if counts.held is None:
        yield "could not tell whom to remove"
    elif counts.held:
        since = f" since {counts.held_since}" if counts.held_since else ""
        yield f"{counts.held:,} held{since} ({counts.held_because})"
    if counts.kept:
        yield f"{counts.kept:,} kept: the next run sends them first"
