"""Preparing Arrow batches as a table of requests, in the tasks of an engine.

A task needs neither a key nor a store. It sends nothing, so it may fail and be repeated. The configuration is read
before, on the machine that starts the tasks.
"""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.engine.arrow import check_schema, member_order, read_columns, singer_schema
from target_statsig.engine.table import ROWS_AT_ONCE, VERSION, Row, config_digest, pack_source, to_batch
from target_statsig.errors import SettingsError
from target_statsig.events.items import ITEM_TYPES
from target_statsig.events.prepare import Limits, Preparation
from target_statsig.events.remembered import encoded_and_digests
from target_statsig.reports.report import MappingWarnings
from target_statsig.reports.text import counted
from target_statsig.singer.columns import Columns
from target_statsig.singer.records import Read, RecordReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from target_statsig.config.parse import Config
    from target_statsig.events.prepare import PreparedRequest

OF_A_REQUEST = ("count", "size", "body", "digests", "names", "billed")
"""The columns of the table that hold attributes of a `PreparedRequest`."""

Configuration = Mapping[str, Any] | str | Path
"""The settings of the target, or the path of their file."""

KEYS: dict[str, str | None] = {
    "server_secret_key": "secret-of-the-sender",
    "console_api_key": "console-of-the-sender",
    "store_url": None,
}
"""Settings that only the sender needs, and their values for the preparation."""

CHANGES_RECORDS = ("stream_maps", "flattening_enabled")
"""Settings of singer-sdk that would change records. On an engine, use a query instead."""

SINGERS_OWN = (
    *("add_record_metadata", "faker_config", "flattening_max_depth", "flattening_max_key_length"),
    *("flattening_separator", "process_activate_version_messages", "stream_map_config", "validate_records"),
)
"""singer-sdk's other settings, which do not apply to Arrow columns."""


def read_settings(config: Configuration) -> dict[str, Any]:
    """Return the settings as they are written.

    Raises:
        SettingsError: The file cannot be read.
    """
    from target_statsig.config.load import read_config_files, restore_keys

    return restore_keys(config if isinstance(config, Mapping) else read_config_files([str(config)]), {})


def load(config: Configuration) -> Config:
    """Return a configuration as the target parses it.

    Raises:
        SettingsError: It cannot be used, or not for prepared tables.
    """
    from target_statsig.config.parse import parse_config
    from target_statsig.config.settings import config_schema

    given = read_settings(config)
    changing = [f"`{name}`" for name in CHANGES_RECORDS if given.get(name)]
    if changing:
        msg = f"{' and '.join(changing)} cannot be used here. Change the records in the query."
        raise SettingsError([msg])
    own = {name: value for name, value in given.items() if name not in {*CHANGES_RECORDS, *SINGERS_OWN}}
    return parse_config(own, config_schema())


def prepare_batches(config: Configuration, stream: str | None = None) -> BatchPreparer:
    """Return a function that prepares Arrow batches of a stream. It is picklable and holds no key.

    The stream may be omitted if `streams` has one entry only.

    Raises:
        SettingsError: The configuration cannot be used, or the stream goes to a segment.
    """
    given = read_settings(config)
    streams = [stream] if stream else [*(given.get("streams") or {})]
    if len(streams) != 1:
        msg = f"`streams` names {counted(len(streams), 'stream')}. Say which one the rows are (`stream`, `--stream`)."
        raise SettingsError([msg])
    stream = str(streams[0])
    parsed = load(given | KEYS)
    settings = parsed.for_stream(stream)
    item_type = ITEM_TYPES.get(settings.object_type)
    if item_type is None:
        msg = (
            f"Stream '{stream}' goes to a segment, which cannot be prepared on an engine. Send its rows through a "
            "tap: Statsig takes 900 lists in 15 minutes, which one machine can send."
        )
        raise SettingsError([msg])
    run = parsed.settings
    reader = RecordReader(stream, stream, {}, (), validates=False)
    return BatchPreparer(
        stream,
        Preparation(reader, settings, item_type, settings.dedupe, run.compression, replication_key=None),
        Limits(run.batch_size_rows, run.batch_size_bytes, run.batch_size_bytes),
        config_digest(run, settings),
    )


