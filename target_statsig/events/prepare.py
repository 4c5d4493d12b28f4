"""Undecoded records as the items of one request: all that takes processor time, and nothing that needs the run.

Pure, and it pickles, so that another process can do it. What is not plain is left alone: a record with a fault, an item
that is too large, a message of another kind. Whoever asked looks at those records one by one, as at all others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.events.digest import digests_of, digests_of_rows
from target_statsig.events.encoding import encode_or_raise, encode_plain
from target_statsig.events.notes import MappingNotes
from target_statsig.events.parcels import ENVELOPE_BYTES, highest_of, map_all
from target_statsig.events.positions import highest
from target_statsig.exceptions import RecordError
from target_statsig.fields import any_deleted, is_deleted
from target_statsig.ledger import Bookmark  # noqa: TC001 -- msgspec decodes one
from target_statsig.record import MESSAGES, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_statsig.events.stream import ItemStream
    from target_statsig.settings import Compression
    from target_statsig.validation import RecordCheck


_NO_SCHEMA: dict[str, Any] = {}
"""Only a dead letter needs the SCHEMA of its record, and from here none comes."""


class Prepared(msgspec.Struct, frozen=True):
    """Items that are ready to be sent.

    Attributes:
        body: The body of the request that sends them.
        size: Bytes of the items before they were compressed.
        count: How many they are.
        digests: The digests of their records, end to end; empty where nothing is to be remembered.
        highest: How far the tap has come with them.
        names: How many there are of each name.
        notes: What is worth a warning.
    """

    body: bytes
    size: int
    count: int
    digests: bytes
    highest: Bookmark | None
    names: dict[str, int]
    notes: MappingNotes


@dataclass(frozen=True, slots=True)
class Preparation:
    """What has to be known of a stream to prepare its records.

    Attributes:
        stream: The stream.
        check: What its records have to pass.
        remembers: Whether digests are asked for.
        compression: How bodies are encoded.
    """

    stream: ItemStream
    check: RecordCheck
    remembers: bool
    compression: Compression

    def __call__(self, lines: bytes, count: int, now_ms: int) -> Prepared | None:
        """Prepare the records of some RECORD messages; None where one of them is not plain.

        Args:
            lines: The messages, a line each.
            count: How many lines.
            now_ms: The time of items that have none, unix milliseconds.
        """
        try:
            prepared = self._by_column(lines, count, now_ms)
        except RecursionError:  # what is nested so deeply is kept out on its own
            prepared = None
        return prepared or self._one_by_one(lines, count, now_ms)

    def _by_column(self, lines: bytes, count: int, now_ms: int) -> Prepared | None:
        """Prepare records that all have the columns of their schema."""
        columns = self.check.record_type.read(lines) if self.check.record_type else None
        map_columns = self.stream.mapper.by_column(columns.names) if columns else None
        if columns is None or map_columns is None or len(columns) != count:
            return None
        if self.stream.skips_deleted and any_deleted(columns.get):
            return None
        notes = MappingNotes()
        items = map_columns(columns, now_ms, notes)
        if items is None:
            return None
        digests = digests_of_rows(columns.names, columns.rows) if self.remembers else []
        key = self.stream.replication_key
        top = highest(columns.named(key)) if self.remembers and key in columns.names else None
        return self._prepared(encode_plain(items.items), items.names, digests, top, notes)

    def _one_by_one(self, lines: bytes, count: int, now_ms: int) -> Prepared | None:
        """Prepare records of any columns."""
        records = self._records(lines, count)
        if records is None or (self.stream.skips_deleted and any(is_deleted(record.data) for record in records)):
            return None
        notes = MappingNotes()
        mapped, rejections = map_all(records, self.stream, now_ms=now_ms, notes=notes)
        if rejections:
            return None
        items = [item for item in mapped if item is not None]
        try:
            bodies = encode_or_raise(items)
        except RecordError:
            return None
        data = [record.data for record in records] if self.remembers else []
        names = [*map(self.stream.kind.name_of, items)]
        return self._prepared(bodies, names, digests_of(data), highest_of(data, self.stream), notes)

    def _prepared(
        self,
        bodies: Sequence[bytes],
        names: Sequence[str],
        digests: Sequence[bytes],
        top: Bookmark | None,
        notes: MappingNotes,
    ) -> Prepared | None:
        """Make a request of encoded items; None where they are too large for one."""
        encoded = b",".join(bodies)
        if len(encoded) + ENVELOPE_BYTES > self.stream.bounds.bytes:
            return None
        notes.add_sizes(bodies)
        return Prepared(
            body=self.stream.body(encoded, self.compression),
            size=len(encoded),
            count=len(names),
            digests=b"".join(digests),
            highest=top,
            names=dict(Counter(names)),
            notes=notes,
        )

    def _records(self, lines: bytes, count: int) -> Sequence[Record] | None:
        try:
            messages = MESSAGES.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
            return None
        if len(messages) != count:
            return None
        stream, is_sound = self.stream.name, self.check.is_sound
        records = []
        for message in messages:
            # The line began with this type and stream; but where a name comes twice in an object, the last one counts.
            if message["type"] != "RECORD" or message["stream"] != stream:
                return None
            data = message["record"]
            if type(data) is not dict or not is_sound(data):
                return None
            records.append(Record(data, message, _NO_SCHEMA))
        return records
