"""Preparing on Apache Spark 3.4 or later, Spark Connect included: the cluster prepares, one process sends.

Tasks import this module, so it imports at the top only what a task needs.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from target_statsig.engine.arrow import no_json_form
from target_statsig.engine.prepare import load, prepare_batches
from target_statsig.engine.table import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from target_statsig.engine.prepare import BatchPreparer, Configuration

logger = logging.getLogger(__name__)

_NO_JSON = re.compile(r'(?:^|ype":)"((?:interval|variant)[^"]*)"')
"""A type, in Spark's JSON of a column's type, that no task can read."""


def prepare(df: DataFrame, config: Configuration, stream: str | None = None) -> DataFrame:
    """Return the requests for the rows of a DataFrame, to be written as a table. Nothing is sent.

    Args:
        df: The rows.
        config: The target's configuration, or the path of its file. Its keys do not go to the cluster.
        stream: The stream whose settings apply. May be omitted if `streams` has one entry only.

    Raises:
        SettingsError: The configuration cannot be used, or the stream goes to a segment.
        InputError: A column has a type that JSON cannot hold.
    """
    if not hasattr(df, "mapInArrow"):
        msg = f"`df` must be a DataFrame of Spark, and not of the type {type(df).__name__}."
        raise TypeError(msg)
    from pyspark.sql.pandas.types import from_arrow_schema

    preparer = prepare_batches(config, stream)
    for column in df.schema:
        if fault := _NO_JSON.search(column.dataType.json()):
            raise no_json_form(column.name, fault[1])
    return df.mapInArrow(partial(_prepare, preparer), from_arrow_schema(SCHEMA))


def send(df: DataFrame, config: Configuration, *, staging: str, stream: str | None = None) -> dict[str, Any]:
    """Prepare the rows of a DataFrame as a table, send the table from this process, and return the report.

    If `staging` holds a complete table already, nothing is prepared, and only requests not yet acknowledged are sent.
    So the same call can be repeated after any failure. Other rows need another directory.

    `staging` is the directory of the table, as a path or URL that both Spark and Python (fsspec) can open. The other
    arguments are those of `prepare`.

    Raises:
        TargetStatsigError: The configuration cannot be used, or the table cannot be sent.
    """
    from upath import UPath

    from target_statsig.commands.run import Run
    from target_statsig.engine.files import MARKER
    from target_statsig.engine.send import send_table

    run = Run(load(config))
    if (UPath(staging) / MARKER).exists():
        logger.info("The table in %s is complete and is sent as it is. Give other rows their own directory.", staging)
    else:
        prepare(df, config, stream).write.mode("overwrite").parquet(staging)
    send_table(run, staging)
    if run.failure is not None:
        raise run.failure
    return run.report.as_json(run.clock.time())


def _prepare(preparer: BatchPreparer, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Prepare a partition, in a task."""
    from pyspark import TaskContext

    context = cast("TaskContext", TaskContext.get())
    return preparer(batches, partition=context.partitionId(), attempt=context.taskAttemptId())
