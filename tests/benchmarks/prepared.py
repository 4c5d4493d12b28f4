"""Requests that were prepared before: how fast they are sent, beside the command line at its default; and the memory.

A table of many rows is one of a few, written again and again as another partition: as much is sent, and
to prepare it takes no time.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from target_statsig.engine import prepare_batches
from target_statsig.engine.table import SCHEMA
from tests.benchmarks.contenders import THIS
from tests.benchmarks.data import STREAM
from tests.benchmarks.speed import FEW, Course
from tests.benchmarks.table import markdown, megabytes
from tests.benchmarks.this_target import events_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.measure import Usage

PARTITION_ROWS = 100_000


def table(course: Course, *, rounds: int, records: int, sizes: Sequence[int]) -> str:
    """Return the table of rates and of memory; the two take turns, and start-up is taken off both."""
    piped, sent, cost = [], [], []
    for _ in range(rounds):
        piped.append(course.lap(THIS, records))
        few, many = send(course, FEW), send(course, sizes[0])
        sent.append((sizes[0] - FEW) / (many.seconds - few.seconds))
        cost.append((many.processor_seconds - few.processor_seconds) / (sizes[0] - FEW))
    rate = median(sent)
    ratio = median(one / other.rate for one, other in zip(sent, piped, strict=True))
    rows = [
        [
            "a pipe, all at its default",
            f"{median(lap.rate for lap in piped):,.0f}",
            "",
            _microseconds(median(lap.processor for lap in piped)),
            megabytes(max(lap.peak_bytes for lap in piped)),
        ],
        [
            "`--send`",
            f"{rate:,.0f}",
            f"{ratio:.1f} times as fast",
            _microseconds(median(cost)),
            megabytes(many.main_peak_bytes),
        ],
    ]
    for size in sizes[1:]:
        usage = send(course, size)
        rows.append(
            [
                f"`--send`, {size:,} events",
                f"{size / usage.seconds:,.0f}",
                "",
                _microseconds(usage.processor_seconds / size),
                megabytes(usage.main_peak_bytes),
            ]
        )
    return markdown(["", "events/s", "", "processor time an event", "peak memory"], rows)


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"


def send(course: Course, records: int) -> Usage:
    """Prepare a table of so many records, send it, and take it away.

    Raises:
        SystemExit: It failed, or not all events arrived.
    """
    command = events_command(course.emulator.project, course.folder)
    place = course.folder / "prepared"
    write(course, place, json.loads(Path(command[command.index("--config") + 1]).read_text()), records)
    nothing = course.folder / "nothing"
    nothing.touch()
    usage = course.expect(records, [*command, "--send", str(place)], nothing)
    shutil.rmtree(place)
    return usage


def write(course: Course, place: Path, config: dict[str, object], records: int) -> None:
    """Write a table of so many records."""
    rows = min(records, PARTITION_ROWS)
    if records % rows:
        sys.exit(f"{records:,} is no multiple of {rows:,}")
    with course.events(rows).path.open("rb") as lines:
        messages = (msgspec.json.decode(line) for line in lines)
        rows = [message["record"] for message in messages if message["type"] == "RECORD"]
    prepare = prepare_batches(config, STREAM)
    made = pa.Table.from_batches(prepare(pa.Table.from_pylist(rows).to_batches(), partition=0, attempt=0), SCHEMA)
    place.mkdir()
    for number in range(records // len(rows)):
        column = pa.array([number] * len(made), SCHEMA.field("partition").type)
        part = made.set_column(SCHEMA.get_field_index("partition"), SCHEMA.field("partition"), column)
        pq.write_table(part, place / f"part-{number:05}.parquet")
    (place / "_SUCCESS").touch()
