"""A SCHEMA message as the rest may rely on it, whichever of Singer's dialects the tap writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_statsig.singer.message import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_statsig.errors import InputError
    from target_statsig.singer.message import Message


_ANY_TYPE = ("array", "boolean", "null", "number", "object", "string")


def normalize(message: Message, error: Callable[[str], InputError]) -> Message:
    """Return a SCHEMA message whose key properties are a list, and whose schema has `properties`.

    One that names no columns, as that of a document store does, has at least its key properties: stream maps ask for
    them.

    Args:
        message: The message, with its `schema`.
        error: Makes an error of what the line is.

    Raises:
        InputError: It is beyond that.
    """
    keys, schema = message.get("key_properties") or [], message["schema"]
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        msg = "is a SCHEMA whose `key_properties` are no list of names"
        raise error(msg)
    if not isinstance(schema, dict):
        msg = "is a SCHEMA whose schema is no object"
        raise error(msg)
    if is_too_deep(schema):
        msg = "is a SCHEMA that is nested too deeply"
        raise error(msg)
    # A column of which a schema says nothing at all would be a text for singer-sdk's flattening.
    properties = schema.get("properties") or {key: {"anyOf": [{"type": [*_ANY_TYPE]}]} for key in keys}
    if not isinstance(properties, dict):
        msg = "is a SCHEMA whose `properties` are no object"
        raise error(msg)
    return {**message, "schema": {**schema, "properties": properties}, "key_properties": keys}
