"""The command line, as far as it differs from that of singer-sdk.

Knows click. Refuses to know what is done with the input and with the settings.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from target_statsig.config import read_config_files
from target_statsig.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

FROM_ENVIRONMENT = "ENV"


def adapt(command: click.Command) -> click.Command:
    """Return singer-sdk's command with options of our own, and with an `--input` that is read like a pipe."""
    file_input = next(option for option in command.params if option.name == "file_input")
    # Bytes: a line that is no UTF-8 is to be an error of that line.
    file_input.type = click.File("rb")
    command.params += [
        click.Option(
            ["--replay"],
            is_flag=True,
            help="Send the dead letters again instead of reading input, and remove what went through.",
        ),
        click.Option(
            ["--dry-run"],
            is_flag=True,
            help="Read everything, change nothing, write no STATE, and say what a run would do.",
        ),
        click.Option(
            ["--show-ids"],
            is_flag=True,
            help="With --dry-run: show some ids that would be added and removed, on a terminal only.",
        ),
        click.Option(
            ["--dry-run-output"],
            type=click.Path(dir_okay=False, path_type=Path),
            help="With --dry-run: write the requests that would be sent to this file, as JSON lines.",
        ),
    ]
    return command


def read_config(context: click.Context, values: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return the settings of all files named by `--config`, and whether variables are to be read, too.

    Where a file cannot be used, say why and exit with 1.
    """
    files = [path for path in values if path != FROM_ENVIRONMENT]
    try:
        return read_config_files(files), len(files) < len(values)
    except SettingsError as error:
        logger.error("%s", error)  # noqa: TRY400 -- the text says it all
        context.exit(1)
