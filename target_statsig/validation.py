"""Whether a record has its key properties, and keeps to the schema that its tap announced.

Compiled once per SCHEMA message. Means what singer-sdk's own validation means: the draft is the one that the schema
names (2020-12 where it names none), and formats are not asserted. A schema in the words of an older draft is judged by
that one: taps that write them name none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from target_statsig._compat import override
from target_statsig.columns import NotPlainError, RecordType
from target_statsig.exceptions import InputError, MissingKeyError, RecordError
from target_statsig.record import NESTED_TOO_DEEPLY, is_too_deep

Check = Callable[[Mapping[str, Any]], bool]

UNKNOWN_DRAFT = "Unknown meta-schema"


class RecordCheck:
    """What is asked of each record before it is mapped; it pickles, so that another process can ask, too."""

    def __init__(
        self, stream: str, schema: dict[str, Any], key_properties: Sequence[str], *, validates: bool = True
    ) -> None:
        """Take the schema.

        Args:
            stream: The stream's name.
            schema: The JSON schema.
            key_properties: Columns that no record may lack.
            validates: Whether records have to keep to the schema.
        """
        self._stream = stream
        self._schema = schema
        self._key_properties = tuple(key_properties)
        self._validates = validates

    @cached_property
    def is_sound(self) -> Check:
        """What tells whether nothing is wrong with a record, and takes no longer than it must.

        Raises:
            InputError: The schema cannot be used; so is said when it is first asked for.
        """
        return compile_check(self._stream, self._schema if self._validates else None, self._key_properties)

    @cached_property
    def record_type(self) -> RecordType | None:
        """The type of records that are sound beyond doubt; None where the schema is too much for one."""
        try:
            return RecordType(self._stream, self._schema, self._key_properties)
        except NotPlainError:
            return None

    def fault_of(self, record: Mapping[str, Any]) -> RecordError | None:
        """Return what is wrong with a record, if anything is: how deep it is, a key that it lacks, or its schema."""
        if self.is_sound(record):
            return None
        if is_too_deep(record):
            return RecordError(NESTED_TOO_DEEPLY)
        missing = next((name for name in self._key_properties if name not in record), None)
        return RecordError("schema_violation") if missing is None else MissingKeyError(missing)

    @override
    def __reduce__(self) -> tuple[Callable[..., RecordCheck], tuple[str, dict[str, Any], Sequence[str]]]:
        """Compile it where it arrives, if it is needed there."""
        remade = partial(RecordCheck, validates=self._validates)
        return remade, (self._stream, self._schema, self._key_properties)


def compile_check(stream: str, schema: dict[str, Any] | None, key_properties: Sequence[str] = ()) -> Check:
    """Return a function that tells whether a record has its key properties, keeps to a schema, and is not too deep.

    Args:
        stream: The stream's name, for the error.
        schema: The JSON schema of a SCHEMA message; None where any record will do.
        key_properties: Columns that no record may lack.

    Raises:
        InputError: The schema is no valid JSON schema, or refers to something outside of itself.
    """
    is_valid = _anything if schema is None else _keeps_to(stream, schema)

    def check(record: Mapping[str, Any]) -> bool:
        if is_too_deep(record):
            return False
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
        f"Nothing of this stream was sent. Mend it in the tap, or set `validate_records` to false."
    )
    raise InputError(msg)
