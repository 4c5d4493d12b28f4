"""Reading Arrow columns as the values of a tap's records, and their schema as a SCHEMA message."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import types

from target_statsig.errors import InputError
from target_statsig.singer.message import ENCODER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from target_statsig.singer.columns import Column

_NANOSECONDS = re.compile(r"\.0{9}$|(?<=\.\d{6})000$", re.MULTILINE)
"""The zeros at the end of nanoseconds, which are cut."""


def read_columns(batches: Sequence[pa.RecordBatch]) -> dict[str, Column]:
    """Return the values that the records of a tap would have, by column: texts, integers, `Decimal`, and so on.

    Floats stay floats if all of a column print without an exponent; else each becomes the decimal that it prints as. So
    they are encoded with the same digits as a tap's. An instant is in UTC, like `2026-01-31T12:00:00.250000+00:00`; a
    timestamp without a zone stays without one. Binary becomes base64. A map becomes an object; keys that are no texts
    become their JSON. All batches have the same columns.
    """
    columns: dict[str, Column] = {}
    for place, name in enumerate(batches[0].schema.names):
        first, *others = [_read(batch.column(place)) for batch in batches]
        columns[name] = [*chain(first, *others)] if others else first
    return columns


def _read(array: pa.Array) -> list[Any]:
    if types.is_dictionary(array.type):
        return _read(array.dictionary_decode())
    if _is_plain(array):
        with suppress(ValueError):  # a text is not UTF-8, or a struct has two members of the same name
            return _plain(array)
    return next(read for is_type, _, read in _TYPES if is_type(array.type))(array)


def _plain(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _texts(array: pa.Array) -> list[Any]:
    # Bytes that are not UTF-8 become halves of surrogate pairs, which JSON cannot hold. So only these records are
    # rejected.
    raw = _plain(array.cast(pa.large_binary()))
    return [None if value is None else value.decode(errors="surrogateescape") for value in raw]


def _floats(array: pa.Array) -> list[Any]:
    if not types.is_float64(array.type):
        # The shortest digits for a float of this size, such as 0.1, and not 0.10000000149011612.
        return _read(array.cast(pa.float32()).cast(pa.string()).cast(pa.float64()))
    return [value if value is None else Decimal(repr(value)) for value in array.to_pylist()]


def _print_plainly(floats: pa.Array) -> bool:
    """Return whether all numbers are finite and encoded without an exponent. A tap may write exponents otherwise."""
    text = ENCODER.encode(floats.drop_null().to_pylist())
    return b"e" not in text and b"null" not in text  # NaN and infinity are encoded as null


def _decimals(array: pa.Array) -> list[Any]:
    # Converting their texts takes half the time.
    texts = array.cast(pa.string()).to_pylist()
    values = [*map(Decimal, texts)] if array.null_count == 0 else [text and Decimal(text) for text in texts]
    return values if array.type.scale > 0 else [None if value is None else int(value) for value in values]


def _binary(array: pa.Array) -> list[Any]:
    return [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]


def _timestamps(array: pa.Array) -> list[Any]:
    # Arrow stores instants in UTC, so the zone can be dropped.
    local = array.cast(pa.int64()).cast(pa.timestamp(array.type.unit))
    return _moments(local, pa.timestamp("us"), "" if array.type.tz is None else "+00:00")


def _moments(array: pa.Array, microseconds: pa.DataType, zone: str = "") -> list[Any]:
    """Return times as Python's `isoformat` writes them, with six digits of a second's fraction, or none."""
    with suppress(pa.ArrowInvalid):  # some have nanoseconds, or are out of range
        array = array.cast(microseconds)
    # All in one text: one by one takes four times as long.
    text = "\n".join(array.cast(pa.string()).fill_null("").to_pylist()).replace(" ", "T")
    text = text.replace(".000000", "") if array.type == microseconds else _NANOSECONDS.sub("", text)
    moments = (text.replace("\n", f"{zone}\n") + zone).split("\n") if len(array) else []
    if not array.null_count:
        return [*moments]
    return [None if is_null else moment for is_null, moment in zip(array.is_null().to_pylist(), moments, strict=True)]


def _lists(array: pa.Array) -> list[Any]:
    if types.is_fixed_size_list(array.type):
        # Not cast to another list: where members are of the type null, Arrow then cuts the arrays within.
        size, members = array.type.list_size, iter(_read(array.flatten()))
        return [None if is_null else [*islice(members, size)] for is_null in array.is_null().to_pylist()]
    return [*_members(array, array.values)]


def _maps(array: pa.Array) -> list[Any]:
    keys, values = _members(array, array.keys), _members(array, array.items)
    return [
        None if names is None else dict(zip(map(_key, names), members or (), strict=True))
        for names, members in zip(keys, values, strict=True)
    ]


def _members(array: pa.Array, flat: pa.Array) -> Iterator[list[Any] | None]:
    """Yield the members of each list of an array, or None for null; `flat` has those of all lists."""
    offsets = array.offsets.to_pylist()
    first = offsets[0]
    values = _read(flat.slice(first, offsets[-1] - first))
    for is_null, (start, end) in zip(array.is_null().to_pylist(), pairwise(offsets), strict=True):
        yield None if is_null else values[start - first : end - first]


def _structs(array: pa.Array) -> list[Any]:
    members = {member.name: values for member, values in zip(array.type, array.flatten(), strict=True)}
    try:
        return _objects(array, members, [name for name, values in members.items() if not _is_plain(values)])
    except UnicodeDecodeError:
        return _objects(array, members, [*members])


def _objects(array: pa.Array, members: Mapping[str, pa.Array], apart: Sequence[str]) -> list[Any]:
    """Return structs as objects. `apart` names the members that have to be read by themselves.

    Reading all others at once takes a third of the time.
    """
    nothing = pa.nulls(len(array), pa.bool_())  # the type null takes many times as long
    at_once = [nothing if name in apart else values for name, values in members.items()]
    objects = _plain(pa.StructArray.from_arrays(at_once, [*members], mask=array.is_null()))
    for name in apart:
        for each, value in zip(objects, _read(members[name]), strict=True):
            if value is not None:
                each[name] = value
    return objects


def _key(value: Any) -> str:
    return value if isinstance(value, str) else ENCODER.encode(value).decode()


def _any_of(*predicates: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    return lambda kind: any(is_type(kind) for is_type in predicates)


_is_text = _any_of(types.is_string, types.is_large_string, types.is_string_view)

_is_binary = _any_of(types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)

_is_list = _any_of(types.is_list, types.is_large_list, types.is_fixed_size_list)


def _is_plain(array: pa.Array) -> bool:
    """Return whether Arrow's Python values of an array are those of JSON."""
    kind = array.type
    if types.is_struct(kind):
        return all(map(_is_plain, array.flatten()))
    if _is_list(kind):
        return _is_plain(array.flatten())
    if types.is_float64(kind):
        return _print_plainly(array)
    return _is_text(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind)


