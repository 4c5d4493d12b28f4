"""Tables that are refused before the first request, and what is no reason to."""

from __future__ import annotations

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from target_statsig.engine.files import open_table
from target_statsig.engine.table import to_batch
from tests.engine.tables import ORDERS, arrived, once, orders, prepared_rows, refused, write_file


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("hdfs3a://bucket/orders", "Unsupported filesystem", id="no such file system"),
        pytest.param("gs://bucket/orders", "Please install gcsfs", id="a package is missing"),
    ],
)
def test_a_table_where_no_file_can_be_opened_is_refused(send, statsig, url, words):
    refused(send(url), statsig, "The input cannot be used", words, "Nothing was sent.")


def test_a_table_with_a_missing_partition_is_refused(send, table, statsig):
    url = table(orders(0, 10), orders(10, 20), orders(20, 30), success=False)
    (url / "part-00001.parquet").unlink()
    refused(send(url), statsig, "The input cannot be used", "is not complete: all or part of partition 1 is missing")


def test_a_table_that_lacks_several_partitions_names_ten_of_them(send, table, statsig):
    url = table(*[[each] for each in orders(0, 14)], success=False)
    for number in (1, 3):
        (url / f"part-{number:05}.parquet").unlink()
    refused(send(url), statsig, "all or part of partitions 1, 3 is missing")
    for number in range(4, 13):
        (url / f"part-{number:05}.parquet").unlink()
    refused(send(url), statsig, "all or part of partitions 1, 3, 4, 5, 6, 7, 8, 9, 10, 11 and more is missing")


def test_a_table_that_is_not_complete_and_has_no_rows_is_refused(send, tmp_path, statsig):
    write_file(tmp_path / "table", "part-00000", [])
    refused(send(tmp_path / "table"), statsig, "is not complete: it has no rows")


@pytest.mark.parametrize("success", [True, False])
def test_a_table_that_is_still_written_is_refused_unless_it_is_marked_as_complete(send, table, statsig, success):
    url = table(orders(0, 10), orders(10, 20), success=success)
    (url / "_temporary").mkdir()
    outcome = send(url)
    if success:
        assert arrived(statsig) == once(0, 20)
    else:
        refused(outcome, statsig, "is not complete", "a directory `_temporary`", "Nothing was sent.")


def test_a_table_whose_partition_was_cut_off_is_refused(send, tmp_path, statsig):
    rows = prepared_rows(ORDERS, orders(0, 30))
    write_file(tmp_path / "table", "part-0", rows[:-1])
    refused(send(tmp_path / "table"), statsig, "is not complete: all or part of partition 0 is missing")


def test_a_table_that_lacks_a_row_is_refused_whatever_the_engine_says(send, tmp_path, statsig):
    rows = prepared_rows(ORDERS, orders(0, 30))
    write_file(tmp_path / "table", "part-0", [rows[0], rows[2]])
    (tmp_path / "table" / "_SUCCESS").touch()
    refused(send(tmp_path / "table"), statsig, "is not complete: all or part of partition 0")


@pytest.mark.parametrize("success", [True, False])
def test_a_table_with_two_attempts_of_one_partition_is_refused(send, table, statsig, success):
    url = table(orders(0, 10), orders(10, 20), success=success)
    write_file(url, "part-00001-again", prepared_rows(ORDERS, orders(10, 20), partition=1, attempt=9))
    refused(send(url), statsig, "holds partition 1 more than once")


def test_a_file_that_is_there_twice_is_refused(send, table, statsig):
    url = table(orders(0, 10), orders(10, 20))
    (url / "copy.parquet").write_bytes((url / "part-00000.parquet").read_bytes())
    refused(send(url), statsig, "holds partition 0 more than once")


def test_what_a_broken_attempt_left_behind_is_not_sent(send, table, statsig):
    url = table(orders(0, 30))
    write_file(url, "part-broken", prepared_rows(ORDERS, orders(0, 30), attempt=9)[:-1])
    assert send(url).exit_code == 0
    assert arrived(statsig) == once(30)


