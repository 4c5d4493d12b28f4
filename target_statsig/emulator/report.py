"""The tables that are printed after a run, with rich.

Knows how things look. Refuses to know what they mean: `findings` and `samples` say that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from target_statsig.emulator.findings import find, short_path
from target_statsig.emulator.samples import sample_lines
from target_statsig.emulator.traffic import Traffic
from target_statsig.phrases import counted, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from target_statsig.emulator.dead_letters import Pile
    from target_statsig.emulator.event_log import Tally
    from target_statsig.emulator.findings import Finding
    from target_statsig.emulator.item_log import ItemKind, ItemLog, ItemTally
    from target_statsig.emulator.segments import Segment
    from target_statsig.emulator.state import State

MAX_ROWS = 30
"""Rows of a table; `--json` writes all of them."""

MAX_SAMPLES = 8
"""Events shown in full."""

LONG_CALL = 40
"""Characters of a call that are kept on one line."""

NOTHING = "-"
"""In a cell that would hold no number or word."""

NOTHING_ARRIVED = (
    "Nothing arrived. Did the target start, and does it see the emulator's variables? "
    "In a pipe it reads them only with `target-statsig --config ENV`."
)


def print_report(state: State, dead_letters: Mapping[str, Pile], *, file: TextIO, width: int | None = None) -> None:
    """Print what arrived, and what to look at.

    Args:
        state: What the emulator took.
        dead_letters: The records that the target gave up on, by reason.
        file: Where to; with colours only where that is a terminal.
        width: In characters; the terminal's where none is given, and 80 where there is no terminal.
    """
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    with state.lock:
        log = state.event_log
        tallies = sorted(log.tallies.values(), key=lambda tally: -tally.count)
        samples = [tally for tally in tallies if tally.samples]
        segments = list(state.segments.values())
        traffic = Traffic.of(state.requests)
        items = [one for one in state.item_logs.values() if one.tallies]
        findings = find(traffic, log, state.segments, dead_letters, items)
        console.print()
        console.rule(Text("Statsig emulator", "bold"), style="dim")
        console.print(Text(_headline(log.count, items, segments, traffic.count)), justify="center")
        if not state.requests:
            console.print(Padding(Text(NOTHING_ARRIVED, "yellow"), (1, 2, 0, 2)))
        if tallies:
            _print_section(console, "Events", _events(tallies[:MAX_ROWS]), len(tallies) - MAX_ROWS)
        if samples:
            _print_section(console, "First of each", _samples(samples[:MAX_SAMPLES]), len(samples) - MAX_SAMPLES)
        for one in items:
            lines = one.lines()
            _print_section(console, one.kind.title, _items(one.kind, lines[:MAX_ROWS]), len(lines) - MAX_ROWS)
        if segments:
            _print_section(console, "Segments", _segments(segments[:MAX_ROWS]), len(segments) - MAX_ROWS)
        if state.requests:
            _print_section(console, "Requests", _requests(traffic))
        if findings:
            _print_section(console, "Look at these", _findings(findings[:MAX_ROWS]), len(findings) - MAX_ROWS)
        console.print()


def _headline(events: int, items: Sequence[ItemLog], segments: Sequence[Segment], requests: int) -> str:
    changed = sum(bool(segment.history) or segment.created for segment in segments)
    return " · ".join(
        (
            counted(events, "event"),
            *(counted(one.count, one.kind.title.lower().removesuffix("s")) for one in items),
            f"{counted(changed, 'segment')} changed",
            counted(requests, "request"),
        )
    )


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style)


def _print_section(console: Console, title: str, content: RenderableType, left_out: int = 0) -> None:
    console.print()
    console.print(Text(title, "bold"))
    console.print(Padding(content, (0, 0, 0, 2), expand=False))
    if left_out > 0:
        console.print(Text(f"  … and {left_out:,} more, in what `--json FILE` writes", "dim"))


def _table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        header_style="dim",
        border_style="dim",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        if column in numbers:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


def _events(tallies: list[Tally]) -> Table:
    table = _table("Name", "Tier", "Count", "Users", numbers=("Count", "Users"))
    for tally in tallies:
        users = f"{len(tally.users):,}" if tally.users else NOTHING
        table.add_row(_text(tally.name, "cyan"), _text(tally.tier or NOTHING), f"{tally.count:,}", users)
    return table


def _items(kind: ItemKind, tallies: Sequence[ItemTally]) -> Table:
    table = _table(*kind.columns, "Count", kind.units, numbers=("Count", kind.units))
    for tally in tallies:
        name, *cells = tally.key
        counts = (f"{tally.count:,}", f"{len(tally.units):,}" if tally.units else NOTHING)
        table.add_row(_text(name, "cyan"), *(_text(cell or NOTHING) for cell in cells), *counts)
    return table


def _samples(tallies: list[Tally]) -> Group:
    lines: list[Text] = []
    for tally in tallies:
        lines.append(Text.assemble(_text(tally.name, "cyan"), " ", _text(tally.tier, "dim")))
        lines += (
            Text.assemble((f"  {label:<9} ", "dim"), visible(text)) for label, text in sample_lines(tally.samples[0])
        )
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _segments(segments: list[Segment]) -> Table:
    numbers = ("Before", "Added", "Removed", "After")
    table = _table("Segment", "Type", "ID type", *numbers, numbers=numbers)
    for segment in segments:
        added = sum(change.added for change in segment.history)
        removed = sum(change.removed for change in segment.history)
        table.add_row(
            _text(segment.id, "cyan"),
            segment.type,
            _text(segment.id_type),
            "new" if segment.created else f"{segment.before:,}",
            Text(f"+{added:,}", "green") if added else NOTHING,
            Text(f"-{removed:,}", "red") if removed else NOTHING,
            f"{len(segment.ids):,}",
        )
    return table


def _requests(traffic: Traffic) -> Table:
    numbers = ("Times", "Items", "Bytes")
    table = _table("", "Call", *numbers, "Answers", numbers=numbers)
    table.columns[0].no_wrap = True
    # Where there is no room, rather the answers stand below each other than a call on two lines.
    longest = max((len(short_path(path)) for _, path in traffic.calls), default=0)
    table.columns[1].min_width = min(longest, LONG_CALL)
    for (method, path), call in traffic.calls.items():
        table.add_row(
            _text(method, "dim"),
            _text(short_path(path)),
            f"{call.times:,}",
            f"{call.items:,}",
            f"{call.size:,}",
            call.answers(),
        )
    return table


def _findings(findings: list[Finding]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        remedy = f"\n→ {visible(finding.remedy)}" if finding.remedy else ""
        text = Text.assemble(_text(finding.what, "yellow"), ": ", visible(finding.why), (remedy, "dim"))
        grid.add_row(f"{finding.count:,}", text)
    return grid
