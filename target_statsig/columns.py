"""Records that all have the same columns, held column by column, and how lines are read into that form.

Where the schema of a stream says of each column only what type it has, as that of a database's table does, it is a type
for msgspec too: the lines are decoded and validated in one go, and no dictionary is made for any record. Knows Singer's
RECORD message. Refuses to say what is wrong with a line: `validation` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import structs

Column = Sequence[Any]
"""What the records have in one column, in their order."""

_SAYS_NOTHING = frozenset(
    {
        *("title", "description", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"),
        "nullable",
        "format",  # which is not asserted, unlike `contentEncoding` and `contentMediaType` in some drafts
    }
)
"""Words of a schema that no record can break."""

_EXTENSION = "x-"

_ROOT_WORDS = frozenset({"type", "properties", "required", "additionalProperties", "$schema", "$id", "id"})
"""Words that the schema of a table has. Of `additionalProperties` nothing need be known: a record with a column beyond
the schema's is not read here."""

_TYPES: Mapping[str, Any] = {
    "null": None,
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict[str, Any],
    "array": list[Any],
}
"""Types of JSON schema as msgspec's, which takes no more for one than a validator does: no text for a number, and no
1.0 for an integer."""

_NUMBER = "number"
"""The one type that msgspec would not leave as it came: a column of it is decoded as if nothing were known, and looked
at then."""

_DECODED: Mapping[str, frozenset[type]] = {
    "null": frozenset({NoneType}),
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, Decimal}),
    "boolean": frozenset({bool}),
    "object": frozenset({dict}),
    "array": frozenset({list}),
}
"""What the types are decoded to where nothing is known."""

_BOUNDS: Mapping[str, Mapping[str, str]] = {
    "string": {"minLength": "min_length", "maxLength": "max_length"},
    "integer": {"minimum": "ge", "maximum": "le"},
}
"""Words that a schema may add to a type, and msgspec's for the same."""

_ANYTHING: Mapping[str, tuple[object, ...]] = {"additionalProperties": (True, {}), "items": (True, {})}
"""Words about what is in an object or a list, where they say that it may be anything."""


class NotPlainError(Exception):
    """A schema says more than types."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Some records of one stream.

    Attributes:
        names: The names of their columns.
        rows: The records, each with a value for each column.
        extracted: The RECORD messages' own times of extraction.
        versions: Their versions of the table.
        values: The values of each column.
    """

    names: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    extracted: Column
    versions: Column
    values: Sequence[Column] = field(init=False)

    def __post_init__(self) -> None:
        """Turn the rows."""
        object.__setattr__(self, "values", [*zip(*self.rows, strict=True)])

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.rows)

    def get(self, name: str) -> Column:
        """Return a column by its name; where there is none, all records have null there."""
        return self.named(name) if name in self.names else (None,) * len(self)

    def named(self, name: str) -> Column:
        """Return a column by its name."""
        return self.values[self.names.index(name)]


class RecordType:
    """Reads the records of one stream that hold just the columns of its schema, of the types that it names."""

    def __init__(self, stream: str, schema: Mapping[str, Any], key_properties: Sequence[str] = ()) -> None:
        """Make the type.

        Args:
            stream: The tap's name for the stream.
            schema: The JSON schema of its SCHEMA message.
            key_properties: Columns that no record may lack.

        Raises:
            NotPlainError: The schema says more than msgspec's types can.
        """
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            raise NotPlainError
        _only(schema, _ROOT_WORDS)
        if schema.get("type", "object") not in ("object", ["object"]):
            raise NotPlainError
        if not properties.keys() >= {*_names(schema.get("required", [])), *key_properties}:
            raise NotPlainError
        self.names: Final = tuple(properties)
        self._to_look_at: list[tuple[int, frozenset[type]]] = []
        try:
            self._decode = msgspec.json.Decoder(self._message(stream, properties), float_hook=Decimal).decode_lines
        except (TypeError, ValueError, KeyError) as error:  # such as a column whose name holds a quotation mark
            raise NotPlainError from error

    def read(self, lines: bytes) -> Columns | None:
        """Return the records of some RECORD messages; None where one of them does not fit the type.

        Args:
            lines: The messages, a line each.
        """
        try:
            messages = self._decode(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError, RecursionError):
            return None
        rows = [*map(structs.astuple, [message.record for message in messages])]
        columns = Columns(
            self.names,
            rows,
            [message.time_extracted for message in messages],
            [message.version for message in messages],
        )
        fit = all(kinds.issuperset(map(type, columns.values[place])) for place, kinds in self._to_look_at)
        return columns if fit else None

    def _message(self, stream: str, properties: Mapping[str, Any]) -> Any:
        """Return the type of a RECORD message."""
        fields = [(f"f{place}", self._column(place, part)) for place, part in enumerate(properties.values())]
        renamed = dict(zip([name for name, _ in fields], properties, strict=True))
        record = msgspec.defstruct("Record", fields, rename=renamed, forbid_unknown_fields=True, gc=False)
        needed: list[tuple[str, Any]] = [("type", Literal["RECORD"]), ("stream", Literal[stream]), ("record", record)]
        optional = [("time_extracted", Any, None), ("version", Any, None)]
        # Of a member that it does not know, msgspec would not even see whether it is JSON.
        return msgspec.defstruct("Message", [*needed, *optional], forbid_unknown_fields=True, gc=False)

    def _column(self, place: int, schema: Any) -> Any:
        """Return the type of a column."""
        if schema is True:
            return Any
        if not isinstance(schema, dict):
            raise NotPlainError
        kinds = _names(schema.get("type", []))
        bounded = {word for kind in kinds for word in _BOUNDS.get(kind, ())} & schema.keys()
        anything = {word for word, ways in _ANYTHING.items() if schema.get(word) in ways}
        _only(schema, {"type", *bounded, *anything})
        if not kinds:
            return Any
        if _NUMBER in kinds:
            if bounded:
                raise NotPlainError
            self._to_look_at.append((place, frozenset().union(*(_DECODED[kind] for kind in kinds))))
            return Any
        return Union[tuple(_bounded(kind, schema) for kind in kinds)]  # noqa: UP007 -- so many are known only now


def _bounded(kind: str, schema: Mapping[str, Any]) -> Any:
    """Return msgspec's type for one of JSON schema's, and for what a schema says beside it."""
    bounds = {name: schema[word] for word, name in _BOUNDS.get(kind, {}).items() if word in schema}
    return Annotated[_TYPES[kind], msgspec.Meta(**bounds)] if bounds else _TYPES[kind]


def _only(schema: Mapping[str, Any], words: frozenset[str] | set[str]) -> None:
    """Check that a schema says nothing but what these words say.

    Raises:
        NotPlainError: It does.
    """
    if any(word not in words and word not in _SAYS_NOTHING and not word.startswith(_EXTENSION) for word in schema):
        raise NotPlainError


def _names(value: object) -> list[str]:
    """Return the texts of a list of texts, or the one that stands alone.

    Raises:
        NotPlainError: It is something else.
    """
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise NotPlainError
    return listed
