"""Validating records by their SCHEMA, in one of two ways.

`compile_check` is for any schema. It validates decoded records as singer-sdk does: by the draft that the schema names
(2020-12 if it names none), without asserting formats. If the schema is invalid in that draft, draft 7 and draft 4 are
tried, because taps that write older keywords often name no draft.

`RecordType` is for a schema that gives only the columns of a record and their types. msgspec then decodes and validates
lines in one step, without a dictionary for each record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import compress
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union

import msgspec
from msgspec import UNSET, UnsetType, structs

from target_statsig.errors import InputError
from target_statsig.singer.columns import Columns, Shapes, grouped
from target_statsig.singer.message import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.singer.columns import Column
    from target_statsig.singer.message import Message

Check = Callable[[Mapping[str, Any]], bool]

SCHEMA_KEYWORD = "$schema"
"""The keyword that names the draft."""

_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef", SCHEMA_KEYWORD})
"""Keywords that refer to the rest of the schema. A part with one of them cannot be compiled by itself."""


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


def column_checks(stream: str, schema: dict[str, Any]) -> dict[str, Callable[[object], bool]]:
    """Return, by column, a function that checks whether a value fits it. A column that refers to others has none."""
    compiled = _compiler(stream, schema)
    columns = schema.get("properties", {})
    return {name: compiled(part) for name, part in columns.items() if not _refers(part)}


def _compiler(stream: str, schema: dict[str, Any]) -> Callable[[Any], Callable[[object], bool]]:
    """Return a function that compiles a schema, or a part of it, by the draft in which it is valid.

    Raises as `compile_check`.
    """
    import jsonschema_rs  # slow to import, and seldom needed in a worker

    named = {SCHEMA_KEYWORD: schema[SCHEMA_KEYWORD]} if SCHEMA_KEYWORD in schema else {}

    def compiled(make: Callable[..., Any], part: Any) -> Callable[[object], bool]:
        if isinstance(part, dict):
            part = {**{name: each for name, each in part.items() if name != SCHEMA_KEYWORD}, **named}
        # By default jsonschema-rs asserts formats under drafts 4 and 7, and rejects the times of log-based taps.
        is_valid = make(part, validate_formats=False, offline=True).is_valid

        def check(value: object) -> bool:
            try:
                return bool(is_valid(value))
            except ValueError:
                # A stream map may produce a value that is not JSON, such as a datetime. No JSON type fits it.
                return False

        return check

    faults: list[ValueError] = []
    for make in (jsonschema_rs.validator_for, jsonschema_rs.Draft7Validator, jsonschema_rs.Draft4Validator):
        try:
            compiled(make, schema)
        except ValueError as error:  # a ValidationError, or the schema holds half a surrogate pair
            if str(error).startswith("Unknown meta-schema"):
                return _compiler(stream, {name: part for name, part in schema.items() if name != SCHEMA_KEYWORD})
            faults.append(error)
        else:
            return partial(compiled, make)
    where = "/".join(map(str, getattr(faults[0], "instance_path", ()))) or "its root"
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

_ROOT_KEYWORDS = frozenset({"type", "properties", "required", "additionalProperties", "$schema", "$id", "id"})
"""Keywords in the schema of a table. `additionalProperties` may have any value, because a record with a column beyond
the schema does not fit the type anyway."""

_TYPES: Mapping[str, type] = {
    "null": NoneType,
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "array": list,
}
"""JSON schema's types as Python's. msgspec is as strict as a validator: a text is no number, and 1.0 no integer."""

_SCALARS = frozenset({"null", "string", "integer", "number", "boolean"})
"""Types whose values hold no other values."""

_NUMBER = "number"
"""msgspec would turn integers of this type into floats. So its columns are decoded without a type, and checked
afterwards."""

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
    """A schema cannot be expressed as a type. Raised by the functions below."""


class RecordType:
    """Decodes and validates records of one stream that have no columns beyond its schema.

    A column whose schema gives only a type is validated by msgspec while decoding, any other column afterwards.

    Attributes:
        names: The columns of the schema.
        is_flat: Whether no column can hold an object or a list.
    """

    def __init__(
        self, stream: str, schema: dict[str, Any], key_properties: Sequence[str] = (), *, validates: bool = True
    ) -> None:
        """Create the type.

        Raises:
            InputError: As `compile_check`.
            NotPlainError: The schema restricts records by more than their columns.
        """
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            raise NotPlainError
        _only(schema, _ROOT_KEYWORDS)
        if schema.get("type", "object") not in ("object", ["object"]):
            raise NotPlainError
        self._required = {*_names(schema.get("required", [])), *key_properties}
        if not properties.keys() >= self._required:
            raise NotPlainError
        self.names: Final = tuple(properties)
        self._allowed: dict[str, set[type]] = {}
        """For columns that msgspec does not validate: the types that their values may have."""
        self._checks: dict[str, Callable[[object], bool]] = {}
        """Compiled schemas of columns that no type expresses."""
        self.is_flat = True
        to_compile: list[str] = []
        types: dict[str, Any] = {}
        for name, part in properties.items():
            try:
                types[name] = self._column(name, part)
            except NotPlainError:
                if not isinstance(part, dict) or _refers(part):
                    raise
                types[name] = Any
                to_compile.append(name)
            kinds = _names(part.get("type", [])) if isinstance(part, dict) else []
            self.is_flat = self.is_flat and _SCALARS.issuperset(kinds) and bool(kinds) and name not in to_compile
        if to_compile and validates:
            compiled = _compiler(stream, schema)
            self._checks = {name: compiled(properties[name]) for name in to_compile}
        try:
            self._decode = msgspec.json.Decoder(self._message(stream, types), float_hook=Decimal).decode_lines
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
            # Only columns with an empty value, such as UNSET, are looked at closely.
            if name in self._allowed or (name not in self._required and not all(column)):
                found = set(map(type, column))
                if found == {UnsetType}:
                    continue  # no record has the column
                if UnsetType in found:
                    gaps[name] = [value is UNSET for value in column]
                    found.discard(UnsetType)
                if name in self._allowed and not self._allowed[name] >= found:
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

    def _message(self, stream: str, types: Mapping[str, Any]) -> Any:
        """Return the type of a RECORD message, given the types of the columns."""
        fields: list[Any] = [
            (f"f{number}", each) if name in self._required else (f"f{number}", each | UnsetType, UNSET)
            for number, (name, each) in enumerate(types.items())
        ]
        renamed = dict(zip([each[0] for each in fields], types, strict=True))
        record = msgspec.defstruct("Record", fields, rename=renamed, forbid_unknown_fields=True, gc=False, kw_only=True)
        required: list[tuple[str, Any]] = [("type", Literal["RECORD"]), ("stream", Literal[stream]), ("record", record)]
        optional = [("time_extracted", Any, None), ("version", Any, None)]
        # Unknown members are forbidden, because msgspec skips them without checking that they are JSON.
        return msgspec.defstruct("Message", [*required, *optional], forbid_unknown_fields=True, gc=False)

    @staticmethod
    def _shapes(gaps: Mapping[str, Sequence[bool]], columns: Iterable[str]) -> Shapes:
        """Return which records have the same columns; `gaps` are the columns that some lack, and which do."""
        shapes: dict[tuple[str, ...], Sequence[int]] = {}
        for lacks, rows in grouped(zip(*gaps.values(), strict=True)).items():
            lacking = {*compress(gaps, lacks)}
            shapes[tuple(name for name in columns if name not in lacking)] = rows
        return shapes

    def _column(self, name: str, schema: Any) -> Any:
        """Return the type of a column, unless its schema is not plain."""
        if schema is True:
            return Any
        if not isinstance(schema, dict):
            raise NotPlainError
        kinds = _names(schema.get("type", []))
        bounded = {keyword for kind in kinds for keyword in _BOUNDS.get(kind, ())} & schema.keys()
        anything = {keyword for keyword, values in _ANYTHING.items() if schema.get(keyword) in values}
        _only(schema, {"type", *bounded, *anything})
        if not kinds:
            return Any
        # If records are not validated, the schema was not compiled, and may name types that do not exist.
        if not {_NUMBER, *_TYPES} >= {*kinds}:
            raise NotPlainError
        if bounded and (_NUMBER in kinds or any(type(schema[keyword]) is not int for keyword in bounded)):
            raise NotPlainError
        if _NUMBER in kinds:
            self._allowed[name] = {int, Decimal, *(_TYPES[kind] for kind in kinds if kind != _NUMBER)}
            return Any
        return Union[tuple(_bounded(kind, schema) for kind in kinds)]  # noqa: UP007 -- their number varies


def _refers(schema: object) -> bool:
    """Return whether a part of a schema depends on the rest of it."""
    if isinstance(schema, dict):
        return not _REFERENCES.isdisjoint(schema) or any(map(_refers, schema.values()))
    return isinstance(schema, list) and any(map(_refers, schema))


def _bounded(kind: str, schema: Mapping[str, Any]) -> Any:
    """Return the type, with its bounds, for one of JSON schema's types, unless msgspec cannot express the bounds."""
    bounds = {name: schema[keyword] for keyword, name in _BOUNDS.get(kind, {}).items() if keyword in schema}
    if not all(bound in _INT64 for bound in bounds.values()):
        raise NotPlainError
    try:
        return Annotated[_TYPES[kind], msgspec.Meta(**bounds)] if bounds else _TYPES[kind]
    except ValueError:  # such as a length below zero
        raise NotPlainError from None


