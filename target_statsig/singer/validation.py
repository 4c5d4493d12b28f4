"""Whether a record has its key properties and keeps to the schema that its tap announced.

Compiled once per SCHEMA message. Means what singer-sdk's own validation means: the draft is the one that the schema
names (2020-12 where it names none), and formats are not asserted. A schema in the words of an older draft is judged by
that one: taps that write them name none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from target_statsig.errors import InputError

Check = Callable[[Mapping[str, Any]], bool]

UNKNOWN_DRAFT = "Unknown meta-schema"


def compile_check(stream: str, schema: dict[str, Any] | None, key_properties: Sequence[str] = ()) -> Check:
    """Return a function that tells whether a record has its key properties and keeps to a schema.

    Args:
        stream: The stream's name, for the error.
        schema: The JSON schema of a SCHEMA message; None where any record will do.
        key_properties: Columns that no record may lack.

    Raises:
        InputError: The schema is no valid JSON schema, or refers to something outside of itself.
    """
    is_valid = _anything if schema is None else _keeps_to(stream, schema)

    def check(record: Mapping[str, Any]) -> bool:
        for name in key_properties:
            if name not in record:
                return False
        try:
            return is_valid(record)
        except ValueError:
            # What a stream map made, a datetime for one, is no JSON value: no JSON type fits it.
            return False

    return check


def _anything(_: Mapping[str, Any]) -> bool:
    """Take every record: none is to be validated."""
    return True


def _keeps_to(stream: str, schema: dict[str, Any]) -> Check:
    import jsonschema_rs  # a worker has seldom need of it

    def keeps_to(make: Callable[..., Any]) -> Check:
        # jsonschema-rs asserts formats under drafts 4 and 7 unless told not to, and would refuse log-based taps' times.
        check: Check = make(schema, validate_formats=False, offline=True).is_valid
        return check

    try:
        return keeps_to(jsonschema_rs.validator_for)
    except jsonschema_rs.ValidationError as error:
        if str(error).startswith(UNKNOWN_DRAFT):
            return _keeps_to(stream, {name: part for name, part in schema.items() if name != "$schema"})
        fault = error
    for older in (jsonschema_rs.Draft7Validator, jsonschema_rs.Draft4Validator):
        with suppress(jsonschema_rs.ValidationError):
            return keeps_to(older)
    where = "/".join(map(str, fault.instance_path)) or "its root"
    msg = (
        f"The SCHEMA of stream '{stream}' is no JSON schema that records could be validated by (at {where}). "
        f"Nothing of this stream was sent. Fix it in the tap, or set `validate_records` to false."
    )
    raise InputError(msg)
