"""Validating records by their SCHEMA: a compiled check for any schema, and a msgspec type for that of a table.

The check validates as singer-sdk does: by the draft that the schema names (2020-12 if it names none), without asserting
formats. If the schema is invalid in that draft, draft 7 and draft 4 are tried, because taps that write older keywords
often name no draft.

If a schema says only which columns a record has and their types, msgspec decodes and validates the lines in one step,
and no dictionary is created for any record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import UNSET, UnsetType, structs

from target_statsig.errors import InputError
from target_statsig.singer.columns import Columns, Shapes
from target_statsig.singer.message import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.singer.columns import Column
    from target_statsig.singer.message import Message

Check = Callable[[Mapping[str, Any]], bool]

UNKNOWN_DRAFT = "Unknown meta-schema"

SCHEMA_KEYWORD = "$schema"
"""The keyword that names the draft."""

_WHOLE = frozenset({"$ref", "$dynamicRef", "$recursiveRef", SCHEMA_KEYWORD})
"""Keywords that depend on the rest of the schema, so that a part with one cannot be compiled by itself."""


def compile_check(stream: str, schema: dict[str, Any] | None, key_properties: Sequence[str] = ()) -> Check:
    """Return a function that checks whether a record has its key properties and keeps to a schema.

    Every record keeps to the schema None.

    Raises:
        InputError: The schema is not a valid JSON schema, or refers to something outside of itself.
    """
    is_valid: Callable[[object], bool] = (lambda _: True) if schema is None else _compiler(stream, schema)(schema)

    def check(record: Mapping[str, Any]) -> bool:
        for name in key_properties:
            if name not in record:
                return False
        return is_valid(record)

    return check


def _compiler(stream: str, schema: dict[str, Any]) -> Callable[[Any], Callable[[object], bool]]:
    """Return a function that compiles a schema, or a part of it, by the draft in which it is valid.

    Raises:
        InputError: The schema is not a valid JSON schema, or refers to something outside of itself.
    """
    import jsonschema_rs  # slow to import, and seldom needed in a worker

    def compiler(make: Callable[..., Any], **draft: str) -> Callable[[Any], Callable[[object], bool]]:
        def compiled(part: Any) -> Callable[[object], bool]:
            if isinstance(part, dict):
                part = {**{name: each for name, each in part.items() if name != SCHEMA_KEYWORD}, **draft}
            # By default jsonschema-rs asserts formats under drafts 4 and 7, and rejects the times of log-based taps.
            is_valid = make(part, validate_formats=False, offline=True).is_valid

            def check(value: object) -> bool:
                try:
                    return bool(is_valid(value))
                except ValueError:
                    # A stream map may produce a value that is not JSON, such as a datetime. No JSON type fits it.
                    return False

            return check

        compiled(schema)
        return compiled

    named = {SCHEMA_KEYWORD: schema[SCHEMA_KEYWORD]} if SCHEMA_KEYWORD in schema else {}
    try:
        return compiler(jsonschema_rs.validator_for, **named)
    except jsonschema_rs.ValidationError as error:
        if str(error).startswith(UNKNOWN_DRAFT):
            return _compiler(stream, {name: part for name, part in schema.items() if name != SCHEMA_KEYWORD})
        fault = error
    for older in (jsonschema_rs.Draft7Validator, jsonschema_rs.Draft4Validator):
        with suppress(jsonschema_rs.ValidationError):
            return compiler(older, **named)
    where = "/".join(map(str, fault.instance_path)) or "its root"
    msg = (
        f"The SCHEMA of stream '{stream}' is not a JSON schema that can validate records (at {where}). Nothing of "
        "this stream was sent. Fix it in the tap, or set `validate_records` to false."
    )
    raise InputError(msg)


_SAYS_NOTHING = frozenset(
    {
        *("title", "description", "$comment", "examples", "default", "deprecated", "readOnly", "writeOnly"),
        "nullable",
        "format",  # not asserted, unlike `contentEncoding` and `contentMediaType` in some drafts
    }
)
"""Keywords that restrict no value."""

_EXTENSION = "x-"

_ROOT_KEYWORDS = frozenset({"type", "properties", "required", "additionalProperties", "$schema", "$id", "id"})
"""Keywords in the schema of a table. `additionalProperties` may have any value, because a record with a column beyond
the schema does not fit the type anyway."""

_TYPES: Mapping[str, Any] = {
    "null": None,
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict[str, Any],
    "array": list[Any],
}
"""JSON schema's types as Python's. msgspec is as strict as a validator: a text is no number, and 1.0 no integer."""

_SCALARS = frozenset({"null", "string", "integer", "number", "boolean"})
"""Types whose values hold no other values."""

_NUMBER = "number"
"""The type that is not left to msgspec, which would turn integers into floats. Its columns are decoded without a type
and checked afterwards."""

_DECODED: Mapping[str, frozenset[type]] = {
    "null": frozenset({NoneType}),
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, Decimal}),
    "boolean": frozenset({bool}),
    "object": frozenset({dict}),
    "array": frozenset({list}),
}
"""The types of values that are decoded without a type."""

_BOUNDS: Mapping[str, Mapping[str, str]] = {
    "string": {"minLength": "min_length", "maxLength": "max_length"},
    "integer": {"minimum": "ge", "maximum": "le"},
}
"""Keywords that restrict a type, and their counterparts in msgspec."""

_INT64 = range(-(1 << 63), 1 << 63)
"""The bounds that msgspec accepts."""

_ANYTHING: Mapping[str, tuple[object, ...]] = {"additionalProperties": (True, {}), "items": (True, {})}
"""Keywords about the content of objects and lists, with the values that allow any content."""


class NotPlainError(Exception):
    """A schema cannot be expressed as a type."""


class RecordType:
    """Decodes and validates records of one stream that have no columns beyond its schema.

    A column whose schema is a mere type is validated by msgspec while decoding, any other column afterwards.

    Attributes:
        names: The columns of the schema.
        is_flat: Whether no column can hold an object or a list.
    """

    def __init__(
        self, stream: str, schema: dict[str, Any], key_properties: Sequence[str] = (), *, validates: bool = True
    ) -> None:
        """Create the type.

        Raises:
            InputError: The schema is not a valid JSON schema, or refers to something outside of itself.
            NotPlainError: The schema restricts records by more than their columns.
        """
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            raise NotPlainError
        _only(schema, _ROOT_KEYWORDS)
        if schema.get("type", "object") not in ("object", ["object"]):
            raise NotPlainError
        self._needed = {*_names(schema.get("required", [])), *key_properties}
        if not properties.keys() >= self._needed:
            raise NotPlainError
        self.names: Final = tuple(properties)
        self._kinds: dict[str, frozenset[type]] = {}
        self._checks: dict[str, Callable[[object], bool]] = {}
        self.is_flat = True
        not_plain: list[str] = []
        columns: dict[str, Any] = {}
        for name, part in properties.items():
            try:
                columns[name] = self._column(name, part)
            except NotPlainError:
                if _refers(part) or not isinstance(part, dict):
                    raise
                columns[name] = Any
                not_plain.append(name)
            kinds = _names(part.get("type", [])) if isinstance(part, dict) else []
            self.is_flat = self.is_flat and _SCALARS.issuperset(kinds) and bool(kinds) and name not in not_plain
        if not_plain and validates:
            compiled = _compiler(stream, schema)
            self._checks = {name: compiled(properties[name]) for name in not_plain}
        try:
            self._decode = msgspec.json.Decoder(self._message(stream, columns), float_hook=Decimal).decode_lines
        except (TypeError, ValueError, KeyError) as error:  # such as a column whose name holds a quotation mark
            raise NotPlainError from error

    def read(self, lines: bytes) -> Columns | None:
        """Return the records of RECORD messages, one a line, or None if any of them does not fit the type."""
        try:
            messages = self._decode(lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError, RecursionError):
            return None
        rows = map(structs.astuple, [message.record for message in messages])
        columns: dict[str, Column] = {}
        gaps: dict[str, Sequence[bool]] = {}
        for name, column in zip(self.names, zip(*rows, strict=True), strict=bool(messages)):
            kinds = set(map(type, column)) if name in self._kinds or name not in self._needed else None
            if kinds and UnsetType in kinds:
                if len(kinds) == 1:
                    continue  # no record has the column
                gaps[name] = [value is UNSET for value in column]
                kinds.discard(UnsetType)
            if kinds and name in self._kinds and not self._kinds[name] >= kinds:
                return None
            columns[name] = [None if value is UNSET else value for value in column] if name in gaps else column
            if name in self._checks:
                check = self._checks[name]
                if not all(check(value) for value in column if value is not UNSET):
                    return None
        shapes = self._shapes(gaps, columns) if gaps else None
        return Columns(
            columns,
            extracted=[message.time_extracted for message in messages],
            versions=[message.version for message in messages],
            shapes=shapes,
        )

    def _message(self, stream: str, columns: Mapping[str, Any]) -> Any:
        fields: list[Any] = [
            (f"f{place}", kind) if name in self._needed else (f"f{place}", kind | UnsetType, UNSET)
            for place, (name, kind) in enumerate(columns.items())
        ]
        renamed = dict(zip([each[0] for each in fields], columns, strict=True))
        record = msgspec.defstruct("Record", fields, rename=renamed, forbid_unknown_fields=True, gc=False, kw_only=True)
        needed: list[tuple[str, Any]] = [("type", Literal["RECORD"]), ("stream", Literal[stream]), ("record", record)]
        optional = [("time_extracted", Any, None), ("version", Any, None)]
        # Unknown members are forbidden, because msgspec skips them without checking that they are JSON.
        return msgspec.defstruct("Message", [*needed, *optional], forbid_unknown_fields=True, gc=False)

    @staticmethod
    def _shapes(gaps: Mapping[str, Sequence[bool]], columns: Iterable[str]) -> Shapes:
        """Return which records have the same columns.

        Args:
            gaps: For each column that some records lack, whether each record lacks it.
            columns: The names of all columns.
        """
        shapes: dict[tuple[str, ...], Sequence[int]] = {}
        holes: defaultdict[tuple[bool, ...], list[int]] = defaultdict(list)
        for row, lacks in enumerate(zip(*gaps.values(), strict=True)):
            holes[lacks].append(row)
        for lacks, rows in holes.items():
            lacking = {name for name, is_lacking in zip(gaps, lacks, strict=True) if is_lacking}
            shapes[tuple(name for name in columns if name not in lacking)] = rows
        return shapes

    def _column(self, name: str, schema: Any) -> Any:
        """Return the type of a column.

        Raises:
            NotPlainError: The column's schema cannot be expressed as a type.
        """
        if schema is True:
            return Any
        if not isinstance(schema, dict):
            raise NotPlainError
        kinds = _names(schema.get("type", []))
        bounded = {keyword for kind in kinds for keyword in _BOUNDS.get(kind, ())} & schema.keys()
        anything = {keyword for keyword, ways in _ANYTHING.items() if schema.get(keyword) in ways}
        _only(schema, {"type", *bounded, *anything})
        if not kinds:
            return Any
        # If records are not validated, the schema was not compiled, and may name types that do not exist.
        if not _DECODED.keys() >= {*kinds}:
            raise NotPlainError
        if bounded and (_NUMBER in kinds or any(type(schema[keyword]) is not int for keyword in bounded)):
            raise NotPlainError
        if _NUMBER in kinds:
            self._kinds[name] = frozenset().union(*(_DECODED[kind] for kind in kinds))
            return Any
        return Union[tuple(_bounded(kind, schema) for kind in kinds)]  # noqa: UP007 -- so many are known only now


def _refers(schema: object) -> bool:
    """Return whether a part of a schema depends on the rest of it."""
    if isinstance(schema, dict):
        return not _WHOLE.isdisjoint(schema) or any(map(_refers, schema.values()))
    return isinstance(schema, list) and any(map(_refers, schema))


def _bounded(kind: str, schema: Mapping[str, Any]) -> Any:
    """Return the type, with its bounds, for one of JSON schema's types.

    Raises:
        NotPlainError: msgspec cannot express the bounds.
    """
    bounds = {name: schema[keyword] for keyword, name in _BOUNDS.get(kind, {}).items() if keyword in schema}
    if not all(bound in _INT64 for bound in bounds.values()):
        raise NotPlainError
    try:
        return Annotated[_TYPES[kind], msgspec.Meta(**bounds)] if bounds else _TYPES[kind]
    except ValueError:  # such as a length below zero
        raise NotPlainError from None


def _only(schema: Mapping[str, Any], keywords: frozenset[str] | set[str]) -> None:
    """Check that a schema has no other keywords.

    Raises:
        NotPlainError: It has others.
    """
    if any(
        keyword not in keywords and keyword not in _SAYS_NOTHING and not keyword.startswith(_EXTENSION)
        for keyword in schema
    ):
        raise NotPlainError


def _names(value: object) -> list[str]:
    """Return a list of texts, or a single text as a list.

    Raises:
        NotPlainError: The value is neither.
    """
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise NotPlainError
    return listed


_ANY_TYPE = ("array", "boolean", "null", "number", "object", "string")


def normalize(message: Message, error: Callable[[str], InputError]) -> Message:
    """Return a SCHEMA message whose key properties are a list, and whose schema has `properties`.

    A schema without columns, such as a document store's, gets its key properties as columns, which stream maps need.

    Args:
        message: The message.
        error: Creates an error about the current line.

    Raises:
        InputError: The message cannot be used.
    """
    keys, schema = message.get("key_properties") or [], message["schema"]
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        msg = "is a SCHEMA whose `key_properties` are not a list of names"
        raise error(msg)
    if not isinstance(schema, dict):
        msg = "is a SCHEMA whose schema is not an object"
        raise error(msg)
    if is_too_deep(schema):
        msg = "is a SCHEMA that is nested too deeply"
        raise error(msg)
    # With an empty schema, singer-sdk's flattening would turn the column into a text.
    properties = schema.get("properties") or {key: {"anyOf": [{"type": [*_ANY_TYPE]}]} for key in keys}
    if not isinstance(properties, dict):
        msg = "is a SCHEMA whose `properties` are not an object"
        raise error(msg)
    return {**message, "schema": {**schema, "properties": properties}, "key_properties": keys}
