"""Batches of RECORD messages, and reading them into columns: decoding and validating."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from target_statsig.errors import SCHEMA_VIOLATION, RecordError
from target_statsig.singer.columns import Columns
from target_statsig.singer.message import (
    DEEPEST,
    MESSAGES,
    NOT_DECODED,
    Message,
    Undecoded,
    decode,
    is_too_deep,
)
from target_statsig.singer.schema import Check, NotPlainError, RecordType, column_checks, compile_check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_MISSES = 10
"""Batches in a row that do not fit the `RecordType`, after which it is no longer tried. A tap that sends columns beyond
its schema does so in every batch."""

_LINES_AT_ONCE = 25
"""Lines whose brackets are counted together."""


def _brackets(text: bytes) -> int:
    """Return how many objects and lists begin in a text, or more."""
    # `replace` skips other bytes many at a time; `count` and `translate` look at each.
    return len(text) - len(text.replace(b"{", b"").replace(b"[", b""))


@dataclass(frozen=True, slots=True)
class Batch:
    """RECORD messages of one stream, in the order of the input.

    Attributes:
        lines: The messages as the tap sent them, each with its line end; only the last line of the input may lack it.
        messages: The decoded messages; None if they are not decoded yet.
        mapped: The records after stream maps; None if no map changes the stream.
    """

    lines: Sequence[bytes]
    messages: Sequence[Message] | None = None
    mapped: Sequence[Mapping[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.lines)

    @staticmethod
    def of(parts: Sequence[Batch]) -> Batch:
        """Join consecutive batches of one stream."""
        if len(parts) == 1:
            return parts[0]
        return Batch(
            [line for part in parts for line in part.lines],
            # If only some parts are decoded, the whole batch is decoded again.
            None
            if any(part.messages is None for part in parts)
            else [message for part in parts for message in part.messages or ()],
            None if parts[0].mapped is None else [record for part in parts for record in part.mapped or ()],
        )

    @property
    def may_be_deep(self) -> bool:
        """Whether a record may nest too deeply, going by the number of brackets in its line."""
        groups = (self.lines[start : start + _LINES_AT_ONCE] for start in range(0, len(self.lines), _LINES_AT_ONCE))
        # Seldom does a whole group have as many brackets as one line may have.
        return any(_brackets(b"".join(group)) > DEEPEST and max(map(_brackets, group)) > DEEPEST for group in groups)

    def part(self, start: int, size: int) -> Batch:
        """Return at most `size` consecutive messages, beginning with number `start`."""
        if start == 0 and len(self) <= size:
            return self
        return self.take(range(len(self))[start : start + size])

    def take(self, rows: Sequence[int]) -> Batch:
        """Return the messages with these numbers, from 0."""
        return Batch(
            [self.lines[row] for row in rows],
            None if self.messages is None else [self.messages[row] for row in rows],
            None if self.mapped is None else [self.mapped[row] for row in rows],
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """How the records of one stream are read after a SCHEMA message.

    Attributes:
        reader: Decodes and validates the records.
        schema: The SCHEMA message as the tap sent it.
    """

    reader: RecordReader
    schema: Message


@dataclass(slots=True)
class Read:
    """The records of a batch. A sound record keeps to its schema.

    Attributes:
        rows: The numbers of the lines with sound records, from 0.
        columns: The sound records after stream maps.
        source: The sound records as the tap sent them.
        messages: All messages, decoded; None if the lines were decoded by type.
        faults: Why the other records are not sound, by the number of their line.
        unreadable: What is wrong with the first line that is no RECORD message, or None. That line and those after it
            were not read.
    """

    rows: Sequence[int]
    columns: Columns
    source: Columns
    messages: Sequence[Message] | None = None
    faults: dict[int, RecordError] = field(default_factory=dict)
    unreadable: str | None = None


@dataclass(eq=False)
class RecordReader:
    """Reads the RECORD messages of a stream and validates their records. Picklable.

    Attributes:
        tap_stream: The stream's name in the tap.
        stream: Its name after stream maps.
        schema: The JSON schema after them. It is compiled when first needed.
        key_properties: The members that every record must have.
        validates: Whether every record must also keep to the schema.
    """

    tap_stream: str
    stream: str
    schema: dict[str, Any]
    key_properties: Sequence[str]
    validates: bool = field(kw_only=True)
    _misses: int = field(default=0, init=False)

    @override
    def __getstate__(self) -> dict[str, object]:
        """Leave out the compiled schema."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def is_sound(self) -> Check:
        """Returns whether a record has its key properties and keeps to the schema.

        Raises:
            InputError: The schema cannot be used. Raised at the first access.
        """
        return compile_check(self.stream, self.schema if self.validates else None, self.key_properties)

    @cached_property
    def _column_checks(self) -> Mapping[str, Callable[[object], bool]]:
        return column_checks(self.stream, self.schema) if self.validates else {}

    @cached_property
    def _type(self) -> RecordType | None:
        """A type that only sound records fit; None if no type can express the schema."""
        try:
            return RecordType(self.tap_stream, self.schema, self.key_properties, validates=self.validates)
        except NotPlainError:
            return None

    def read(self, batch: Batch) -> Read:
        """Return the records of a batch."""
        by_type = self._type if batch.messages is None and self._misses < MOST_MISSES else None
        if by_type is not None and (by_type.is_flat or not batch.may_be_deep):
            columns = by_type.read(b"".join(batch.lines))
            if columns is not None and len(columns) == len(batch):
                self._misses = 0
                return Read(range(len(batch)), columns, columns)
            self._misses += 1
        return self._read_objects(batch)

    def _read_objects(self, batch: Batch) -> Read:
        messages, unreadable = decode_records(self.tap_stream, batch)
        records = batch.mapped or [message["record"] for message in messages]
        is_sound = self._is_shallow_and_sound if batch.may_be_deep else self.is_sound
        rows: Sequence[int] = [row for row, record in enumerate(records) if is_sound(record)]
        faults = {}
        if len(rows) < len(records):
            faults = {row: self._fault(records[row]) for row in {*range(len(records))} - {*rows}}
        columns = _columns([messages[row] for row in rows], [records[row] for row in rows])
        source = columns
        if batch.mapped is not None:
            source = _columns([messages[row] for row in rows], [messages[row]["record"] for row in rows])
        return Read(rows, columns, source, messages, faults, unreadable)

    def _is_shallow_and_sound(self, record: Mapping[str, Any]) -> bool:
        return not is_too_deep(record) and self.is_sound(record)

    def _fault(self, record: Mapping[str, Any]) -> RecordError:
        if is_too_deep(record):
            return RecordError("nested_too_deeply")
        missing = next((name for name in self.key_properties if name not in record), None)
        if missing is not None:
            return RecordError("missing_key_property", missing)
        fits = self._column_checks
        column = next((name for name, value in record.items() if name in fits and not fits[name](value)), None)
        return RecordError(SCHEMA_VIOLATION, column)


