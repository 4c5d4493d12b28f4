"""Parquet files, prepared on this machine without any engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
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
from tests.command import PATIENCE
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
    (tmp_path / "table" / "_temporary").mkdir(parents=True)
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


@pytest.mark.parametrize(
    "theirs",
    ["part-00000-5c6f.snappy.parquet", "part-00000.parquet", "day=7/rows.parquet", "_temporary/0/rows.parquet"],
)
def test_a_directory_with_files_of_others_is_refused_before_any_work(tmp_path, orders, refusal, theirs):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    path = tmp_path / "table" / theirs
    path.parent.mkdir(parents=True)
    path.write_bytes(b"theirs")
    told = refusal(orders("a.parquet", [1]), "--config", config, "--out", tmp_path / "table")
    assert f"table is not empty: it holds {tmp_path}" in told
    assert path.read_bytes() == b"theirs"
    assert [each for each in (tmp_path / "table").rglob("*") if each.is_file()] == [path]


@pytest.mark.parametrize("is_interrupted", [False, True])
@pytest.mark.parametrize("out", ["orders", "orders/../orders", "."])
def test_rows_are_not_replaced_by_their_table(tmp_path, orders, refusal, out, is_interrupted):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    path = Path(orders("orders/part-00000.parquet", [1]))
    if is_interrupted:
        (tmp_path / out / "_temporary").mkdir()
    before = path.read_bytes()
    assert "is not empty" in refusal(path.parent, "--config", config, "--out", tmp_path / out)
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
        pytest.param(CONFIG, "none.parquet", "There is no file .*none.parquet", id="no such file"),
        pytest.param(CONFIG, "damaged.parquet", r"(?s:.*cannot be read: .*)\w\. Write it", id="damaged file"),
        pytest.param(CONFIG, "empty", "no Parquet files in", id="no files"),
        pytest.param(
            {"streams": {"vip": {"object_type": "segment", "segment_id": "vip", "sync_mode": "add"}}},
            "a.parquet", "goes to a segment", id="segment",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_said_in_a_sentence(tmp_path, orders, refusal, config, name, words):
    content = Path(orders("a.parquet", range(100))).read_bytes()
    (tmp_path / "damaged.parquet").write_bytes(content[:8] + bytes(100) + content[108:])
    (tmp_path / "empty").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = refusal(tmp_path / name, "--config", tmp_path / "config.json", "--out", tmp_path / "table")
    assert re.match(f"Nothing can be sent: .*{words}", told)
    assert not (tmp_path / "table" / "_SUCCESS").exists()


def test_a_directory_is_not_taken_together_with_files(tmp_path, orders, refusal):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    files = [orders("a.parquet", [1]), Path(orders("days/b.parquet", [2])).parent]
    told = refusal(*files, "--config", tmp_path / "config.json", "--out", tmp_path / "table")
    assert f"There is no file {files[1]}. Name Parquet files, or one directory alone." in told


def test_settings_may_come_from_several_files_and_from_variables(tmp_path, orders, refusal, monkeypatch, capsys):
    (tmp_path / "a.json").write_text(json.dumps({"batch_size_rows": 100}))
    (tmp_path / "b.json").write_text(json.dumps({"dedupe": False}))
    monkeypatch.setenv("TARGET_STATSIG_STREAMS", json.dumps(CONFIG["streams"]))
    monkeypatch.setenv("TARGET_STATSIG_BATCH_SIZE_ROWS", "50")
    given = ["--config", tmp_path / "a.json", "--config", tmp_path / "b.json", "--config", "ENV"]
    arguments = [orders("a.parquet", range(150)), *given, "--out", tmp_path / "table"]
    monkeypatch.setattr("sys.argv", ["python -m target_statsig.engine", *map(str, arguments)])
    main()
    assert "3 requests" in capsys.readouterr().out
    assert {row.digests for row in rows_of(tmp_path / "table")} == {b""}
    monkeypatch.setenv("TARGET_STATSIG_FLATTENING_ENABLED", "true")
    assert "`flattening_enabled` cannot be used here" in refusal(*arguments)


@pytest.fixture
def busy_program(tmp_path, orders):
    """Start the program in a group of its own, with work for some seconds, and return it and its worker processes."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    file = tmp_path / "many.parquet"
    table = pa.table({"id": range(4_000_000), "user_id": pa.array(["u"] * 4_000_000).dictionary_encode()})
    pq.write_table(table, file, row_group_size=200_000)
    program = [sys.executable, "-m", "target_statsig.engine", file, "--config", config, "--out", tmp_path / "table"]
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be ignored, as where tests run with nohup
    process = subprocess.Popen([*map(str, program)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    signal.signal(signal.SIGINT, handler)
    eventually((tmp_path / "table" / "part-00000.parquet").exists)
    yield process
    process.kill()
    process.communicate()


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def group_of(process):
    """Return the processes of a program's group that are alive."""
    states = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
    return [fields for fields in states if int(fields[2]) == process.pid and fields[0] != "Z"]


@pytest.mark.e2e
def test_ctrl_c_ends_all_processes_and_says_what_is_there(busy_program, tmp_path):
    os.killpg(busy_program.pid, signal.SIGINT)
    _, errors = busy_program.communicate(timeout=PATIENCE)
    assert busy_program.returncode == 130
    assert errors == f"Interrupted. {tmp_path / 'table'} holds no complete table. Run the same command again.\n"
    eventually(lambda: not group_of(busy_program))


@pytest.mark.e2e
def test_no_process_outlives_a_program_that_is_killed(busy_program):
    assert len(group_of(busy_program)) > 1
    busy_program.kill()
    eventually(lambda: not group_of(busy_program))
