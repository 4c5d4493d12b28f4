"""The raw configuration: files, variables, and the keys with dots that Meltano splits or loses.

No error quotes the content of a file or a variable, which may hold a key.

Meltano splits the keys of `meltano.yml` at their dots. It silently loses such keys of an object setting that comes from
the environment, such as `TARGET_STATSIG_EVENT_NAME_MAPPING='{"Order v2.0": "order"}'`. It also passes the variable to
the loader, so they can be restored. A Meltano command (`meltano invoke target-statsig:check`) gets no file, only
variables with the objects split into one variable per path.
"""

from __future__ import annotations

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
    from collections.abc import Iterable

    from target_statsig.config.settings import Settings

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
    """Return the merged settings of all files.

    Raises:
        SettingsError: With a text for each file that cannot be used.
    """
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
            "elsewhere. To use the emulator, add `--config ENV`, which reads its addresses and keys from the "
            f"environment. To send to Statsig, run the command without the emulator and unset {TRIAL}."
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
    config = _join(raw)
    for setting in ("streams", *MAPPINGS):
        given, got = None, config.get(setting, {})
        with suppress(ValueError):
            given = json.loads(environ.get(MELTANO_PREFIX + setting.upper(), "{}"))
        if given and isinstance(given, Mapping) and isinstance(got, Mapping):
            config[setting] = _with_dropped(got, _unescape(_join({setting: given})[setting]))
    return config


def _join(raw: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(raw)
    if isinstance(streams := config.get("streams"), Mapping):
        config["streams"] = {
            name: _join_mappings(entry) if isinstance(entry, Mapping) else entry
            for name, entry in join_stream_names(_without_paths(streams)).items()
        }
    return _join_mappings(config)


def _join_mappings(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: join_dotted_keys(value) if name in MAPPINGS and isinstance(value, Mapping) else value
        for name, value in entry.items()
    }


def _with_dropped(got: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Meltano passed, with the keys that it dropped: those with a dot."""
    restored = dict(got)
    for key, value in given.items():
        inner = got.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            restored[key] = _with_dropped(inner, value)
        elif "." in key and key not in got and value is not None:
            restored[key] = value
    return restored


def _unescape(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key.replace(ESCAPED_DOT, "."): _unescape(inner) for key, inner in value.items()}


def _without_paths(streams: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object for each stream from paths of settings such as `orders.object_type`."""
    if all(isinstance(settings, Mapping) for settings in streams.values()):
        return dict(streams)
    together: dict[str, Any] = {}
    for path, value in streams.items():
        *way, name = (part.replace(ESCAPED_DOT, ".") for part in SEPARATOR.split(path))
        place = together
        for part in way:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                return dict(streams)  # `{"orders": "text", "orders.dedupe": false}`: the schema says what is wrong
        place[name] = value
    return together


def join_dotted_keys(split: Mapping[str, Any]) -> dict[str, Any]:
    """Join keys that Meltano split at their dots: `{"a": {"b": 1}}` becomes `{"a.b": 1}`.

    For mappings with plain values: everything nested was a dotted key.
    """
    joined: dict[str, Any] = {}
    for key, value in split.items():
        if isinstance(value, Mapping):
            joined.update({f"{key}.{rest}": leaf for rest, leaf in join_dotted_keys(value).items()})
        else:
            joined[key] = value
    return joined


def join_stream_names(split: Mapping[str, Any]) -> dict[str, Any]:
    """Join stream names that Meltano split at their dots. An object with settings is an entry."""
    joined: dict[str, Any] = {}
    for name, value in split.items():
        parts = {}
        if isinstance(value, Mapping):
            parts = {key: inner for key, inner in value.items() if _is_name_part(key, inner)}
        for rest, inner in join_stream_names(parts).items():
            joined[f"{name}.{rest}"] = inner
        if not parts:
            joined[name] = value
        elif len(parts) < len(value):
            joined[name] = {key: inner for key, inner in value.items() if key not in parts}
    return joined


def _is_name_part(key: str, value: object) -> bool:
    if key in STREAM_TYPES or not isinstance(value, Mapping):
        return False
    return any(inner in STREAM_TYPES or _is_name_part(inner, deeper) for inner, deeper in value.items())
