"""The raw configuration: files, variables, and the keys with dots that Meltano splits or loses.

No error quotes the content of a file or a variable, which may hold a key.

Meltano splits the keys of `meltano.yml` at their dots. It silently loses such keys of an object setting that comes from
the environment, such as `TARGET_STATSIG_EVENT_NAME_MAPPING='{"Order v2.0": "order"}'`. It also passes the variable to
the loader, so they can be restored. A Meltano command (`meltano invoke target-statsig:check`) gets no file, only
variables with the objects split into one variable per path.
"""

from __future__ import annotations

import copy
import ipaddress
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from target_statsig.config.settings import MAPPINGS, STREAM_TYPES
from target_statsig.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_statsig.config.settings import Settings

    Keys = tuple[str, ...]

VARIABLE_PREFIX = "TARGET_STATSIG_"

TRIAL = "STATSIG_EMULATOR_URL"
"""`statsig-emulator` sets this variable to its address for the command beside it."""

SWITCHES = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
"""Texts of booleans, in any case."""

MELTANO_PREFIX = "MELTANO_LOAD_"
"""Meltano sets a variable with this prefix for every setting of a loader, whatever the plugin's name."""

LOADER_NAME = "MELTANO_LOADER_NAME"
"""Meltano sets this variable to the loader's name in the project."""

ESCAPED_DOT = "\\."
"""A dot at which Meltano does not split; it passes such a key with a plain dot."""

SEPARATOR = re.compile(r"(?<!\\)\.")
"""The dot that separates a path."""


def read_config_files(paths: Iterable[str]) -> dict[str, Any]:
    """Return the merged settings of all files, or raise a SettingsError with a text for each that cannot be used."""
    settings: dict[str, Any] = {}
    errors = []
    for path in paths:
        try:
            content = json.loads(Path(path).read_bytes())
            if isinstance(content, dict):
                settings |= content
                continue
            fault = "must hold a JSON object"
        except OSError as error:
            fault = f"cannot be read: {error.strerror}"
        except json.JSONDecodeError as error:
            fault = f"is not valid JSON (line {error.lineno}, column {error.colno})"
        except UnicodeDecodeError:
            fault = "is not valid UTF-8"
        errors.append(f"The configuration file {path} {fault}.")
    if errors:
        raise SettingsError(errors)
    return settings


def typed(texts: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of some variables. Text that is not of its setting's type stays: the schema has the error."""
    settings: dict[str, Any] = {}
    for name, text in texts.items():
        kinds = schema["properties"][name].get("type", "string")
        settings[name] = text
        if "boolean" in kinds:
            settings[name] = SWITCHES.get(text.lower(), text)
        elif "string" not in kinds:
            with suppress(ValueError):
                settings[name] = json.loads(text)
    return settings


def check_trial(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise a SettingsError if what runs beside an emulator would send elsewhere."""
    urls = {"events_url": settings.server_secret_key, "console_url": settings.console_api_key}
    elsewhere = [
        f"`{name}`" for name, key in urls.items() if key and not is_loopback(getattr(settings, name).partition("//")[2])
    ]
    if environ.get(TRIAL) and elsewhere:
        msg = (
            f"This command runs beside statsig-emulator ({TRIAL} is set), but {' and '.join(elsewhere)} would send it "
            "elsewhere. Add `--config ENV`, which reads the emulator's addresses and keys. To send to Statsig, run it "
            f"without the emulator and unset {TRIAL}."
        )
        raise SettingsError([msg])


def is_loopback(server: str) -> bool:
    """Return whether a server, as in a `Host` header or after the `//` of a URL, is `localhost` or a loopback IP."""
    try:
        host = urlsplit(f"//{server}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def replay_command(environ: Mapping[str, str]) -> str:
    """Return the command line of a replay; under Meltano it is a command of the plugin."""
    loader = environ.get(LOADER_NAME)
    return f"meltano invoke {loader}:replay" if loader else "target-statsig --config … --replay"


def restore_keys(raw: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return a configuration with the keys that Meltano split at their dots, or dropped, in `streams` and mappings."""
    config = copy.deepcopy(dict(raw))
    for setting in ("streams", *MAPPINGS):
        got, given = config.get(setting, {}), None
        with suppress(ValueError):
            given = json.loads(environ.get(MELTANO_PREFIX + setting.upper(), "{}"))
        if not isinstance(got, Mapping):
            continue
        leaves = _joined(setting, got)
        if isinstance(given, Mapping):
            known = {path[:length] for path in leaves for length in range(1, len(path) + 1)}
            for path, leaf in _joined(setting, given).items():
                dotted = next((path[: place + 1] for place, part in enumerate(path) if "." in part), None)
                if leaf is not None and dotted is not None and dotted not in known:  # Meltano drops no other key
                    leaves[path] = leaf
        if leaves:
            config[setting] = _nested(leaves)
    return config


def _joined(setting: str, value: Mapping[str, Any]) -> dict[Keys, Any]:
    """Return the plain values by whole keys: one in a mapping; in `streams` a stream, a setting, a key in that."""
    leaves = dict(_leaves(value))
    if setting != "streams":
        return {(_whole(path),): leaf for path, leaf in leaves.items()}
    if not all(isinstance(entry, Mapping) for entry in value.values()):  # paths such as `orders.object_type`
        leaves = {tuple(SEPARATOR.split(".".join(path))): leaf for path, leaf in leaves.items()}
    names = {path[: _name_length(path)] for path in leaves}
    joined = {}
    for path, leaf in leaves.items():
        # A misspelt setting belongs to a stream that others name.
        end = _name_length(path) or max((n for n in range(1, len(path)) if path[:n] in names), default=1)
        parts = (path[:end], path[end : end + 1], path[end + 1 :])
        joined[tuple(_whole(part) for part in parts if part)] = leaf
    return joined


def _whole(parts: Keys) -> str:
    return ".".join(parts).replace(ESCAPED_DOT, ".")


def _leaves(value: Mapping[str, Any], way: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, (*way, key))
        else:
            yield (*way, key), inner


def _name_length(path: Keys) -> int:
    """Return how many parts of a path are a stream's name: those before a setting. 0 if it has no setting."""
    return next((place for place, part in enumerate(path) if place and part in STREAM_TYPES), 0)


def _nested(leaves: Mapping[Keys, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for (*way, name), leaf in leaves.items():
        place: Any = nested
        for part in way:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                break  # `{"orders": "text", "orders.dedupe": false}`: the schema says what is wrong
        else:
            place[name] = leaf
    return nested
