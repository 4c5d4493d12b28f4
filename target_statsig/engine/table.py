"""The table of prepared requests: its Arrow schema, version 1, and its rows as values.

An engine writes it, in as many tasks as it likes; one process sends what stands in it. Every row stands for itself: it
holds one body at most, and the records that it was made of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from isal import isal_zlib

from target_statsig.client.events import GZIP_LEVEL
from target_statsig.events.mapper import MappingWarnings
from target_statsig.events.prepare import PreparedRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_statsig.config.settings import Settings, StreamSettings

VERSION = 1
"""Of the schema; a sender takes no other."""

_REJECTION = pa.struct([("row", pa.int32()), ("reason", pa.string()), ("field", pa.string())])

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
        ("rejections", pa.list_(_REJECTION)),
        ("warnings", pa.string()),
        ("rows", pa.list_(pa.int32())),
        ("deleted", pa.int32()),
        ("source", pa.binary()),
        ("schema", pa.string()),
    ]
)
"""The columns, as `Row` explains them."""

SENDERS_OWN = frozenset({"max_rejected_percent", "dedupe_days"})
"""Settings of a stream that change neither what is prepared nor what of it may be sent."""

_GZIP_FORMAT = isal_zlib.MAX_WBITS | 16


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        version: `VERSION`.
        config_digest: What `config_digest` says of the settings that it was prepared with.
        stream: The stream.
        partition: The number of the part of the input; another attempt at the same part has the same one.
        attempt: The engine's number of the attempt, unlike any other of the table; random where the engine has none.
        sequence: The number of the row within its attempt, from 0 and without a gap.
        is_last: Whether the attempt ends with this row. Each one ends with such a row, that of an empty partition too;
            an attempt without one was cut off. It may have a body as any other.
        count: How many items the body holds.
        size: The uncompressed bytes of the body.
        body: The body as it is sent; null where the row has none.
        digests: The digests of the records of the body, end to end; empty where nothing is to be remembered (`dedupe`
            is false).
        names: How many items there are of each name.
        billed: How many of them Statsig bills.
        rejections: The records that cannot be sent: their place in `source`, the reason and the field at fault.
        warnings: What is worth a warning, as JSON; null where nothing is.
        rows: The places in `source` of the records of the body, in its order; null for all of them.
        deleted: Records of deleted rows, which are not sent; they do not stand in `source`.
        source: RECORD messages as JSON lines, with gzip: those of the body, and those rejected. Null where there are
            none.
        schema: The SCHEMA message of the records, as JSON, in the first row of each attempt that had any; null in the
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
    def records(self) -> int:
        """How many records the row accounts for."""
        return self.count + len(self.rejections) + self.deleted

    @property
    def lines(self) -> list[bytes]:
        """The RECORD messages of `source`, each with its end."""
        return [] if self.source is None else isal_zlib.decompress(self.source, _GZIP_FORMAT).splitlines(keepends=True)

    @property
    def request(self) -> PreparedRequest | None:
        """The request, made of `lines`; None where the row has no body."""
        if self.body is None:
            return None
        return PreparedRequest(self.body, self.size, self.rows, self.count, self.digests, self.names, self.billed)

    @property
    def mapping_warnings(self) -> MappingWarnings:
        """What is worth a warning."""
        return MappingWarnings() if self.warnings is None else msgspec.json.decode(self.warnings, type=MappingWarnings)


_NAMES = tuple(each.name for each in fields(Row))


def to_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows as Arrow columns."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _NAMES}
    columns["names"] = [[*names.items()] for names in columns["names"]]
    columns["rejections"] = [
        [{"row": row, "reason": reason, "field": at} for row, reason, at in rejections]
        for rejections in columns["rejections"]
    ]
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def to_rows(batch: pa.RecordBatch | pa.Table) -> Iterator[Row]:
    """Yield what stands in Arrow columns as rows; other columns are ignored."""
    columns = {name: batch.column(name).to_pylist() for name in _NAMES}
    columns["names"] = [dict(names) for names in columns["names"]]
    columns["rejections"] = [
        [(each["row"], each["reason"], each["field"]) for each in rejections] for rejections in columns["rejections"]
    ]
    for values in zip(*columns.values(), strict=True):
        yield Row(*values)


def pack_source(lines: bytes) -> bytes | None:
    """Return RECORD messages, a line each, as `Row.source` has them."""
    return isal_zlib.compress(lines, GZIP_LEVEL, _GZIP_FORMAT) if lines else None


def config_digest(settings: Settings, stream: StreamSettings) -> str:
    """Return the digest of the settings that a table is prepared with.

    It covers what changes a body, what is rejected and what is remembered; neither keys nor addresses: what was tried
    against one project may be sent to another.

    Args:
        settings: The run's settings.
        stream: The stream's.
    """
    prepared_by = {each.name: getattr(stream, each.name) for each in fields(stream) if each.name not in SENDERS_OWN}
    sizes = (settings.compression, settings.batch_size_rows, settings.batch_size_bytes)
    return hashlib.sha256(msgspec.json.encode((VERSION, prepared_by, sizes), order="deterministic")).hexdigest()
