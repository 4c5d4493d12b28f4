"""`python -m target_statsig.engine`: prepares Parquet files on this machine, with all of its processors."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pyarrow as pa

from target_statsig.engine.parquet import prepare_files
from target_statsig.engine.prepare import only_stream, prepare_batches
from target_statsig.errors import TargetStatsigError
from target_statsig.reports.text import counted


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m target_statsig.engine",
        description="Prepares the rows of Parquet files as requests, on all processors. Sends nothing: "
        "`target-statsig --config … --send DIR` does.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a Parquet file, or a directory of them")
    parser.add_argument("--config", required=True, help="the configuration of the target")
    parser.add_argument("--stream", help="the stream, if `streams` names more than one")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the directory for the table")
    given = parser.parse_args()
    try:
        stream = given.stream or only_stream(given.config)
        counts = prepare_files(given.files, prepare_batches(given.config, stream), given.out)
    except (TargetStatsigError, OSError, pa.ArrowException, BrokenProcessPool) as error:
        sys.exit(f"Nothing can be sent: {error}")
    print(  # noqa: T201 -- what the command says
        f"{counted(counts['records'], 'record')} of stream '{stream}': {counted(counts['requests'], 'request')}, "
        f"{counts['rejected']:,} rejected, {counts['deleted']:,} deleted. Send them: "
        f"target-statsig --config {given.config} --send {given.out}"
    )


if __name__ == "__main__":
    main()
