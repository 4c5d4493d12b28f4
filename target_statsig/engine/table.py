"""The table of prepared requests: its Arrow schema (version 1) and its rows.

The tasks of an engine write it, and one process sends it. Each row is independent: it holds at most one body, and the
records from which it was prepared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from isal import isal_zlib

from target_statsig.client.events import GZIP_LEVEL
from target_statsig.events.prepare import PreparedRequest
from target_statsig.reports.report import MappingWarnings
from target_statsig.singer.message import encode, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.config.settings import Settings, StreamSettings

VERSION = 1
"""The version of the schema. Tables of another version cannot be sent."""

SCHEMA = pa.schema(
    [
        ("version", pa.int32()),
        ("config_digest", pa.string()),
        ("stream", pa.string()),
        ("partition", pa.int64()),
        ("attempt", pa.int64()),
        ("sequence", pa.int32()),
        ("is_last", pa.bool_()),
        ("count", pa.int32()),
        ("size", pa.int32()),
        ("body", pa.binary()),
        ("digests", pa.binary()),
        ("names", pa.map_(pa.string(), pa.int32())),
        ("billed", pa.int32()),
        ("rejections", pa.list_(pa.struct([("row", pa.int32()), ("reason", pa.string()), ("field", pa.string())]))),
        ("warnings", pa.string()),
        ("rows", pa.list_(pa.int32())),
        ("deleted", pa.int32()),
        ("source", pa.binary()),
        ("schema", pa.string()),
    ]
)
"""The columns, which `Row` describes."""

ROWS_AT_ONCE = 16
"""Rows in one Arrow batch, some hundred kilobytes."""

SENDERS_OWN = frozenset({"max_rejected_percent", "dedupe_days"})
"""Settings of a stream that do not affect the preparation, so that they may differ when the table is sent."""

_GZIP_FORMAT = isal_zlib.MAX_WBITS | 16


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        config_digest: The digest of the settings that it was prepared with.
        partition: The number of the partition of the input.
        attempt: The number of the attempt at the partition, unique in the table; random if the engine has none.
        sequence: The number of the row in its attempt, from 0 without a gap.
        is_last: Whether this is the last row of the attempt. Every complete attempt has one, also at an empty
            partition; an attempt without one was cut off. The row may have a body like any other.
        count: The number of items in the body.
        size: The uncompressed bytes of the body.
        body: The body as it is sent; null if the row has none.
        digests: The concatenated digests of the records in the body; empty if `dedupe` is false.
        names: The number of items of each name.
        billed: The number of items that Statsig bills.
        rejections: The records that cannot be sent: their number in `source`, the reason and the field at fault.
        warnings: Counts to warn of, as JSON (`MappingWarnings`); null if there are none.
        rows: The numbers in `source` of the records in the body, in its order; null for all.
        deleted: The number of records of deleted rows, which are not sent and not in `source`.
        source: The records of the body, and those rejected, as JSON lines with gzip; null if there are none. The first
            line is `{"time_extracted": …, "columns": {…}}`. Each line after it has the values of one record in these
            columns, as an array, or the bare value of a single column. Records are numbered from 0. Members of objects
            are sorted; `columns` has their order (`member_order`).
        schema: The SCHEMA message of the records, as JSON, in the first row of an attempt with records; null in all
            others.
    """

    version: int
    config_digest: str
    stream: str
    partition: int
    attempt: int
    sequence: int
    is_last: bool
    count: int = 0
    size: int = 0
    body: bytes | None = None
    digests: bytes = b""
    names: dict[str, int] = field(default_factory=dict)
    billed: int = 0
    rejections: list[tuple[int, str, str | None]] = field(default_factory=list)
    warnings: str | None = None
    rows: list[int] | None = None
    deleted: int = 0
    source: bytes | None = None
    schema: str | None = None

    @property
    def lines(self) -> list[bytes]:
        """RECORD messages of the records in `source`, each with its line end."""
        if self.source is None:
            return []
        head, *lines = lines_of(isal_zlib.decompress(self.source, _GZIP_FORMAT))
        message = {"type": "RECORD", "stream": self.stream, "record": {}, **msgspec.json.decode(head)}
        columns = message.pop("columns")
        found = []
        for line in lines:
            # Not with msgspec, because a value may be NaN or half a surrogate pair.
            values = json.loads(line, parse_float=Decimal, parse_constant=Decimal)
            values = values if len(columns) > 1 else [values]
            record = {name: _in_order(value, columns[name]) for name, value in zip(columns, values, strict=True)}
            found.append(encode(message | {"record": record}) + b"\n")
        return found

    @property
    def request(self) -> PreparedRequest | None:
        """The request, whose rows refer to `lines`; None if the row has no body."""
        if self.body is None:
            return None
        return PreparedRequest(self.body, self.size, self.rows, self.count, self.digests, self.names, self.billed)

    @property
    def mapping_warnings(self) -> MappingWarnings:
        """The warnings of the preparation."""
        return MappingWarnings() if self.warnings is None else msgspec.json.decode(self.warnings, type=MappingWarnings)


def to_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows as Arrow columns."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    columns["names"] = [[*names.items()] for names in columns["names"]]
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def to_rows(batch: pa.RecordBatch | pa.Table) -> Iterator[Row]:
    """Yield the rows of Arrow columns; columns beyond `SCHEMA` are ignored."""
    columns = {name: batch.column(name).to_pylist() for name in SCHEMA.names}
    columns["names"] = [dict(names) for names in columns["names"]]
    columns["rejections"] = [[tuple(each.values()) for each in rejections] for rejections in columns["rejections"]]
    for values in zip(*columns.values(), strict=True):
        yield Row(*values)


def _in_order(value: Any, members: Any) -> Any:
    """Return a value with the members of its objects in order."""
    if not members:
        return value
    if isinstance(value, list):
        return [_in_order(each, members) for each in value]
    return value and {name: _in_order(value[name], own) for name, own in members.items()}


def pack_source(extracted: str, columns: Mapping[str, Any], lines: Sequence[bytes]) -> bytes | None:
    """Return the value of `Row.source` for the values of records, one a line, which were `extracted` then (ISO 8601).

    Each of the `columns` comes with the order of its members, as `member_order` returns it.
    """
    if not lines:
        return None
    head = msgspec.json.encode({"time_extracted": extracted, "columns": columns})
    return isal_zlib.compress(b"".join([head, b"\n", *lines]), GZIP_LEVEL, _GZIP_FORMAT)


def config_digest(settings: Settings, stream: StreamSettings) -> str:
    """Return the digest of the settings that affect a preparation.

    Keys and addresses do not, so that a table which was tried with one project may be sent to another.
    """
    prepared_by = {each.name: getattr(stream, each.name) for each in fields(stream) if each.name not in SENDERS_OWN}
    sizes = (settings.compression, settings.batch_size_rows, settings.batch_size_bytes)
    return hashlib.sha256(msgspec.json.encode((VERSION, prepared_by, sizes), order="deterministic")).hexdigest()