def test_a_table_of_another_configuration_is_refused(send, table, statsig):
    url = table(orders(0, 10))
    refused(send(url, event_name="other"), statsig, "was prepared for stream 'orders' with another configuration")


def test_a_table_of_another_version_is_refused(send, table, statsig):
    refused(send(table(orders(0, 10), version=2)), statsig, "has version 2, but this target-statsig sends version 1")


def test_a_table_for_a_segment_is_refused(send, table, statsig):
    outcome = send(
        table(orders(0, 10)),
        object_type="segment",
        segment_id="vips",
        sync_mode="add",
        field_mapping={},
        console_api_key=statsig.console_api_key,
    )
    refused(outcome, statsig, "goes to a segment")


@pytest.mark.slow
def test_a_large_table_is_surveyed_in_little_memory(tmp_path):
    rows = 200_000
    (row,) = prepared_rows(ORDERS, orders(1))
    same = pa.Table.from_batches([to_batch([row])]).take(pa.array([0] * rows))
    columns = {"sequence": pa.array(range(rows), pa.int32()), "is_last": pa.array([n == rows - 1 for n in range(rows)])}
    for name, values in columns.items():
        same = same.set_column(same.schema.get_field_index(name), name, values)
    pq.write_table(same, tmp_path / "part-0.parquet")
    tracemalloc.start()
    try:
        table = open_table(str(tmp_path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert table.requests == rows
    assert peak < 8 << 20  # a list of the numbers alone would take 8 MB, and a set of them 15


def test_two_tables_in_one_directory_are_refused(send, table, statsig):
    url = table(orders(0, 10))
    rows = prepared_rows({**ORDERS, "event_name": "x"}, orders(0, 10), partition=1)
    write_file(url, "other", rows)
    refused(send(url), statsig, "was not prepared at one time")


def test_rows_that_nobody_prepared_are_refused(send, tmp_path, statsig):
    for name in ("others", "rows"):
        pq.write_table(pa.table({"id": [1]}), tmp_path / f"{name}.parquet")
    refused(send(tmp_path / "rows.parquet"), statsig, "holds rows that were not prepared: rows.parquet has no")


def test_a_table_that_does_not_name_its_version_is_refused(send, table, statsig):
    url = table(orders(0, 10))
    path = url / "part-00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns("version"), path)
    refused(send(url), statsig, "part-00000.parquet has no column 'version'")


@pytest.mark.parametrize("url", ["nowhere", "nowhere/*.parquet", "empty"])
def test_a_place_without_files_is_refused(send, tmp_path, statsig, url):
    (tmp_path / "empty").mkdir()
    refused(send(tmp_path / url), statsig, "has no Parquet files that this user can list")


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_table_with_a_directory_that_cannot_be_listed_is_refused(send, table, statsig):
    url = table(orders(0, 10), orders(10, 20), success=True)
    (url / "day=2").mkdir()
    (url / "part-00001.parquet").rename(url / "day=2" / "part-00001.parquet")
    (url / "day=2").chmod(0o000)
    refused(send(url), statsig, "cannot be read: PermissionError")


@pytest.mark.usefixtures("bound_by_permissions")
@pytest.mark.parametrize("name", [".snapshot", "_temporary"])
def test_a_hidden_directory_need_not_be_listed(send, table, statsig, name):
    url = table(orders(0, 10))
    (url / name).mkdir(mode=0o000)
    assert send(url).exit_code == 0
    assert arrived(statsig) == once(10)


def test_a_file_that_is_no_parquet_is_refused(send, tmp_path, statsig):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "part.parquet").write_bytes(b"PAR1 but no more")
    refused(send(tmp_path / "table"), statsig, "cannot be read: ArrowInvalid in part.parquet", "prepare it again")
