"""Tables of prepared requests for tests: what an engine would leave in a directory, written in this process."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from target_statsig.config.parse import parse_config
from target_statsig.config.settings import config_schema
from target_statsig.engine.table import VERSION, Row, config_digest, pack_source, to_batch
from target_statsig.events.items import ITEM_TYPES
from target_statsig.events.prepare import Limits, Preparation
from target_statsig.reports.report import MappingWarnings
from target_statsig.singer.records import Batch, RecordReader
from tests.singer import record, schema

NOW_MS = 1_795_348_800_000


def prepared_rows(config, records, *, partition=0, attempt=None, stream="orders", version=VERSION):
    """Return the rows that one attempt makes of records, `batch_size_rows` of them at a time."""
    parsed = parse_config({"server_secret_key": "secret-none", **config}, config_schema())
    settings, run = parsed.for_stream(stream), parsed.settings
    message = schema(stream)
    reader = RecordReader(stream, stream, message["schema"], (), validates=False)
    preparation = Preparation(
        reader, settings, ITEM_TYPES[settings.object_type], settings.dedupe, run.compression, None
    )
    limits = Limits(run.batch_size_rows, run.batch_size_bytes, run.batch_size_bytes)
    attempt = partition + 100 if attempt is None else attempt
    blank = Row(version, config_digest(run, settings), stream, partition, attempt, sequence=0, is_last=False)
    rows = []
    for start in range(0, len(records), run.batch_size_rows):
        chunk = records[start : start + run.batch_size_rows]
        lines = [json.dumps(record(stream, each)).encode() + b"\n" for each in chunk]
        rows += rows_of(replace(blank, sequence=len(rows)), preparation(Batch(lines), limits, NOW_MS), lines)
    rows = rows or [blank]
    rows[0] = replace(rows[0], schema=json.dumps(message))
    return [*rows[:-1], replace(rows[-1], is_last=True)]


def rows_of(blank, prepared, lines):
    rejected = [line for line, _, _ in prepared.rejected]
    for number, request in enumerate(prepared.requests or [None]):
        sent = [] if request is None else list(range(len(lines)) if request.rows is None else request.rows)
        row = replace(blank, sequence=blank.sequence + number)
        if request is not None:
            row = replace(
                row,
                count=request.count,
                size=request.size,
                body=request.body,
                digests=request.digests,
                names=request.names,
                billed=request.billed,
            )
        if number == 0:
            row = replace(
                row,
                rejections=[(len(sent) + i, reason, field) for i, (_, reason, field) in enumerate(prepared.rejected)],
                rows=[*range(len(sent))] if rejected and sent else None,
                deleted=prepared.deleted,
                warnings=None if prepared.warnings == MappingWarnings() else json.dumps({"time_defaulted": 1}),
            )
            sent += rejected
        records = [json.loads(lines[each])["record"] for each in sent]
        columns = [*dict.fromkeys(name for each in records for name in each)]
        values = [json.dumps([each.get(name) for name in columns]).encode() + b"\n" for each in records]
        yield replace(row, source=pack_source("2026-01-31T12:00:00+00:00", dict.fromkeys(columns), values))


def records_of(row):
    """Return how many records a row accounts for."""
    return row.count + len(row.rejections) + row.deleted


def write_file(directory, name, rows, **options):
    directory.mkdir(exist_ok=True, parents=True)
    path = directory / f"{name}.parquet"
    pq.write_table(pa.Table.from_batches([to_batch(rows)]), path, **options)
    return path


def write_table(directory, config, *parts, success=True, **options):
    """Write a table, a file for each list of records, and return its directory."""
    for number, records in enumerate(parts):
        write_file(directory, f"part-{number:05}", prepared_rows(config, records, partition=number, **options))
    if success:
        (directory / "_SUCCESS").touch()
    return directory


ORDERS = {
    "object_type": "event",
    "batch_size_rows": 10,
    "field_mapping": {"event_time": "at"},
    "console_api_key": None,
}


def order(number, **columns):
    return {"id": number, "event": "order", "user_id": f"u{number}", "at": 1_795_000_000 + number, **columns}


def orders(*numbers, **columns):
    return [order(number, **columns) for number in range(*numbers)]


def arrived(statsig):
    return Counter(int(event["metadata"]["id"]) for event in statsig.state.events)


def once(*numbers):
    return Counter(range(*numbers))


def counts(outcome):
    return outcome.report["streams"]["orders"]


def refused(outcome, statsig, *words):
    assert outcome.exit_code == 1
    for word in words:
        assert word in outcome.errors
    assert not statsig.state.requests