def _columns(messages: Sequence[Message], records: Sequence[Mapping[str, Any]]) -> Columns:
    return Columns.of(
        records,
        extracted=[message.get("time_extracted") for message in messages],
        versions=[message.get("version") for message in messages],
    )


def decode_records(stream: str, batch: Batch) -> tuple[Sequence[Message], str | None]:
    """Return the messages before the first line that is no RECORD of the stream, and what is wrong with that line."""
    if batch.messages is not None:
        return batch.messages, None
    try:
        messages = MESSAGES.decode_lines(b"".join(batch.lines))
    except NOT_DECODED:
        messages = []
    if len(messages) == len(batch) and all(_is_record(stream, message) for message in messages):
        return messages, None
    messages = []
    for line in batch.lines:
        message = decode(line)
        if isinstance(message, str):
            return messages, message
        if not _is_record(stream, message):
            return messages, f"is not a RECORD of '{stream}' with an object as its record"
        messages.append(message)
    return messages, None


def _is_record(stream: str, message: Message) -> bool:
    # The line begins with this type and stream. But if a name occurs twice in an object, the last value counts.
    record = message.get("record")
    return message.get("type") == "RECORD" and message.get("stream") == stream and type(record) in _RECORDS


_RECORDS = frozenset({dict, Undecoded})
