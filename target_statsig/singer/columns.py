"""Records that all have the same columns, held column by column, and how lines are read into that form.

Where the schema of a stream says of each column only what type it has, as that of a database's table does, it is a type
for msgspec too: the lines are decoded and validated in one go, and no dictionary is made for any record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import structs

if TYPE_CHECKING:
    from target_statsig.singer.fields import Place

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


class Columns:
    """Some records of one stream, column by column; where a record lacks a column, it has null there.

    Attributes:
        names: The names of all columns, in the order in which they come.
        extracted: The RECORD messages' own times of extraction.
        versions: Their versions of the table.
        records: The records as objects; None where they were read as rows.
        rows: The records as rows of values, in the order of `names`; None where they were read as objects.
    """

    def __init__(
        self,
        names: tuple[str, ...] | None,
        extracted: Column,
        versions: Column,
        *,
        rows: Sequence[tuple[Any, ...]] | None = None,
        records: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Take records in one of the two forms; the names of objects' columns are found here."""
        self.extracted = extracted
        self.versions = versions
        self.rows = rows
        self.records = records
        self._columns: dict[str, Column] = {}
        self._objects: dict[tuple[str, ...], Sequence[Mapping[str, Any]]] = {}
        if records is None:
            self.names = names or ()
            self._columns.update(zip(self.names, zip(*rows or (), strict=True), strict=False))
        else:
            self._columns.update(turned(records))
            self.names = tuple(self._columns)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.extracted)

    def get(self, name: str) -> Column:
        """Return a column by its name; all null where there is none."""
        column = self._columns.get(name)
        return (None,) * len(self) if column is None else column

    def at(self, place: Place) -> Column:
        """Return what the records have in a place."""
        return self._member((place.column, *place.path))

    def _member(self, path: tuple[str, ...]) -> Column:
        if len(path) == 1:
            return self.get(path[0])
        return [each.get(path[-1]) for each in self._objects_at(path[:-1])]

    def _objects_at(self, path: tuple[str, ...]) -> Sequence[Mapping[str, Any]]:
        """Return the objects in a place, an empty one where there is none; several members are read from them."""
        if path not in self._objects:
            self._objects[path] = [value if type(value) is dict else {} for value in self._member(path)]
        return self._objects[path]

    def has(self, name: str) -> Sequence[bool]:
        """Return which of the records have a column, null or not."""
        if self.records is None:
            return (name in self.names,) * len(self)
        return [name in record for record in self.records]

    def take(self, rows: Sequence[int]) -> Columns:
        """Return some of the records, by their place among these."""
        return Columns(
            self.names,
            [self.extracted[row] for row in rows],
            [self.versions[row] for row in rows],
            rows=None if self.rows is None else [self.rows[row] for row in rows],
            records=None if self.records is None else [self.records[row] for row in rows],
        )


def turned(objects: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Return the members of objects as columns, in the order in which they come; null where an object lacks one."""
    shapes = rows_by_shape(objects)
    if len(shapes) == 1:
        return dict(zip(next(iter(shapes)), zip(*[each.values() for each in objects], strict=True), strict=True))
    columns: dict[str, list[Any]] = {name: [None] * len(objects) for name in chain.from_iterable(shapes)}
    for shape, rows in shapes.items():
        for name, values in zip(shape, zip(*[objects[row].values() for row in rows], strict=True), strict=False):
            column = columns[name]
            for row, value in zip(rows, values, strict=True):
                column[row] = value
    return {**columns}


def rows_by_shape(objects: Sequence[Mapping[str, Any]]) -> Mapping[tuple[str, ...], Sequence[int]]:
    """Return which objects have the same members, in the same order."""
    shapes: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, shape in enumerate(map(tuple, objects)):
        shapes[shape].append(row)
    return shapes


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
        self._to_look_at: list[tuple[str, frozenset[type]]] = []
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
        columns = Columns(
            self.names,
            [message.time_extracted for message in messages],
            [message.version for message in messages],
            rows=[*map(structs.astuple, [message.record for message in messages])],
        )
        fit = all(kinds.issuperset(map(type, columns.get(name))) for name, kinds in self._to_look_at)
        return columns if fit else None

    def _message(self, stream: str, properties: Mapping[str, Any]) -> Any:
        """Return the type of a RECORD message."""
        fields = [(f"f{place}", self._column(name, part)) for place, (name, part) in enumerate(properties.items())]
        renamed = dict(zip([name for name, _ in fields], properties, strict=True))
        record = msgspec.defstruct("Record", fields, rename=renamed, forbid_unknown_fields=True, gc=False)
        needed: list[tuple[str, Any]] = [("type", Literal["RECORD"]), ("stream", Literal[stream]), ("record", record)]
        optional = [("time_extracted", Any, None), ("version", Any, None)]
        # Of a member that it does not know, msgspec would not even see whether it is JSON.
        return msgspec.defstruct("Message", [*needed, *optional], forbid_unknown_fields=True, gc=False)

    def _column(self, name: str, schema: Any) -> Any:
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
            self._to_look_at.append((name, frozenset().union(*(_DECODED[kind] for kind in kinds))))
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
