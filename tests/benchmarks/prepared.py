"""Requests that were prepared before: how fast they are sent, beside the command line at its default; and the memory.

A table of many rows is one of a few, written again and again as another partition: as much is sent, and
to prepare it takes no time. Pipe and table go to a server that takes next to no time itself, as Statsig's takes none of
this machine's.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from target_statsig.engine import prepare_batches
from target_statsig.engine.table import SCHEMA
from tests.benchmarks.contenders import THIS
from tests.benchmarks.preparing import NAMES, columns, stream_of
from tests.benchmarks.speed import FEW, Course
from tests.benchmarks.table import markdown, megabytes
from tests.benchmarks.this_target import events_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.data import Shape
    from tests.benchmarks.measure import Usage

PARTITION_ROWS = 100_000


def table(course: Course, *, rounds: int, records: int, sizes: Sequence[int]) -> str:
    """Return the table of rates and of memory."""
    rows = [row for shape in NAMES for row in _rates(course, shape, rounds, records, sizes)]
    return markdown(["", "events/s", "of a pipe's", "processor time an event", "of a pipe's", "peak memory"], rows)


def _rates(course: Course, shape: Shape, rounds: int, records: int, sizes: Sequence[int]) -> Iterator[Sequence[str]]:
    """Yield the rows of one shape; a pipe and a table take turns, and start-up is taken off both."""
    piped, sent, cost, peaks = [], [], [], []
    for _ in range(rounds):
        piped.append(course.lap(THIS, records, shape))
        few, many = send(course, FEW, shape), send(course, sizes[0], shape)
        sent.append((sizes[0] - FEW) / (many.seconds - few.seconds))
        cost.append((many.processor_seconds - few.processor_seconds) / (sizes[0] - FEW))
        peaks.append(many.main_peak_bytes)
    ratio = median(one / other.rate for one, other in zip(sent, piped, strict=True))
    yield (
        f"{NAMES[shape]}: a pipe, all at its default",
        f"{median(lap.rate for lap in piped):,.0f}",
        "",
        _microseconds(median(lap.processor for lap in piped)),
        "",
        megabytes(max(lap.peak_bytes for lap in piped)),
    )
    yield (
        f"{NAMES[shape]}: `--send`, {sizes[0]:,} events",
        f"{median(sent):,.0f}",
        f"{ratio:.1f}",
        _microseconds(median(cost)),
        f"1/{median(lap.processor / one for one, lap in zip(cost, piped, strict=True)):.1f}",
        megabytes(max(peaks)),
    )
    for size in sizes[1:]:
        usage = send(course, size, shape)
        yield (
            f"{NAMES[shape]}: `--send`, {size:,} events",
            f"{size / usage.seconds:,.0f}",
            "",
            _microseconds(usage.processor_seconds / size),
            "",
            megabytes(usage.main_peak_bytes),
        )


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"


def send(course: Course, records: int, shape: Shape) -> Usage:
    """Prepare a table of so many records, send it, and take it away.

    Raises:
        SystemExit: It failed, or not all events arrived.
    """
    command = events_command(course.emulator.project, course.folder, shape)
    place = course.folder / "prepared"
    write(course, place, json.loads(Path(command[command.index("--config") + 1]).read_text()), records, shape)
    nothing = course.folder / "nothing"
    nothing.touch()
    usage = course.expect(records, [*command, "--send", str(place)], nothing)
    shutil.rmtree(place)
    return usage


def write(course: Course, place: Path, config: dict[str, object], records: int, shape: Shape) -> None:
    """Write a table of so many records."""
    rows = min(records, PARTITION_ROWS)
    if records % rows:
        sys.exit(f"{records:,} is no multiple of {rows:,}")
    prepare = prepare_batches(config, stream_of(shape))
    made = pa.Table.from_batches(prepare(columns(course, rows, shape).to_batches(), partition=0, attempt=0), SCHEMA)
    place.mkdir()
    for number in range(records // rows):
        column = pa.array([number] * len(made), SCHEMA.field("partition").type)
        part = made.set_column(SCHEMA.get_field_index("partition"), SCHEMA.field("partition"), column)
        pq.write_table(part, place / f"part-{number:05}.parquet")
    (place / "_SUCCESS").touch()