_TYPES: Sequence[tuple[Callable[[pa.DataType], bool], str, Callable[[pa.Array], list[Any]]]] = (
    (_is_text, "string", _texts),
    (types.is_integer, "integer", _plain),
    (types.is_boolean, "boolean", _plain),
    (types.is_floating, "number", _floats),
    (types.is_timestamp, "string", _timestamps),
    (types.is_decimal, "number", _decimals),
    (types.is_date, "string", lambda array: _plain(array.cast(pa.date32()).cast(pa.string()))),
    (types.is_null, "null", _plain),
    (types.is_struct, "object", _structs),
    (types.is_map, "object", _maps),
    (_is_list, "array", _lists),
    (_is_binary, "string", _binary),
    (types.is_time, "string", lambda array: _moments(array, pa.time64("us"))),
)
"""The types of columns, each with the JSON type of its values and the function that reads it."""


def check_schema(schema: pa.Schema) -> None:
    """Check that every column can be read.

    Raises:
        InputError: There are no columns, one has a type that JSON cannot hold, or two have the same name.
    """
    if not schema.names:
        msg = "The input has no columns. Select at least those that the settings name."
        raise InputError(msg)
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        msg = f"Two columns are named `{twice[0]}`. Rename one in the query."
        raise InputError(msg)
    for column in schema:
        fault = _unreadable(column.type)
        if fault is not None:
            raise no_json_form(column.name, fault)


def no_json_form(column: str, kind: object) -> InputError:
    """Return the error of a column with a type, here or within it, that JSON cannot hold."""
    return InputError(f"Column `{column}`: the type {kind} has no JSON form. Cast it to another type in the query.")


def _unreadable(kind: pa.DataType) -> pa.DataType | None:
    """Return the first type within a column's type that cannot be read, or None."""
    if types.is_dictionary(kind) or _is_list(kind):
        return _unreadable(kind.value_type)
    if types.is_map(kind):
        return _unreadable(kind.key_type) or _unreadable(kind.item_type)
    if types.is_struct(kind):
        if any(b"variant" in (member.metadata or {}) for member in kind):  # as Spark marks its variants
            return kind
        return next(filter(None, (_unreadable(member.type) for member in kind)), None)
    return None if any(is_type(kind) for is_type, _, _ in _TYPES) else kind


def member_order(kind: pa.DataType) -> dict[str, Any] | None:
    """Return the members of a struct in order, each with its own; of a list, those of its values; of the rest, None."""
    if types.is_dictionary(kind) or _is_list(kind):
        return member_order(kind.value_type)
    return {member.name: member_order(member.type) for member in kind} if types.is_struct(kind) else None


def singer_schema(stream: str, schema: pa.Schema) -> str:
    """Return the SCHEMA message of the records of a stream, as a line of JSON without its end."""
    properties = {column.name: {"type": [*dict.fromkeys((_json_type(column.type), "null"))]} for column in schema}
    body = {"type": "object", "properties": properties}
    return json.dumps({"type": "SCHEMA", "stream": stream, "schema": body, "key_properties": []})


def _json_type(kind: pa.DataType) -> str:
    if types.is_dictionary(kind):
        return _json_type(kind.value_type)
    return next(name for is_type, name, _ in _TYPES if is_type(kind))
