"""Whether a record keeps to the schema that its tap announced.

Compiled once per SCHEMA message. Means what singer-sdk's own validation means: the draft is the one that the schema
names (2020-12 where it names none), and formats are not asserted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from target_statsig.exceptions import InputError

Check = Callable[[Mapping[str, Any]], bool]

UNKNOWN_DRAFT = "Unknown meta-schema"


def compile_check(stream: str, schema: dict[str, Any]) -> Check:
    """Return a function that tells whether a record keeps to a schema.

    Args:
        stream: The stream's name, for the error.
        schema: The JSON schema of a SCHEMA message.

    Raises:
        InputError: The schema is no valid JSON schema, or refers to something outside of itself.
    """
    try:
        return _compile(schema)
    except jsonschema_rs.ValidationError as error:
        if str(error).startswith(UNKNOWN_DRAFT):
            return compile_check(stream, {name: part for name, part in schema.items() if name != "$schema"})
        where = "/".join(map(str, error.instance_path)) or "its root"
        msg = (
            f"The SCHEMA of stream '{stream}' is no JSON schema that records could be validated by (at {where}). "
            f"Nothing of this stream was sent. Mend it in the tap, or set `validate_records` to false."
        )
        raise InputError(msg) from None


def _compile(schema: dict[str, Any]) -> Check:
    # jsonschema-rs asserts formats under drafts 4 and 7 unless told not to, and would refuse log-based taps' times.
    is_valid = jsonschema_rs.validator_for(schema, validate_formats=False, offline=True).is_valid

    def check(record: Mapping[str, Any]) -> bool:
        try:
            return is_valid(record)
        except ValueError:
            # What a stream map made, a datetime for one, is no JSON value: no JSON type fits it.
            return False

    return check
