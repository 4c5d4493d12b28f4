"""A raw configuration held against its JSON schema: what is wrong with it in plain words, and what is left of it.

What does not fit is told and left out, so that the rest can be checked in the same go. Refuses to know what settings
mean; no text quotes a value, which may be a secret.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jsonschema import Draft7Validator

from target_statsig.config.schema import STREAM_TYPES
from target_statsig.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema.exceptions import ValidationError


@dataclass(frozen=True, slots=True)
class Fitted:
    """A configuration after the check.

    Attributes:
        config: What of it fits the schema.
        errors: A text for each thing that does not.
        told: What a text begins with that is about a setting which was told already.
    """

    config: dict[str, Any]
    errors: list[str]
    told: tuple[str, ...]


def fit(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Fitted:
    """Tell what of a configuration does not fit its schema, and leave it out."""
    rest = copy.deepcopy(dict(config))
    errors: list[str] = []
    told: list[str] = []
    for error in Draft7Validator(schema).iter_errors(config):
        errors += _describe(error, schema)
        for path in _settings_at_fault(error, schema):
            _remove(rest, path)
            told += _beginnings(path, rest)
    return Fitted(rest, errors, tuple(told))


def _settings_at_fault(error: ValidationError, schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    path = tuple(str(part) for part in error.absolute_path)
    instance: Any = error.instance
    depth = 3 if path[:1] == ("streams",) else 1
    if error.validator == "additionalProperties" and len(path) < depth:
        known = STREAM_TYPES if path else schema["properties"]
        yield from ((*path, name) for name in instance.keys() - known.keys())
    else:
        yield path[:depth]


def _remove(config: dict[str, Any], path: tuple[str, ...]) -> None:
    *way, name = path
    for step in way:
        config = config.get(step, {})
    config.pop(name, None)


def _beginnings(path: tuple[str, ...], rest: Mapping[str, Any]) -> list[str]:
    """Return what a text about a setting begins with; one at the top level is a default of every stream."""
    setting = f"`{path[-1]}`"
    if len(path) > 1:
        return [f"streams.{path[1]}: {setting}"]
    return [setting, *(f"streams.{stream}: {setting}" for stream in rest.get("streams", {}))]


def _describe(error: ValidationError, schema: Mapping[str, Any]) -> Iterator[str]:
    path = [str(part) for part in error.absolute_path]
    where = f"streams.{path[1]}: " if len(path) > 1 and path[0] == "streams" else ""
    setting = ".".join(path[2:] if where else path) or "streams"
    wanted: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        known = STREAM_TYPES if where else schema["properties"]
        for name in sorted(instance.keys() - known.keys()):
            yield f"{where}`{name}` is not a setting{_suggestion(name, known)}"
    elif error.validator == "type":
        kind = wanted if isinstance(wanted, str) else next(kind for kind in wanted if kind != "null")
        article = "an" if kind in {"integer", "object", "array"} else "a"
        yield f"{where}`{setting}` must be {article} {kind}."
    elif error.validator in {"anyOf", "oneOf"}:
        # singer-sdk's settings; of several ways the last is the one that says most.
        ways = [*(error.context or ())]
        yield from _describe(max(reversed(ways), key=lambda fault: len(fault.absolute_path)), schema)
    elif error.validator == "enum":
        yield f"{where}`{setting}` must be one of {', '.join(wanted)}."
    elif error.validator in {"minimum", "maximum"}:
        least = "least" if error.validator == "minimum" else "most"
        yield f"{where}`{setting}` must be at {least} {wanted}."
    elif error.validator == "minLength":
        yield f"{where}`{setting}` must not be empty: leave it out, or give it a value."
    else:
        yield f"{where}`{setting}` does not fit its schema ({error.validator})."


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    if name == "load_method":
        return ": what happens to a segment is said by `sync_mode`, and events are always appended."
    near = nearest(name, known)
    return f"; did you mean `{near}`?" if near else "."