@dataclass(frozen=True)
class BatchPreparer:
    """Prepares the batches of one stream."""

    stream: str
    preparation: Preparation
    limits: Limits
    config_digest: str

    def __call__(
        self, batches: Iterable[pa.RecordBatch], *, partition: int, attempt: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Prepare one partition of the input, and yield batches of the table's rows.

        Args:
            batches: The partition, in batches with the same columns.
            partition: The number of the partition, from 0 without a gap.
            attempt: The engine's number of the attempt at this partition; random by default.

        Raises:
            InputError: A column has a type that JSON cannot hold.
        """
        attempt = secrets.randbits(63) if attempt is None else attempt
        rows = _Attempt(self, partition, attempt).rows(batches)
        while chunk := _next_rows(rows):
            yield to_batch(chunk)


def _next_rows(rows: Iterator[Row]) -> list[Row]:
    # Records have no cycles that Python's collector could free, and it takes a tenth of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return [*itertools.islice(rows, ROWS_AT_ONCE)]
    finally:
        if collects:
            gc.enable()


class _Attempt:
    """One attempt to prepare a partition."""

    def __init__(self, preparer: BatchPreparer, partition: int, attempt: int) -> None:
        self._preparation = preparer.preparation
        self._limits = preparer.limits
        self._now_ms = int(time.time() * 1000)
        self._extracted = dt.datetime.fromtimestamp(self._now_ms / 1000, dt.UTC).isoformat()
        self._item_bytes = 0.0
        self._members: dict[str, Any] = {}
        self._next = Row(VERSION, preparer.config_digest, preparer.stream, partition, attempt, 0, is_last=False)

    def rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
        """Yield the rows of the attempt; `is_last` marks the last one."""
        previous: Row | None = None
        for part in self._parts(batches):
            for row in self._prepare(part):
                if previous is not None:
                    yield previous
                previous = row
        yield replace(self._next if previous is None else previous, is_last=True)

    def _parts(self, batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
        """Yield the input in parts that fill a request each."""
        part: list[pa.RecordBatch] = []
        missing = self._limits.rows_of(self._item_bytes)
        for batch in batches:
            start = 0
            while start < len(batch):
                part.append(batch.slice(start, missing))
                start += len(part[-1])
                missing -= len(part[-1])
                if not missing:
                    yield part
                    part, missing = [], self._limits.rows_of(self._item_bytes)
        if part:
            yield part

    def _prepare(self, part: Sequence[pa.RecordBatch]) -> Iterator[Row]:
        """Yield a row for each request. The first row has the rejections; it may lack a request."""
        if self._next.sequence == 0:
            check_schema(part[0].schema)
            self._next = replace(self._next, schema=singer_schema(self._next.stream, part[0].schema))
            self._members = {column.name: member_order(column.type) for column in part[0].schema}
        records = read_columns(part)
        count = sum(map(len, part))
        columns = Columns(records, extracted=[self._extracted] * count, versions=[None] * count)
        names, lines, digests = encoded_and_digests(columns)
        prepared = self._preparation.prepare(Read(range(count), columns, columns), self._limits, self._now_ms, digests)
        self._item_bytes = prepared.item_bytes or self._item_bytes
        members = {name: self._members[name] for name in names}
        warnings = None
        if prepared.warnings != MappingWarnings():
            warnings = msgspec.json.encode(prepared.warnings).decode()
        row = replace(self._next, deleted=prepared.deleted, warnings=warnings)
        rejected = prepared.rejected
        requests: list[PreparedRequest | None] = [*prepared.requests] or [None]
        for request in requests:
            sent: Sequence[int] = ()
            if request is not None:
                sent = range(count) if request.rows is None else request.rows
                row = replace(row, **{name: getattr(request, name) for name in OF_A_REQUEST})
            source = [*sent, *(number for number, _, _ in rejected)]
            yield replace(
                row,
                rejections=[(place, why, at) for place, (_, why, at) in enumerate(rejected, len(sent))],
                rows=[*range(len(sent))] if sent and rejected else None,
                source=pack_source(self._extracted, members, [lines[each] for each in source]),
            )
            row = self._next = replace(self._next, sequence=row.sequence + 1, schema=None)
            rejected = []
