"""The configuration: declared in `schema`, read by `parse`, given to streams by `routing`."""

from target_statsig.config.environment import environment_errors
from target_statsig.config.files import read_config_files
from target_statsig.config.meltano import restore_dotted_keys
from target_statsig.config.parse import Config, parse_config, rejoin
from target_statsig.config.schema import config_schema

__all__ = [
    "Config",
    "config_schema",
    "environment_errors",
    "parse_config",
    "read_config_files",
    "rejoin",
    "restore_dotted_keys",
]
