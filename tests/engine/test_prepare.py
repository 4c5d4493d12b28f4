"""What a task makes of its part of a table, and what it may not know."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from isal import isal_zlib

from target_statsig import spark
from target_statsig.config.choices import Compression
from target_statsig.config.settings import StreamSettings, config_schema
from target_statsig.engine import prepare_batches
from target_statsig.engine.prepare import CHANGES_RECORDS, SINGERS_OWN
from target_statsig.engine.table import SCHEMA, to_rows
from target_statsig.errors import InputError, SettingsError
from target_statsig.events.items import EVENTS
from target_statsig.events.prepare import Limits, Preparation
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.target import TargetStatsig
from tests.engine.tables import records_of

ORDERS = {"object_type": "event", "event_name": "order", "metadata_fields": ["id"]}

CONFIG = {"server_secret_key": "secret-canary", "store_url": "sqlite:///canary.db", "streams": {"orders": ORDERS}}


def orders(count, start=0, **columns):
    ids = range(start, start + count)
    times = ["2026-01-31T12:00:00Z"] * count
    return pa.RecordBatch.from_pydict({"id": ids, "user_id": [f"u{n}" for n in ids], "timestamp": times, **columns})


def prepare(batches, *, partition=0, attempt=7, **settings):
    prepared = [*prepare_batches(CONFIG | settings, "orders")(iter(batches), partition=partition, attempt=attempt)]
    assert all(batch.schema == SCHEMA for batch in prepared)
    return [row for batch in prepared for row in to_rows(batch)]


def items(row):
    return json.loads(isal_zlib.decompress(row.body, 31))["events"]


def sent_ids(rows):
    return [int(item["metadata"]["id"]) for row in rows if row.body for item in items(row)]


def test_rows_are_numbered_and_the_last_one_says_that_it_is():
    rows = prepare([orders(1_200)], partition=3)
    assert [(row.partition, row.attempt, row.sequence, row.is_last) for row in rows] == [
        (3, 7, 0, False),
        (3, 7, 1, False),
        (3, 7, 2, True),
    ]
    assert [row.count for row in rows] == [500, 500, 200]
    assert [row.schema is None for row in rows] == [False, True, True]
    assert [row.names for row in rows] == [{"order": 500}, {"order": 500}, {"order": 200}]
    assert sent_ids(rows) == [*range(1_200)]


@pytest.mark.parametrize("batches", [[], [orders(0)]], ids=["no batch", "an empty batch"])
def test_an_empty_part_still_says_that_it_was_prepared(batches):
    (row,) = prepare(batches, partition=9)
    assert (row.partition, row.sequence, row.is_last, row.body, records_of(row)) == (9, 0, True, None, 0)


def test_requests_are_filled_whatever_batches_the_engine_gives():
    small = [orders(30, start) for start in range(0, 990, 30)]
    rows = prepare(small)
    assert [row.count for row in rows] == [500, 490]
    assert sent_ids(rows) == [*range(990)]


def test_large_rows_are_packed_by_their_bytes():
    rows = prepare(
        [orders(100, note=["x" * 900] * 100)],
        batch_size_bytes=10_000,
        streams={"orders": {**ORDERS, "metadata_fields": ["*"]}},
    )
    assert all(row.size <= 10_000 for row in rows)
    assert sum(row.count for row in rows) == 100
    # Later parts are no larger than a request.
    assert {row.rows for row in rows} == {None}


def test_a_row_that_cannot_be_sent_stands_beside_the_others_with_its_reason():
    users = ["u0", None, "u2", None]
    (row,) = prepare([orders(4, user_id=users)])
    assert [(each, reason) for each, reason, _ in row.rejections] == [
        (2, "missing_identifier"),
        (3, "missing_identifier"),
    ]
    ids = [json.loads(line)["record"]["id"] for line in row.lines]
    assert ids == [0, 2, 1, 3]
    assert (row.rows, row.count, records_of(row)) == ([0, 1], 2, 4)


def test_a_rejected_record_keeps_its_digits_beside_a_text_that_is_no_unicode():
    cut = pa.array([b"cut\xff"]).view(pa.string())
    (row,) = prepare([orders(1, user_id=cut, price=[Decimal("12345678901234567890.10")])])
    assert [reason for _, reason, _ in row.rejections] == ["not_encodable"]
    assert b'"price":12345678901234567890.10' in row.lines[0]
    assert json.loads(row.lines[0])["record"]["user_id"] == "cut\udcff"


def test_a_part_of_rows_that_cannot_be_sent_has_no_body():
    (row,) = prepare([orders(2, user_id=pa.nulls(2, pa.string()))])
    assert (row.body, row.rows, row.count, len(row.rejections), len(row.lines)) == (None, None, 0, 2, 2)


def test_deleted_rows_are_counted_and_left_out():
    deleted = [None, "2026-01-30T00:00:00Z", None]
    (row,) = prepare([orders(3, _sdc_deleted_at=deleted)])
    assert (row.deleted, row.count, len(row.lines), records_of(row)) == (1, 2, 2, 3)


def test_the_columns_that_taps_add_stay_in_the_records_and_out_of_the_digests():
    (plain,) = prepare([orders(2)])
    (row,) = prepare([orders(2, _sdc_batched_at=["1", "2"])])
    assert row.digests == plain.digests
    assert [json.loads(line)["record"]["_sdc_batched_at"] for line in row.lines] == ["1", "2"]


def test_what_is_worth_a_warning_comes_along():
    (row,) = prepare([orders(1, timestamp=pa.nulls(1, pa.string()))])
    assert row.mapping_warnings.time_defaulted == 1


def test_nothing_is_remembered_without_dedupe():
    (row,) = prepare([orders(3)], dedupe=False)
    assert row.digests == b""


def test_the_records_of_a_row_make_the_same_request_again():
    place = {"street": "1 High St", "city": {"zip": "D02", "name": "Dublin"}, "at": [{"y": 1.5, "x": 2.0}]}
    batch = orders(3, timestamp=["2026-01-31T12:00:00Z", None, None], place=[place, None, None])
    (row,) = prepare([batch], streams={"orders": {**ORDERS, "metadata_fields": ["id", "place"]}})
    assert items(row)[0]["metadata"]["place"].startswith('{"street":"1 High St","city":{"zip"')
    schema = json.loads(row.schema)["schema"]
    reader = RecordReader("orders", "orders", schema, (), validates=True)
    settings = StreamSettings("event", event_name="order", metadata_fields=("id", "place"))
    again = Preparation(reader, settings, EVENTS, True, Compression.GZIP, None)(
        Batch(row.lines), Limits(500, 10**6, 10**6), 0
    )
    # The span of its times is for this run's `--verify` and stands in no table.
    assert [msgspec.structs.replace(request, span=None) for request in again.requests] == [row.request]


def test_no_key_leaves_the_driver():
    pickled = pickle.dumps(prepare_batches(CONFIG, "orders"))
    assert b"canary" not in pickled


def test_a_key_is_not_needed():
    assert prepare_batches({"streams": {"orders": ORDERS}}, "orders").stream == "orders"


def test_a_task_needs_neither_singer_sdk_nor_a_database(tmp_path):
    (tmp_path / "preparer").write_bytes(pickle.dumps(prepare_batches(CONFIG, "orders")))
    script = (
        "import pickle, sys, pyarrow as pa\n"
        f"prepare = pickle.loads(open({str(tmp_path / 'preparer')!r}, 'rb').read())\n"
        "[*prepare([pa.RecordBatch.from_pydict({'id': [1], 'user_id': ['u']})], partition=0)]\n"
        "print([name for name in ('singer_sdk', 'sqlalchemy', 'requests', 'jsonschema') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_settings_that_only_a_sender_needs_change_nothing():
    kept = {"add_record_metadata": True, "validate_records": False, "dead_letter_path": "/d", "report_path": "/r"}
    digests = {prepare_batches(config, "orders").config_digest for config in (CONFIG, CONFIG | kept)}
    assert len(digests) == 1


def test_every_setting_of_singer_sdk_is_known():
    own = TargetStatsig._whole_schema()["properties"].keys() - config_schema()["properties"].keys()
    assert own == {*SINGERS_OWN, *CHANGES_RECORDS}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(
            {"streams": {"orders": {"object_type": "segment", "segment_id": "vip", "sync_mode": "add"}}},
            "goes to a segment",
            id="segment",
        ),
        pytest.param({"stream_maps": {"orders": {"id": "id"}}}, "`stream_maps` cannot be used here", id="stream maps"),
        pytest.param({"flattening_enabled": True}, "`flattening_enabled` cannot be used here", id="flattening"),
        pytest.param({"batch_size_row": 3}, "did you mean `batch_size_rows`", id="slip"),
        pytest.param({"streams": {}}, "object_type", id="no such stream"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_before_any_task(settings, words):
    with pytest.raises(SettingsError, match=words):
        prepare_batches(CONFIG | settings, "orders")


def test_a_configuration_may_be_a_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    digests = {prepare_batches(config, "orders").config_digest for config in (path, str(path), CONFIG)}
    assert len(digests) == 1


def test_what_is_no_dataframe_is_refused():
    with pytest.raises(TypeError, match="`df` must be a DataFrame of Spark, and not of the type list"):
        spark.prepare([1], CONFIG)


def test_a_column_that_cannot_be_read_ends_the_task():
    with pytest.raises(InputError, match="Column `took`"):
        prepare([orders(1, took=pa.array([1], pa.duration("s")))])
