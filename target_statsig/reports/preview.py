"""What a dry run ends with: what a run would do, in words that never take "cannot tell" for "nothing to do".

Pure: lines out of a report. Names of events are here, though they come from records: to see them is what a preview is
for. Ids of members are in `id_lines` alone, which is for a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_statsig.reports.remarks import REMARKS
from target_statsig.reports.report import OTHER_NAMES, RunStatus
from target_statsig.reports.text import counted, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_statsig.client.dry_run import ListChanges
    from target_statsig.config.settings import Settings
    from target_statsig.reports.report import ItemCounts, MemberCounts, RunReport, SegmentCounts

MINUS = "\N{MINUS SIGN}"

TOO_MANY = "too_many"
"""Why removals are held that a guard forbids."""

SHOWN_NAMES = 20
"""Names of events that are shown for a stream."""

ENDS = {
    RunStatus.COMPLETE: "A run would end with 0. Whether Statsig takes each request is known when it is sent.",
    RunStatus.FAILED: "A run would end with 1:",
    RunStatus.INTERRUPTED: "The dry run was stopped: this is what was read so far, and not what a run would do.",
}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the rate limits make of it.

    Attributes:
        seconds_for: Returns the seconds that a number of list mutations takes by itself.
        waits: Seconds that all of them together would wait, after those of the runs before.
    """

    seconds_for: Callable[[int], float]
    waits: float


def preview(report: RunReport, now: float, outlook: Outlook, settings: Settings) -> Iterator[str]:
    """Yield the lines of a preview.

    Args:
        report: The dry run's report.
        now: Seconds since 1970.
        outlook: What the rate limits make of it.
        settings: The run's settings, for a key that is missing.
    """
    yield f"Dry run {report.status} after {report.seconds(now):.1f} s: nothing was changed. A run would do this:"
    for stream, items in report.item_streams.items():
        yield from _item_lines(stream, items)
    for stream, members in report.member_streams.items():
        yield from _member_lines(stream, members, outlook)
    if outlook.waits:
        yield f"  All segments together take about {duration(outlook.waits)} under `console_rate_limits`."
    yield from (f"  {line}" for line in _ending(report, settings))
    yield from (f"    {error}" for error in report.errors)


def id_lines(lists: Mapping[str, ListChanges]) -> Iterator[str]:
    """Yield lines with some ids that would be added to each segment and removed from it."""
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


def _item_lines(stream: str, counts: ItemCounts) -> Iterator[str]:
    yield (
        f"  {stream} → {counts.object_type}s: {counted(counts.records, 'record')}, "
        f"{counted(counts.delivered, counts.object_type)} in "
        f"{counted(counts.requests, 'request')} ({counted(counts.bytes_sent, 'byte')}), "
        f"{counts.billable:,} billed"
    )
    if counts.names:
        shown = [(name, count) for name, count in counts.names.most_common() if name != OTHER_NAMES][:SHOWN_NAMES]
        words = [f"{name} {count:,}" for name, count in shown]
        others = counts.delivered - sum(count for _, count in shown)
        yield f"    {', '.join(words)}{f', and {others:,} of other names' if others else ''}"
    for name, count in counts.remarks:
        yield f"    {count:,} {REMARKS[name].text}"
    yield from _rejections(counts)
    for old, new in sorted(counts.renamed.items()):
        yield f"    {old} made valid as {new}"


def _member_lines(stream: str, counts: MemberCounts, outlook: Outlook) -> Iterator[str]:
    yield f"  {stream} → segments: {counted(counts.records, 'record')}"
    yield from _rejections(counts)
    for name, segment in counts.segments.items():
        yield f"    {name} ({segment.sync_mode}): {', '.join(_segment_parts(segment, outlook))}"
        yield from (f"      {warning}" for warning in segment.warnings)


def _segment_parts(counts: SegmentCounts, outlook: Outlook) -> Iterator[str]:
    yield f"{_known(counts.before)} before"
    yield f"+{counts.added:,} added"
    yield f"{MINUS}{counts.removed:,} removed"
    yield f"={_known(counts.unchanged)} unchanged"
    if counts.held is None:
        yield "cannot tell whom to remove"
    elif counts.held:
        since = f" since {counts.held_since}" if counts.held_since else ""
        guard = ": `max_removal_percent` would fail the run" if counts.held_because == TOO_MANY else ""
        yield f"{counts.held:,} held{since} ({counts.held_because}{guard})"
    if counts.kept:
        yield f"{counts.kept:,} kept for the next run"
    if counts.after is not None:
        yield f"{counts.after:,} after"
    yield f"{counted(counts.requests, 'request')}{_lasting(outlook.seconds_for(counts.requests))}"


def _ending(report: RunReport, settings: Settings) -> Iterator[str]:
    no_key = bool(report.item_streams) and settings.server_secret_key is None
    if no_key:
        yield "A run cannot begin: not set, and needed by these streams, is `server_secret_key`."
        yield "Without it this cannot tell what earlier runs delivered: a run with it may skip more of it."
    if not no_key or report.status is not RunStatus.COMPLETE:
        yield ENDS[report.status]


def _rejections(counts: ItemCounts | MemberCounts) -> Iterator[str]:
    if counts.rejected:
        words = ", ".join(f"{reason} {count:,}" for reason, count in counts.reasons.most_common())
        yield f"    {counts.rejected:,} rejected: {words}"


def _lasting(seconds: float) -> str:
    return f" ({duration(seconds)})" if seconds else ""


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
