"""The configuration of a preparation: the target's own, without its keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_statsig.config.load import read_config_files, rejoin
from target_statsig.config.parse import parse_config
from target_statsig.config.schema import config_schema
from target_statsig.errors import SettingsError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from target_statsig.config.parse import Config

Configuration = Mapping[str, Any] | str | Path
"""The settings, or the path of their file."""

KEYS: Mapping[str, str | None] = {
    "server_secret_key": "secret-of-the-sender",
    "console_api_key": "console-of-the-sender",
    "store_url": None,
}
"""Settings that only the sender needs, and their values for the preparation."""

CHANGES_RECORDS = ("stream_maps", "flattening_enabled")
"""Settings of singer-sdk that would change records. On an engine, use a query instead."""

SINGERS_OWN = (
    *("add_record_metadata", "faker_config", "flattening_max_depth", "flattening_max_key_length"),
    *("flattening_separator", "process_activate_version_messages", "stream_map_config", "validate_records"),
)
"""singer-sdk's other settings, which do not apply to Arrow columns."""


def read_settings(config: Configuration) -> dict[str, Any]:
    """Return the settings as they are written.

    Raises:
        SettingsError: The file cannot be read.
    """
    return rejoin(config if isinstance(config, Mapping) else read_config_files([str(config)]))


def load(config: Configuration) -> Config:
    """Return a configuration as the target parses it.

    Raises:
        SettingsError: It cannot be used, or not for prepared tables.
    """
    given = read_settings(config)
    changing = [f"`{name}`" for name in CHANGES_RECORDS if given.get(name)]
    if changing:
        msg = f"{' and '.join(changing)} cannot be used here. Change the records in the query."
        raise SettingsError([msg])
    own = {name: value for name, value in given.items() if name not in {*CHANGES_RECORDS, *SINGERS_OWN}}
    return parse_config(own, config_schema())


def load_without_keys(config: Configuration) -> Config:
    """Return a configuration as `load` does, but without its keys, if it has any.

    Raises:
        SettingsError: It cannot be used, or not for prepared tables.
    """
    return load({**read_settings(config), **KEYS})


def only_stream(config: Configuration) -> str:
    """Return the only stream that `streams` names.

    Raises:
        SettingsError: It names none, or more than one.
    """
    streams = [*(read_settings(config).get("streams") or {})]
    if len(streams) != 1:
        msg = f"`streams` names {counted(len(streams), 'stream')}. Say which one to use (`stream`)."
        raise SettingsError([msg])
    return str(streams[0])
