"""The processor time of preparing a row: in the worker of a pipe, with Arrow in one process, and in Spark's workers.

The rows, their nulls and the requests are the same. The time of a worker is that of its process, with the transfer of
its input and output: lines and requests in a pipe, Arrow on Spark. It does not include other processes, like Java.
"""

from __future__ import annotations

import gc
import io
import pickle
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from target_statsig.engine import prepare_batches
from target_statsig.engine.prepare import KEYS, load, read_settings
from target_statsig.engine.table import SCHEMA as TABLE_SCHEMA
from target_statsig.events.items import ITEM_TYPES
from target_statsig.events.prepare import Limits, Preparation
from target_statsig.events.workers import Task, serve
from target_statsig.singer.records import RecordReader
from tests.benchmarks.data import SCHEMA, STREAM, TRACKING_SCHEMA, TRACKING_STREAM, Shape
from tests.benchmarks.table import markdown
from tests.benchmarks.this_target import EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from target_statsig.engine.prepare import BatchPreparer
    from tests.benchmarks.speed import Setup

    SparkTimer = Callable[[BatchPreparer, pa.Table], float]

NAMES = {Shape.ROWS: "flat rows of 12 columns", Shape.TRACKING: "nested tracking events"}
SCHEMAS = {Shape.ROWS: SCHEMA, Shape.TRACKING: TRACKING_SCHEMA}

NOW_MS = 1_795_348_800_000

WARM_UPS = 4
"""Rounds that do not count, in which Java compiles code on the same processors as the workers."""

BATCH_ROWS = 10_000
"""Rows of an Arrow batch, as Spark hands them over."""


def stream_of(shape: Shape) -> str:
    return TRACKING_STREAM if shape is Shape.TRACKING else STREAM


def columns(setup: Setup, records: int, shape: Shape) -> pa.Table:
    """Return the events of a file as Arrow columns; missing values are null."""
    with setup.events(records, shape).path.open("rb") as lines:
        messages = map(msgspec.json.decode, lines)
        rows = [message["record"] for message in messages if message["type"] == "RECORD"]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def table(setup: Setup, *, rounds: int, records: int) -> str:
    """Return the table of processor time by row; the methods take turns. Spark is left out if it is not installed."""
    with ExitStack() as stack:
        spark_timer = None
        if find_spec("pyspark") is not None:
            spark_timer = stack.enter_context(running_spark(setup.folder))
        rows = [row for shape in NAMES for row in _costs(setup, shape, rounds, records, spark_timer)]
    return markdown(["", "processor time a row", "of a pipe's"], rows)


def _costs(
    setup: Setup, shape: Shape, rounds: int, records: int, spark_timer: SparkTimer | None
) -> Iterator[Sequence[str]]:
    source = columns(setup, records, shape)
    config = {"streams": {stream_of(shape): EVENTS[stream_of(shape)]}}
    preparer = prepare_batches(config, stream_of(shape))
    methods: dict[str, Callable[[], float]] = {
        "lines, in a pipe's worker": partial(_timed, _of_lines(config, shape, source)),
        "Arrow, one process": partial(_timed, lambda: _of_arrow(preparer, source)),
    }
    if spark_timer is not None:
        methods["Spark, `local[2]`"] = partial(spark_timer, preparer, source)
    seconds: dict[str, list[float]] = {method: [] for method in methods}
    for turn in range(WARM_UPS + rounds):
        for method, measure in methods.items():
            duration = measure()
            if turn >= WARM_UPS:
                seconds[method].append(duration / len(source))
    pipe_seconds = next(iter(seconds.values()))
    for method, found in seconds.items():
        ratio = median(one / other for one, other in zip(found, pipe_seconds, strict=True))
        yield f"{NAMES[shape]}: {method}", f"{median(found) * 1e6:.1f} µs", f"{ratio:.2f}"


def _timed(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _of_lines(config: dict[str, Any], shape: Shape, source: pa.Table) -> Callable[[], None]:
    schema, stream = SCHEMAS[shape], stream_of(shape)
    [key] = schema["bookmark_properties"]
    lines = [
        msgspec.json.encode({"type": "RECORD", "stream": stream, "record": row, "time_extracted": row[key]}) + b"\n"
        for row in source.to_pylist()
    ]
    parsed = load(read_settings(config) | KEYS)
    run, settings = parsed.settings, parsed.for_stream(stream)
    reader = RecordReader(stream, stream, schema["schema"], schema["key_properties"], validates=True)
    prepare = Preparation(reader, settings, ITEM_TYPES[settings.object_type], True, run.compression, key)
    size = run.batch_size_rows
    limits = Limits(size, run.batch_size_bytes, run.batch_size_bytes)

    batches = [b"".join(lines[start : start + size]) for start in range(0, len(lines), size)]
    tasks = [Task(0, None if number else prepare, batch, limits, NOW_MS) for number, batch in enumerate(batches)]
    pipe = b"".join(pickle.dumps(task, pickle.HIGHEST_PROTOCOL) for task in tasks)

    def work() -> None:
        gc.disable()  # a worker's collector runs seldom
        with suppress(EOFError):
            serve(io.BytesIO(pipe), io.BytesIO())
        gc.enable()

    return work


def _of_arrow(preparer: BatchPreparer, source: pa.Table) -> None:
    for _ in preparer(source.to_batches(max_chunksize=BATCH_ROWS), partition=0, attempt=0):
        pass


@contextmanager
def running_spark(folder: Path) -> Iterator[SparkTimer]:
    """Start Spark with two workers, and give a function that returns the seconds that they take to prepare a table."""
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 -- needs Spark

    from tests.engine.sessions import session_on  # noqa: PLC0415 -- likewise

    times = folder / "times"
    conf = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
        "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),  # as the guide advises
        "spark.sql.files.minPartitionNum": "2",
        # Java's defaults, as for a long job. The options of the tests make it start faster and run more slowly.
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        "spark.ui.showConsoleProgress": "false",
    }
    with session_on("local[2]", folder, **conf) as spark:

        def work(preparer: BatchPreparer, source: pa.Table) -> float:
            times.mkdir()
            rows = folder / "rows.parquet"
            pq.write_table(source, rows, row_group_size=len(source) // 2)
            columns = from_arrow_schema(TABLE_SCHEMA)
            prepared = spark.read.parquet(str(rows)).mapInArrow(partial(_measured, preparer, times), columns)
            prepared.write.format("noop").mode("overwrite").save()
            seconds = sum(float(path.read_text()) for path in times.iterdir())
            shutil.rmtree(times)
            return seconds

        yield work


def _measured(preparer: BatchPreparer, times: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Prepare a partition in a task, and write the seconds into a file."""
    from pyspark import TaskContext  # noqa: PLC0415 -- a task has it

    number = TaskContext.get().partitionId()
    began = time.process_time()
    yield from preparer(batches, partition=number)
    (times / str(number)).write_text(str(time.process_time() - began))