def _only(schema: Mapping[str, Any], keywords: frozenset[str] | set[str]) -> None:
    """Check that a schema has no other keywords."""
    if any(
        keyword not in keywords and keyword not in _SAYS_NOTHING and not keyword.startswith("x-") for keyword in schema
    ):
        raise NotPlainError


def _names(value: object) -> list[str]:
    """Return a list of texts, or a single text as a list, unless the value is neither."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise NotPlainError
    return listed


_ANY_TYPE = ("array", "boolean", "null", "number", "object", "string")


def normalize(message: Message, error: Callable[[str], InputError]) -> Message:
    """Return a SCHEMA message whose key properties are a list, and whose schema has `properties`.

    A schema without columns, such as a document store's, gets its key properties as columns, which stream maps need.
    `error` creates an error about the current line.

    Raises:
        InputError: The message cannot be used.
    """
    keys, schema = message.get("key_properties") or [], message["schema"]
    keys = [keys] if isinstance(keys, str) else keys
    fault = ""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        fault = "whose `key_properties` are not a list of names"
    elif not isinstance(schema, dict):
        fault = "whose schema is not an object"
    elif is_too_deep(schema):
        fault = "that is nested too deeply"
    elif not isinstance(schema.get("properties") or {}, dict):
        fault = "whose `properties` are not an object"
    if fault:
        msg = f"is a SCHEMA {fault}"
        raise error(msg)
    # With an empty schema, singer-sdk's flattening would turn the column into a text.
    properties = schema.get("properties") or {key: {"anyOf": [{"type": [*_ANY_TYPE]}]} for key in keys}
    return {**message, "schema": {**schema, "properties": properties}, "key_properties": keys}
