"""Keys with dots that Meltano leaves out of the configuration it hands over, put back.

Meltano splits the keys of `meltano.yml` at their dots (`routing` joins them again). An object setting that
comes from the environment, such as `TARGET_STATSIG_EVENT_NAME_MAPPING='{"Order v2.0": "order"}'`, loses such
keys altogether, without a word: a run would send events under the wrong names. Meltano hands the variable to
the loader as well, so they can be put back. A command of Meltano's (`meltano invoke target-statsig:check`) gets no
file but variables only, in which the objects are taken apart. Refuses to know what the settings mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from target_statsig.config.schema import MAPPINGS

PREFIX = "MELTANO_LOAD_"
"""Meltano gives every setting of a loader in a variable so named, whatever the plugin's own name; nobody else does."""

LOADER_NAME = "MELTANO_LOADER_NAME"
"""Meltano tells a loader in this variable what the project calls it."""

ESCAPED_DOT = "\\."
"""A dot that Meltano is asked to leave alone; it hands such a key over whole, as a plain dot."""

SEPARATOR = re.compile(r"(?<!\\)\.")
"""The dot between the parts of a path."""


def command_for(option: str, environ: Mapping[str, str]) -> str:
    """Return what to type for an option of this target: under Meltano that is a command of the plugin.

    Args:
        option: Without its dashes, such as `replay`.
        environ: The environment.
    """
    loader = environ.get(LOADER_NAME)
    return f"meltano invoke {loader}:{option}" if loader else f"target-statsig --config … --{option}"


def restore_dotted_keys(config: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration with what Meltano left out of `streams` and of the mappings.

    Args:
        config: The configuration as Meltano handed it over.
        environ: The environment.
    """
    restored = dict(config)
    if isinstance(streams := config.get("streams"), Mapping):
        restored["streams"] = _put_together(streams)
    for setting in ("streams", *MAPPINGS):
        told = _read(environ.get(PREFIX + setting.upper()))
        got = restored.get(setting, {})
        if told and isinstance(got, Mapping):
            restored[setting] = _restore(told, got)
    return restored


def _read(text: str | None) -> Mapping[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, Mapping) else {}


def _put_together(streams: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object for each stream where there is a path for each of its settings: `orders.object_type`."""
    if all(isinstance(settings, Mapping) for settings in streams.values()):
        return dict(streams)
    together: dict[str, Any] = {}
    for path, value in streams.items():
        *way, name = (part.replace(ESCAPED_DOT, ".") for part in SEPARATOR.split(path))
        place = together
        for part in way:
            place = place.setdefault(part, {})
        place[name] = value
    return together


def _restore(told: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, Any]:
    restored = dict(got)
    for key, value in told.items():
        inner = got.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            restored[key] = _restore(value, inner)
        elif "." in key and ESCAPED_DOT not in key and value is not None and not _has_path(got, key.split(".")):
            restored[key] = _unescape(value)
    return restored


def _unescape(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key.replace(ESCAPED_DOT, "."): _unescape(inner) for key, inner in value.items()}


def _has_path(got: object, parts: list[str]) -> bool:
    """Tell whether a key is there after all, split at its dots.

    Meltano gives what stands in `meltano.yml` in the same variable, with the whole path as one key.
    """
    for part in parts:
        if not isinstance(got, Mapping) or part not in got:
            return False
        got = got[part]
    return True
