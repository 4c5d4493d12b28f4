"""Preparing on Apache Spark 3.4 or later, by Spark Connect too: the cluster prepares, one process sends.

A task imports this module, so that it imports at its top only what a task needs.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from target_statsig.engine import prepare_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame

    from target_statsig.engine.configuration import Configuration
    from target_statsig.engine.prepare import BatchPreparer

logger = logging.getLogger(__name__)

SCHEMA = (
    "version int, config_digest string, stream string, partition bigint, attempt bigint, sequence int, "
    "is_last boolean, count int, size int, body binary, digests binary, names map<string,int>, billed int, "
    "rejections array<struct<row:int,reason:string,field:string>>, warnings string, rows array<int>, deleted int, "
    "source binary, schema string"
)
"""The columns of the table, as Spark writes them (`engine.table.SCHEMA`)."""


def prepare(df: DataFrame, config: Configuration, stream: str | None = None) -> DataFrame:
    """Return the requests for the rows of a DataFrame, to be written as a table; nothing is sent.

    Args:
        df: The rows.
        config: The configuration of the target, or the path of its file; no key of it goes to the cluster.
        stream: The stream whose settings are meant; may be left out where `streams` names one only.

    Raises:
        SettingsError: The configuration cannot be used, or the stream goes to a segment.
    """
    from target_statsig.engine.configuration import only_stream

    preparer = prepare_batches(config, only_stream(config) if stream is None else stream)
    return df.mapInArrow(partial(_prepare, preparer), SCHEMA)


def send(df: DataFrame, config: Configuration, *, staging: str, stream: str | None = None) -> dict[str, Any]:
    """Prepare the rows of a DataFrame into a table, send that from this process, and return the report.

    A table that lies there whole is not prepared again: what of it is not acknowledged yet is sent. So the same call
    may be repeated after whatever ended it, and every other set of rows needs a directory of its own.

    Args:
        df: The rows.
        config: The configuration of the target, or the path of its file.
        staging: The directory of the table, as both Spark and Python (fsspec) name it.
        stream: The stream whose settings are meant; may be left out where `streams` names one only.

    Raises:
        TargetStatsigError: The configuration cannot be used, or the table cannot be sent.
    """
    from upath import UPath

    from target_statsig.engine.configuration import load
    from target_statsig.engine.files import MARKER
    from target_statsig.engine.send import send_table
    from target_statsig.run import Run

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

    context = TaskContext.get()
    if context is None:
        return preparer(batches)
    return preparer(batches, partition=context.partitionId(), attempt=context.taskAttemptId())
