"""`python -m target_statsig.engine`: prepares Parquet files on this machine, with all of its processors."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from target_statsig.config.load import VARIABLE_PREFIX, read_config_files, typed
from target_statsig.config.settings import config_schema
from target_statsig.engine.parquet import prepare_files
from target_statsig.engine.prepare import CHANGES_RECORDS, prepare_batches
from target_statsig.errors import TargetStatsigError
from target_statsig.reports.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m target_statsig.engine",
        description="Prepares the rows of Parquet files as requests, on all processors. Sends nothing: "
        "`target-statsig --config … --send DIR` does.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a Parquet file, or a directory of them")
    parser.add_argument(
        "--config",
        required=True,
        action="append",
        help="a file with settings of the target, or ENV for its variables; may be given several times",
    )
    parser.add_argument("--stream", help="the stream, if `streams` names more than one")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the directory for the table")
    given = parser.parse_args()
    try:
        preparer = prepare_batches(_read_settings(given.config), given.stream)
        counts = prepare_files(given.files, preparer, given.out)
    except KeyboardInterrupt:
        print(f"Interrupted. {given.out} holds no complete table. Run the same command again.", file=sys.stderr)  # noqa: T201
        sys.exit(128 + signal.SIGINT)
    except (TargetStatsigError, OSError, pa.ArrowException, BrokenProcessPool) as error:
        sys.exit(f"Nothing can be sent: {error}")
    print(  # noqa: T201 -- what the command says
        f"{counted(counts['records'], 'record')} of stream '{preparer.stream}': "
        f"{counted(counts['requests'], 'request')}, {counts['rejected']:,} rejected, {counts['deleted']:,} deleted. "
        f"Send them: target-statsig {' '.join(f'--config {each}' for each in given.config)} --send {given.out}"
    )


def _read_settings(config: Sequence[str]) -> dict[str, Any]:
    """Return the settings of files, and of variables where one of them is `ENV`."""
    settings = read_config_files(each for each in config if each != "ENV")
    if "ENV" in config:
        schema = config_schema()
        schema["properties"] |= {name: {"type": "object"} for name in CHANGES_RECORDS}
        names = {name: f"{VARIABLE_PREFIX}{name.upper()}" for name in schema["properties"]}
        given = {name: os.environ[variable] for name, variable in names.items() if variable in os.environ}
        settings |= typed(given, schema)
    return settings


if __name__ == "__main__":
    main()
