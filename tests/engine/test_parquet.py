"""Parquet files, prepared on this machine without any engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from target_statsig.engine import parquet, prepare_batches
from target_statsig.engine.__main__ import main
from target_statsig.engine.files import open_table
from target_statsig.engine.parquet import prepare_files
from target_statsig.engine.table import SCHEMA, to_rows
from target_statsig.errors import InputError
from tests.engine.tables import ORDERS

CONFIG = {"streams": {"orders": {"object_type": "event", "event_name": "order"}}}


@pytest.fixture
def orders(tmp_path):
    """Give a function that writes a file of orders with these ids."""

    def written(name, ids, **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"id": ids, "user_id": [f"u{n}" for n in ids], **columns})
        pq.write_table(table, path, row_group_size=100)
        return str(path)

    return written


def rows_of(directory):
    return [row for path in sorted(directory.glob("part-*.parquet")) for row in to_rows(pq.read_table(path))]


def ids_of(rows):
    return sorted(json.loads(line)["record"]["id"] for row in rows for line in row.lines)


@pytest.fixture(autouse=True)
def pool_in_here(monkeypatch):
    """Prepare in threads, which start at once; the program alone does it in processes."""
    monkeypatch.setattr(parquet, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))


@pytest.fixture
def refusal(monkeypatch):
    """Run the program within this process, and return why it prepares nothing."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["python -m target_statsig.engine", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code

    return run


def test_files_become_a_table_that_says_that_it_is_whole(tmp_path, orders):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG | {"server_secret_key": "secret-canary"}))
    files = [orders("a.parquet", range(1_000)), orders("b.parquet", range(1_000, 1_200))]
    arguments = [*files, "--config", config, "--out", tmp_path / "table"]
    program = [sys.executable, "-m", "target_statsig.engine", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1,200 records of stream 'orders': 3 requests, 0 rejected" in done.stdout
    assert f"--send {tmp_path / 'table'}" in done.stdout
    assert (tmp_path / "table" / "_SUCCESS").exists()
    rows = rows_of(tmp_path / "table")
    assert ids_of(rows) == [*range(1_200)]
    assert [(row.partition, row.is_last) for row in rows] == [(0, False), (0, True), (1, True)]
    assert pq.read_schema(tmp_path / "table" / "part-00000.parquet").equals(SCHEMA)
    assert not any(b"canary" in path.read_bytes() for path in (tmp_path / "table").iterdir())


def test_row_groups_are_shared_out(monkeypatch, tmp_path, orders):
    monkeypatch.setattr(parquet, "PART_ROWS", 250)
    counts = prepare_files([orders("a.parquet", range(1_000))], prepare_batches(CONFIG, "orders"), tmp_path / "table")
    rows = rows_of(tmp_path / "table")
    assert ids_of(rows) == [*range(1_000)]
    assert [row.partition for row in rows if row.is_last] == [0, 1, 2, 3]
    assert counts == {"records": 1_000, "requests": 4, "rejected": 0, "deleted": 0}


def test_a_directory_stands_for_its_files_and_its_path_for_columns(tmp_path, orders):
    orders("days/day=7/a.parquet", range(3))
    orders("days/day=8/a.parquet", range(3, 5))
    prepare_files([str(tmp_path / "days")], prepare_batches(CONFIG, "orders"), tmp_path / "table")
    lines = [json.loads(line)["record"] for row in rows_of(tmp_path / "table") for line in row.lines]
    assert sorted((line["id"], line["day"]) for line in lines) == [(0, 7), (1, 7), (2, 7), (3, 8), (4, 8)]


def test_a_whole_table_is_not_prepared_again(tmp_path, orders, refusal):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "_SUCCESS").touch()
    told = refusal(orders("a.parquet", [1]), "--config", config, "--out", tmp_path / "table")
    assert "already holds a complete table" in told
    assert [path.name for path in (tmp_path / "table").iterdir()] == ["_SUCCESS"]


def test_what_a_run_left_that_was_ended_is_replaced(tmp_path, orders):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "part-00007.parquet").write_bytes(b"half")
    prepare_files([orders("a.parquet", [1])], prepare_batches(CONFIG, "orders"), tmp_path / "table")
    assert ids_of(rows_of(tmp_path / "table")) == [1]


def test_what_an_ended_run_leaves_is_not_sent_and_is_whole_after_another(tmp_path, orders):
    files = [orders("a.parquet", [1]), str(tmp_path / "b.parquet")]
    (tmp_path / "b.parquet").write_bytes(b"half")
    with pytest.raises(pa.ArrowInvalid):
        prepare_files(files, prepare_batches(CONFIG, "orders"), tmp_path / "table")
    assert ids_of(rows_of(tmp_path / "table")) == [1]
    with pytest.raises(InputError, match="has not ended, or has failed"):
        open_table(str(tmp_path / "table"))
    orders("b.parquet", [2])
    prepare_files(files, prepare_batches(CONFIG, "orders"), tmp_path / "table")
    assert open_table(str(tmp_path / "table")).records == 2


def test_a_file_without_rows_becomes_a_table_without_requests(tmp_path, send):
    with pq.ParquetWriter(tmp_path / "empty.parquet", pa.schema([("id", pa.int64())])):
        pass  # no row group, as some engines write no rows
    prepare_files([str(tmp_path / "empty.parquet")], prepare_batches(ORDERS, "orders"), tmp_path / "table")
    assert send(tmp_path / "table").exit_code == 0


def test_files_of_others_stay_as_they_are(tmp_path, orders):
    path = tmp_path / "table" / "part-00000-5c6f.snappy.parquet"
    path.parent.mkdir()
    path.write_bytes(b"theirs")
    prepare_files([orders("a.parquet", [1])], prepare_batches(CONFIG, "orders"), tmp_path / "table")
    assert path.read_bytes() == b"theirs"


@pytest.mark.parametrize("out", ["orders", "orders/../orders", "."])
def test_rows_are_not_replaced_by_their_table(tmp_path, orders, refusal, out):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    path = Path(orders("orders/part-00000.parquet", [1]))
    before = path.read_bytes()
    assert "holds the rows to prepare" in refusal(path.parent, "--config", config, "--out", tmp_path / out)
    assert path.read_bytes() == before


def test_rows_elsewhere_may_have_the_path_of_the_table(tmp_path, orders):
    content = Path(orders("a.parquet", [1])).read_bytes()
    fsspec.filesystem("memory").pipe_file(f"{tmp_path}/table/a.parquet", content)
    prepare_files([f"fsspec+memory:/{tmp_path}/table"], prepare_batches(CONFIG, "orders"), tmp_path / "table")
    assert ids_of(rows_of(tmp_path / "table")) == [1]


@pytest.mark.parametrize(
    ("config", "name", "words"),
    [
        pytest.param({"streams": {"a": {}, "b": {}}}, "a.parquet", "`streams` names 2 streams", id="which stream"),
        pytest.param(CONFIG, "none.parquet", "none.parquet", id="no such file"),
        pytest.param(CONFIG, "empty", "no Parquet files in", id="no files"),
        pytest.param(
            {"streams": {"vip": {"object_type": "segment", "segment_id": "vip", "sync_mode": "add"}}},
            "a.parquet", "goes to a segment", id="segment",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_said_in_a_sentence(tmp_path, orders, refusal, config, name, words):
    orders("a.parquet", [1])
    (tmp_path / "empty").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = refusal(tmp_path / name, "--config", tmp_path / "config.json", "--out", tmp_path / "table")
    assert re.match(f"Nothing can be sent: .*{words}", told)
    assert not (tmp_path / "table" / "_SUCCESS").exists()
