"""The JSON schema of a configuration, from the declarations in `settings`."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from target_statsig.config.settings import REQUIRED, Settings, Sources, StreamSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

JsonSchema = dict[str, Any]

STREAMS = (
    "`{stream name or glob: its settings}`. An exact name wins, then the glob with the longest literal text. Every "
    "stream setting may also stand at the top level, as the default for all streams."
)
"""The description of `streams`, the one setting that holds settings."""

_JSON_TYPES: Mapping[Any, JsonSchema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string", "minLength": 1},
    dict[str, str]: {"type": "object", "additionalProperties": {"type": "string"}},
    dict[str, Sources]: {
        "type": "object",
        "additionalProperties": {
            "type": ["string", "array"],
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
        },
    },
    tuple[str, ...]: {"type": "array", "items": {"type": "string"}},
}
"""By the type of a value; every other type is a closed set."""


def _types(declarations: type) -> dict[str, Any]:
    """Return the type of each setting, without the None of an optional one."""
    hints = get_type_hints(declarations)
    return {name: get_args(hint)[0] if isinstance(hint, UnionType) else hint for name, hint in hints.items()}


STREAM_TYPES = _types(StreamSettings)
"""The types of a stream's settings, by name."""

MAPPINGS = tuple(name for name, kind in STREAM_TYPES.items() if kind in {dict[str, str], dict[str, Sources]})
"""The settings whose keys are a user's own names."""


def config_schema() -> JsonSchema:
    """Return the closed JSON schema of the whole configuration, singer-sdk's own settings aside.

    An entry of `streams` has no defaults: singer-sdk would fill them in and hide the value of the top level.
    """
    entry = _object(_properties(StreamSettings, defaults=False))
    return _object(
        {
            **_properties(Settings),
            "streams": {"type": "object", "additionalProperties": entry, "description": STREAMS},
            **_properties(StreamSettings),
        }
    )


def _object(properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _properties(declarations: type[Settings | StreamSettings], *, defaults: bool = True) -> JsonSchema:
    types = _types(declarations)
    properties: JsonSchema = {}
    for field in dataclasses.fields(declarations):
        kind = types[field.name]
        allowed = _JSON_TYPES.get(kind) or {"type": "string", "enum": [choice.value for choice in kind]}
        schema = {**allowed, **field.metadata}
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if defaults and default is not None and default is not REQUIRED:
            schema["default"] = _to_json(default)
        properties[field.name] = schema
    return properties


def _to_json(default: Any) -> Any:
    if isinstance(default, StrEnum):
        return default.value
    return list(default) if isinstance(default, tuple) else default
