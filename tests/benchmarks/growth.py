"""The size of the store after 1, 50, 100 and 200 runs: `python -m tests.benchmarks.growth`."""

from __future__ import annotations

import sys
import tempfile

from tests.benchmarks.table import markdown
from tests.ledger.test_growth import KINDS, RUNS, sizes

SHOWN = (1, 50, 100, RUNS)


def table() -> str:
    """Return a row for each kind of stream and number of runs; milliseconds are processor time."""
    rows = []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as directory:
            found = sizes(f"sqlite:///{directory}/store.db", kind)
        for run in SHOWN:
            size = found[run - 1]
            counts = f"{size.batches:,}", f"{size.digests:,}", f"{size.bytes:,}", f"{size.milliseconds:.0f}"
            rows.append([name, f"{run}", *counts])
    return markdown(["stream", "runs", "rows", "records", "bytes", "ms"], rows)


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
