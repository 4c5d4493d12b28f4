"""The configuration, code and commands of the guide "From a lakehouse to Statsig" that need no Spark."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from target_statsig.engine.table import to_rows
from tests.documents import blocks
from tests.tools.plugin_definition import ROOT

GUIDE = ROOT / "docs" / "from-a-lakehouse-to-statsig.md"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Make a folder with the guide's configuration and two files of orders."""
    monkeypatch.chdir(tmp_path)
    (config,) = [block for block in blocks(GUIDE) if block.file == "config.json"]
    (tmp_path / "config.json").write_text(config.text)
    for number, name in enumerate(("orders.parquet", "more.parquet")):
        ids = range(100 * number, 100 * number + 100)
        columns = {"id": ids, "user_id": [f"u{n}" for n in ids], "amount": [1.5] * 100}
        pq.write_table(pa.table({**columns, "ordered_at": ["2026-01-31T12:00:00Z"] * 100}), tmp_path / name)
    return tmp_path


def records(folder):
    rows = [row for path in sorted(folder.glob("part-*.parquet")) for row in to_rows(pq.read_table(path))]
    assert [row.count for row in rows] == [100] * len(rows)
    return sorted(json.loads(line)["record"]["id"] for row in rows for line in row.lines)


def test_the_pyarrow_code_writes_the_table(folder):
    code = [block.text for block in blocks(GUIDE) if block.heading == "Without Spark" and block.kind == "python"]
    exec("".join(code[:2]), {"files": ["orders.parquet", "more.parquet"]})
    assert records(folder / "requests") == [*range(200)]


def test_the_command_for_one_machine_writes_the_table(folder):
    (block,) = [each for each in blocks(GUIDE) if each.heading == "Parquet files, on one machine"]
    line = block.text.splitlines()[0]
    command = shlex.split(line)
    done = subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, text=True, timeout=60)
    assert records(folder / "requests") == [*range(100)]
    assert "100 records of stream 'orders'" in done.stdout
