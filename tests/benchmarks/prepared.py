"""The rate and the memory of sending prepared requests, compared with a pipe at its defaults.

A large table is a small one written several times, each as another partition, so that preparing takes no time. Both
go to a loopback server that uses hardly any processor time, since Statsig's server uses none of this machine's.
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
from tests.benchmarks.speed import FEW, Setup
from tests.benchmarks.table import markdown, megabytes
from tests.benchmarks.this_target import events_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.data import Shape
    from tests.benchmarks.measure import Usage

PARTITION_ROWS = 100_000


def table(setup: Setup, *, rounds: int, records: int, sizes: Sequence[int]) -> str:
    """Return the table of rates and of memory."""
    rows = [row for shape in NAMES for row in _rates(setup, shape, rounds, records, sizes)]
    return markdown(["", "events/s", "of a pipe's", "processor time an event", "of a pipe's", "peak memory"], rows)


def _rates(setup: Setup, shape: Shape, rounds: int, records: int, sizes: Sequence[int]) -> Iterator[Sequence[str]]:
    """Yield the rows of one shape, without start-up; a pipe and a table take turns."""
    pipe, sent, cost, peaks = [], [], [], []
    for _ in range(rounds):
        pipe.append(setup.measure_rates(THIS, records, shape))
        few, many = send(setup, FEW, shape), send(setup, sizes[0], shape)
        sent.append((sizes[0] - FEW) / (many.seconds - few.seconds))
        cost.append((many.processor_seconds - few.processor_seconds) / (sizes[0] - FEW))
        peaks.append(many.main_peak_bytes)
    ratio = median(one / other.rate for one, other in zip(sent, pipe, strict=True))
    yield (
        f"{NAMES[shape]}: a pipe, all at its default",
        f"{median(each.rate for each in pipe):,.0f}",
        "",
        _microseconds(median(each.processor for each in pipe)),
        "",
        megabytes(max(each.peak_bytes for each in pipe)),
    )
    yield (
        f"{NAMES[shape]}: `--send`, {sizes[0]:,} events",
        f"{median(sent):,.0f}",
        f"{ratio:.1f}",
        _microseconds(median(cost)),
        f"1/{median(each.processor / one for one, each in zip(cost, pipe, strict=True)):.1f}",
        megabytes(max(peaks)),
    )
    for size in sizes[1:]:
        usage = send(setup, size, shape)
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


def send(setup: Setup, records: int, shape: Shape) -> Usage:
    """Prepare a table, send it, and delete it.

    Raises:
        SystemExit: It failed, or not all events arrived.
    """
    command = events_command(setup.emulator.project, setup.folder, shape)
    folder = setup.folder / "prepared"
    write(setup, folder, json.loads(Path(command[command.index("--config") + 1]).read_text()), records, shape)
    nothing = setup.folder / "nothing"
    nothing.touch()
    usage = setup.expect(records, [*command, "--send", str(folder)], nothing)
    shutil.rmtree(folder)
    return usage


def write(setup: Setup, folder: Path, config: dict[str, object], records: int, shape: Shape) -> None:
    """Write a table of prepared requests."""
    rows = min(records, PARTITION_ROWS)
    if records % rows:
        sys.exit(f"{records:,} is no multiple of {rows:,}")
    prepare = prepare_batches(config, stream_of(shape))
    prepared = pa.Table.from_batches(prepare(columns(setup, rows, shape).to_batches(), partition=0, attempt=0), SCHEMA)
    folder.mkdir()
    for number in range(records // rows):
        column = pa.array([number] * len(prepared), SCHEMA.field("partition").type)
        part = prepared.set_column(SCHEMA.get_field_index("partition"), SCHEMA.field("partition"), column)
        pq.write_table(part, folder / f"part-{number:05}.parquet")
    (folder / "_SUCCESS").touch()
