"""The tables that are printed after a run, with rich."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from target_statsig.emulator.summary import find, sum_calls
from target_statsig.reports.text import counted, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Sized
    from typing import TextIO

    from rich.console import RenderableType

    from target_statsig.emulator.item_log import ItemType, Tally
    from target_statsig.emulator.state import Segment, State
    from target_statsig.emulator.summary import Finding

    Rows = Sequence[tuple[tuple[str, ...], Tally]]

MAX_ROWS = 30
"""Rows of a table; `--json` writes all of them."""

MAX_SAMPLES = 8
"""Events shown in full."""

WIDE = 100
"""Characters of a terminal that has room for one event without a cut."""

LONG_CALL = 40
"""Characters of a call that are kept on one line."""

NOTHING = "-"
"""In a cell that would hold no number or word."""

_SHOWN_APART = frozenset({"custom", "customIDs", "statsigEnvironment"})


def print_report(
    state: State, dead_letters: Mapping[str, Tally], *, failed: bool = False, file: TextIO, width: int | None = None
) -> None:
    """Print what arrived and what needs attention.

    Args:
        state: What arrived.
        dead_letters: By reason.
        failed: Whether the command failed.
        file: Where to print; with colours if it is a terminal.
        width: Characters of a line; by default the terminal's, or 80.
    """
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)

    def section(title: str, rows: Sized, content: RenderableType, most: int = MAX_ROWS) -> None:
        if rows:
            console.print(Text(f"\n{title}", "bold"))
            console.print(Padding(content, (0, 0, 0, 2), expand=False))
            if left_out := max(len(rows) - most, 0):
                console.print(Text(f"  … and {left_out:,} more; `--json FILE` writes all", "dim"))

    with state.lock:
        logs = state.logs
        segments = list(state.segments.values())
        changed = sum(bool(segment.history) or segment.created for segment in segments)
        counts = [
            *(
                counted(log.count, log.type.title.lower().removesuffix("s"))
                for name, log in logs.items()
                if name == "events" or log.tallies
            ),
            f"{counted(changed, 'segment')} changed",
            counted(len(state.requests), "request"),
        ]
        console.print()
        console.rule(Text("Statsig emulator", "bold"), style="dim")
        console.print(Text(" · ".join(counts)), justify="center")
        if not state.requests:
            why = (
                "Nothing arrived, because the command failed. Its output above says why."
                if failed
                else "Nothing arrived. Did the target start, without a dry run? Does it read the emulator's variables? "
                "In a pipe it needs `target-statsig --config ENV`."
            )
            console.print(Padding(Text(why, "yellow"), (1, 2, 0, 2)))
        for name, log in logs.items():
            rows = log.rows()
            section(log.type.title, rows, _items(log.type, rows[:MAX_ROWS]))
            if name == "events":
                samples = [row for row in rows if row[1].samples]
                shown = _samples(samples[:MAX_SAMPLES], whole=console.width >= WIDE)
                section("First of each", samples, shown, MAX_SAMPLES)
        section("Segments", segments, _segments(segments[:MAX_ROWS]))
        calls = sum_calls(state.requests)
        section("Requests", calls, _requests(calls), len(calls))
        findings = find(state.requests, logs.values(), state.segments, dead_letters)
        section("Needs attention", findings, _findings(findings[:MAX_ROWS]))
        if state.requests and not findings:
            console.print(Text("\nNothing needs attention.", "green"))
        console.print()


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style)


def _table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.header_style = table.border_style = "dim"
    for column in columns:
        if column in numbers:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


def _items(item_type: ItemType, rows: Rows) -> Table:
    numbers = ("Count", item_type.ids_title)
    table = _table(*item_type.columns, *numbers, numbers=numbers)
    for (name, *cells), tally in rows:
        counts = (f"{tally.count:,}", f"{len(tally.ids):,}" if tally.ids else NOTHING)
        table.add_row(_text(name, "cyan"), *(_text(cell or NOTHING) for cell in cells), *counts)
    return table


def _samples(rows: Rows, *, whole: bool) -> Group:
    """Return the first event of each name, a line for each member; `whole` cuts no line of the first one."""
    shown: list[RenderableType] = []
    for number, ((name, tier), tally) in enumerate(rows):
        shown.append(Text.assemble(_text(name, "cyan"), " ", _text(tier, "dim"), no_wrap=True, overflow="ellipsis"))
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(style="dim", min_width=11, no_wrap=True)
        uncut = whole and number == 0
        for label, text in sample_lines(tally.samples[0]):
            shown_text = Text(visible(text), no_wrap=not uncut, overflow="fold" if uncut else "ellipsis")
            grid.add_row(f"  {label}", shown_text)
        shown.append(grid)
    return Group(*shown)


def _segments(segments: Iterable[Segment]) -> Table:
    numbers = ("Before", "Added", "Removed", "After")
    table = _table("Segment", "Type", "ID type", *numbers, numbers=numbers)
    for facts in (segment.facts for segment in segments):
        added, removed = facts["added"], facts["removed"]
        table.add_row(
            _text(facts["id"], "cyan"),
            facts["type"],
            _text(facts["id_type"]),
            "new" if facts["created"] else f"{facts['before']:,}",
            Text(f"+{added:,}", "green") if added else NOTHING,
            Text(f"-{removed:,}", "red") if removed else NOTHING,
            f"{facts['count']:,}",
        )
    return table


def _requests(calls: Sequence[Mapping[str, Any]]) -> Table:
    numbers = ("Times", "Items", "Bytes")
    table = _table("", "Call", *numbers, "Answers", numbers=numbers)
    table.columns[0].no_wrap = True
    # A narrow terminal wraps the answers, not the call.
    longest = max((len(call["path"]) for call in calls), default=0)
    table.columns[1].no_wrap = longest <= LONG_CALL
    for call in calls:
        counts = (f"{call[name]:,}" for name in ("times", "items", "size"))
        table.add_row(_text(call["method"], "dim"), _text(call["path"]), *counts, call["answers"])
    return table


def _findings(findings: Iterable[Finding]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        remedy = f"\n→ {visible(finding.remedy)}" if finding.remedy else ""
        text = Text.assemble(_text(finding.what, "yellow"), ": ", visible(finding.why), (remedy, "dim"))
        grid.add_row(f"{finding.count:,}", text)
    return grid


def sample_lines(event: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield label and text of the lines that show an event; its name and tier are shown elsewhere."""
    user = event.get("user") or {}
    ids = {key: value for key, value in user.items() if key not in _SHOWN_APART} | user.get("customIDs", {})
    yield "user", _pairs(ids) or "nobody"
    if user.get("custom"):
        yield "custom", _pairs(user["custom"])
    if event.get("value") is not None:
        yield "value", json.dumps(event["value"], ensure_ascii=False)
    if event.get("time") is not None:
        yield "time", show_time(event["time"])
    if event.get("metadata"):
        yield "metadata", _pairs(event["metadata"])


def show_time(time: int | str) -> str:
    """Return a time in milliseconds in ISO 8601, and a string as it is."""
    if isinstance(time, str):
        return time
    try:
        moment = datetime.fromtimestamp(time / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(time)
    return moment.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")


def _pairs(members: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{key}={' '.join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in members.items()
    )
