"""Preparing Parquet files as a table of requests, on all processors of this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet

from target_statsig.engine.files import MARKER, UNFINISHED
from target_statsig.engine.table import SCHEMA
from target_statsig.events.workers import processors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_statsig.engine.prepare import BatchPreparer

PART_ROWS = 200_000
"""The fewest rows that one process prepares at a time and writes as one file, a second or two of work."""

PART_NAME = re.compile(r"part-\d{5,}\.parquet")
"""The files of a table, by their number."""

BATCH_ROWS = 10_000
"""Rows to read at once, some megabytes."""


def prepare_files(files: Sequence[str], preparer: BatchPreparer, out: Path) -> Counter[str]:
    """Prepare the rows of Parquet files as a table in `out`, and return how many records and requests it has.

    `files` may be one directory. A directory `day=2026-01-31` in the path of a file becomes a column.

    Raises:
        FileNotFoundError: There are no files.
        FileExistsError: The directory holds a complete table already, or the rows.
    """
    if (out / MARKER).exists():
        msg = f"{out} already holds a complete table. Send it, or name another directory."
        raise FileExistsError(msg)
    dataset = pyarrow.dataset.dataset([*files] if len(files) > 1 else files[0], format="parquet", partitioning="hive")
    if not dataset.files:
        msg = f"There are no Parquet files in {files[0]}."
        raise FileNotFoundError(msg)
    is_local = isinstance(dataset.filesystem, pyarrow.fs.LocalFileSystem)
    if is_local and any(Path(file).resolve().is_relative_to(out.resolve()) for file in dataset.files):
        msg = f"{out} holds the rows to prepare. Name another directory for the table."
        raise FileExistsError(msg)
    (out / UNFINISHED).mkdir(parents=True, exist_ok=True)
    for left in out.iterdir():  # from a preparation that was interrupted; other writers use longer names
        if PART_NAME.fullmatch(left.name):
            left.unlink()
    counts: Counter[str] = Counter()
    work = partial(_prepare_part, preparer, dataset.schema, out)
    # Not forked, because Arrow has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processors(), mp_context=context, initializer=pa.set_cpu_count, initargs=(1,)) as pool:
        for found in pool.map(work, itertools.count(), _parts(dataset)):
            counts.update(found)
    (out / MARKER).touch()
    (out / UNFINISHED).rmdir()
    return counts


def _parts(dataset: pyarrow.dataset.Dataset) -> Iterator[pyarrow.dataset.Fragment]:
    """Yield the dataset in parts of at least `PART_ROWS` rows, made of whole row groups; also of a file without any."""
    for file in dataset.get_fragments():
        groups: list[int] = []
        rows = 0
        for group in file.row_groups:
            groups.append(group.id)
            rows += group.num_rows
            if rows >= PART_ROWS:
                yield file.subset(row_group_ids=groups)
                groups, rows = [], 0
        if groups or not file.row_groups:
            yield file.subset(row_group_ids=groups)


def _prepare_part(
    preparer: BatchPreparer, schema: pa.Schema, out: Path, number: int, part: pyarrow.dataset.Fragment
) -> Counter[str]:
    counts: Counter[str] = Counter()
    batches = part.to_batches(schema=schema, batch_size=BATCH_ROWS, batch_readahead=1, use_threads=False)
    with pyarrow.parquet.ParquetWriter(out / f"part-{number:05}.parquet", SCHEMA) as table:
        for batch in preparer(batches, partition=number):
            table.write_batch(batch)
            columns = batch.select(["count", "rejections", "deleted"]).to_pydict()
            rejected, deleted = sum(map(len, columns["rejections"])), sum(columns["deleted"])
            counts["records"] += sum(columns["count"]) + rejected + deleted
            counts["requests"] += len(batch) - batch.column("body").null_count
            counts["rejected"] += rejected
            counts["deleted"] += deleted
    return counts
