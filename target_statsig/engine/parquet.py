"""Preparing Parquet files as a table of requests, on all processors of this machine."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from target_statsig.engine.files import MARKER, UNFINISHED
from target_statsig.engine.table import SCHEMA
from target_statsig.errors import InputError
from target_statsig.events.workers import processors

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

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
        FileExistsError: The directory holds files already.
    """
    for file in files:
        is_there = Path(file).is_file() if len(files) > 1 else Path(file).exists()
        if not is_there and ":/" not in file:
            msg = f"There is no file {file}. Name Parquet files, or one directory alone."
            raise FileNotFoundError(msg)
    dataset = pyarrow.dataset.dataset([*files] if len(files) > 1 else files[0], format="parquet", partitioning="hive")
    if not dataset.files:
        msg = f"There are no Parquet files in {files[0]}."
        raise FileNotFoundError(msg)
    _clear(out, {Path(file).resolve() for file in dataset.files})
    counts: Counter[str] = Counter()
    work = partial(_prepare_part, preparer, dataset.schema, out)
    # Not forked, because Arrow has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processors(), mp_context=context, initializer=_begin_worker) as pool:
        # Ctrl-C goes to this process alone: those that it starts now inherit the mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            prepared = pool.map(work, itertools.count(), _parts(dataset))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            for found in prepared:
                counts.update(found)
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.kill()
            raise
    (out / MARKER).touch()
    (out / UNFINISHED).rmdir()
    return counts


def _clear(out: Path, rows: Container[Path]) -> None:
    """Begin a table in an empty directory, or in one where a preparation was interrupted; the files of `rows` stay."""
    if (out / MARKER).exists():
        msg = f"{out} already holds a complete table. Send it, or name another directory."
        raise FileExistsError(msg)
    unfinished = out / UNFINISHED
    ours = [path for path in out.glob("part-*") if PART_NAME.fullmatch(path.name) and path.resolve() not in rows]
    left = ours if unfinished.exists() else []
    others = {*out.glob("[!.]*"), *unfinished.glob("*")} - {unfinished, *left}
    if others:
        msg = f"{out} is not empty: it holds {min(others)}. Name another directory for the table."
        raise FileExistsError(msg)
    unfinished.mkdir(parents=True, exist_ok=True)
    for path in left:
        path.unlink()


def _begin_worker() -> None:
    """Let a worker process use one thread of Arrow, and end when its parent does."""
    pa.set_cpu_count(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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
    with pyarrow.parquet.ParquetWriter(out / f"part-{number:05}.parquet", SCHEMA) as table:
        for batch in preparer(_batches(part, schema), partition=number):
            table.write_batch(batch)
            columns = batch.select(["count", "rejections", "deleted"]).to_pydict()
            rejected, deleted = sum(map(len, columns["rejections"])), sum(columns["deleted"])
            counts["records"] += sum(columns["count"]) + rejected + deleted
            counts["requests"] += len(batch) - batch.column("body").null_count
            counts["rejected"] += rejected
            counts["deleted"] += deleted
    return counts


def _batches(part: pyarrow.dataset.Fragment, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        yield from part.to_batches(schema=schema, batch_size=BATCH_ROWS, batch_readahead=1, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        cause = str(error).strip().removesuffix(".")
        msg = f"{part.path} cannot be read: {cause}. Write it again, or leave it out."
        raise InputError(msg) from error
