"""Rows prepared on Spark: whatever fails on the way, each of them stands in the table once, and none is sent."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import ExitStack

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from isal import isal_zlib
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import from_arrow_schema

from target_statsig import spark
from target_statsig.engine.files import open_table
from target_statsig.engine.table import SCHEMA, to_rows
from target_statsig.errors import InputError, SettingsError, TargetStatsigError
from tests.engine import sabotage
from tests.engine.sabotage import Sabotage
from tests.engine.sessions import HOME, limited, session_on, two_hosts

pytestmark = [
    pytest.mark.spark,
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Spark's own
]

COUNT = 20_000

MANY = 100_000

KEY = "secret-canary-of-spark"

LOCAL, CLUSTER, TWO_HOSTS = "local[2,4]", "local-cluster[2,1,1024]", "two hosts"

SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.efficiency.enabled": "false",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.multiplier": "1.1",
    "spark.executor.memory": "512m",
}
"""Any task that takes longer than the others is started on another host, too."""

on_executors_too = pytest.mark.parametrize("session", [LOCAL, CLUSTER], indirect=True)


@pytest.fixture(autouse=True)
def limit():
    with limited():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory for what Spark writes, with tables of orders in 20 row groups each."""
    place = tmp_path_factory.mktemp("spark")
    for count in (COUNT, MANY):
        ids = range(count)
        users = [f"u{n % 9_999}" for n in ids]
        table = pa.table({"id": ids, "user_id": users, "amount": pa.array([n / 4 for n in ids])})
        pq.write_table(table, place / f"{count}.parquet", row_group_size=count // 20)
    return place


@pytest.fixture(scope="module", params=[LOCAL])
def session(request, place):
    with ExitStack() as stack:
        if request.param == TWO_HOSTS:
            master = stack.enter_context(two_hosts(place))
            yield stack.enter_context(session_on(master, place, **SPECULATION))
        else:
            yield stack.enter_context(session_on(request.param, place))


@pytest.fixture
def config(statsig, tmp_path):
    orders = {"object_type": "event", "event_name": "order", "field_mapping": {"event_value": "amount"}}
    return {
        "server_secret_key": KEY,
        "events_url": statsig.events_url,
        "streams": {"orders": orders},
        "batch_size_rows": 200,
        "dead_letter_path": str(tmp_path / "dead"),
    }


@pytest.fixture
def write(place, config, tmp_path):
    """Prepare orders into a table, perhaps with a sabotaged preparer, and return its directory."""

    def written(session, how=None, partitions=4, count=COUNT):
        orders = place / f"{count}.parquet"
        session.conf.set("spark.sql.files.maxPartitionBytes", orders.stat().st_size // 4 + 1)
        with pytest.MonkeyPatch.context() as patch:
            if how is not None:
                patch.setattr(spark, "_prepare", how)
            df = session.read.parquet(str(orders)).coalesce(partitions)
            spark.prepare(df, config).write.mode("overwrite").parquet(str(tmp_path / "table"))
        return tmp_path / "table"

    return written


def assert_whole(table, statsig, partitions=4, count=COUNT):
    """Check that every order stands in the table once, in one complete attempt of each partition, and was not sent."""
    assert (table / "_SUCCESS").exists()
    rows = [row for path in table.glob("*.parquet") for row in to_rows(pq.read_table(path))]
    sent = [item for row in rows if row.body for item in json.loads(isal_zlib.decompress(row.body, 31))["events"]]
    assert Counter(int(item["metadata"]["id"]) for item in sent) == Counter(range(count))
    assert sorted(json.loads(line)["record"]["id"] for row in rows for line in row.lines) == [*range(count)]
    attempts = {(row.partition, row.attempt) for row in rows}
    assert len(attempts) == len({partition for partition, _ in attempts}) == partitions
    for attempt in attempts:
        own = sorted((row for row in rows if (row.partition, row.attempt) == attempt), key=lambda row: row.sequence)
        assert [row.sequence for row in own] == [*range(len(own))]
        assert [row.is_last for row in own] == [False] * (len(own) - 1) + [True]
    assert not statsig.state.requests


@on_executors_too
def test_every_row_is_prepared_once(session, write, statsig):
    assert_whole(write(session, count=MANY), statsig, count=MANY)


@on_executors_too
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_task_that_fails_after_half_its_rows_doubles_nothing(session, write, statsig, attempts):
    assert_whole(write(session, Sabotage(sabotage.fail, attempts=attempts)), statsig)


@on_executors_too
def test_a_python_worker_that_is_killed_doubles_nothing(session, write, statsig):
    assert_whole(write(session, Sabotage(sabotage.kill_worker)), statsig)


@pytest.mark.parametrize("session", [CLUSTER], indirect=True)
def test_an_executor_that_is_killed_doubles_nothing(session, write, statsig):
    assert_whole(write(session, Sabotage(sabotage.kill_executor)), statsig)


@on_executors_too
def test_a_job_that_aborts_is_run_again_with_other_partitions(session, write, statsig, tmp_path):
    with pytest.raises(PySparkException):
        write(session, Sabotage(sabotage.fail, attempts=99))
    assert not (tmp_path / "table" / "_SUCCESS").exists()
    assert_whole(write(session, partitions=3), statsig, partitions=3)


def test_the_columns_are_those_of_the_table(session, place, config):
    df = spark.prepare(session.read.parquet(str(place / f"{COUNT}.parquet")), config)
    (row,) = spark.prepare(session.read.parquet(str(place / f"{COUNT}.parquet")).limit(1), config).collect()
    assert df.schema == from_arrow_schema(SCHEMA)
    assert (row.version, row.stream, row["count"], row.is_last) == (1, "orders", 1, True)


def test_an_empty_partition_is_prepared_too(session, config):
    df = session.createDataFrame([(1, "u1")], "id int, user_id string").repartition(3)
    rows = spark.prepare(df, config).collect()
    assert sorted(row.partition for row in rows if row.is_last) == [0, 1, 2]
    assert sum(row["count"] for row in rows) == 1


def test_an_instant_is_the_same_whatever_the_time_zone_of_the_session(session, config):
    found = []
    for zone in ("UTC", "Asia/Tokyo", "America/St_Johns"):
        session.conf.set("spark.sql.session.timeZone", zone)
        df = session.sql(
            "select 'u' user_id, timestamp'2026-01-31 12:00:00.25Z' at, timestamp_ntz'2026-01-31 12:00' wall"
        )
        (row,) = spark.prepare(df, config).collect()
        head, values = map(json.loads, isal_zlib.decompress(row.source, 31).splitlines())
        found.append((bytes(row.digests), dict(zip(head["columns"], values, strict=True))))
    session.conf.set("spark.sql.session.timeZone", "UTC")
    assert found[0] == found[1] == found[2]
    assert found[0][1] == {"user_id": "u", "at": "2026-01-31T12:00:00.250000+00:00", "wall": "2026-01-31T12:00:00"}


def test_each_batch_of_a_stream_is_sent_once_though_the_query_starts_again(session, config, statsig, tmp_path):
    config |= {"server_secret_key": statsig.server_secret_key, "store_url": f"sqlite:///{tmp_path / 'store.db'}"}
    (tmp_path / "in").mkdir()
    broken = []

    def send_batch(rows, number):
        spark.send(rows, config, staging=str(tmp_path / "staging" / str(number)))
        if number == 1 and not broken:
            broken.append(number)
            raise RuntimeError

    def run_query():
        stream = session.readStream.schema("id int, user_id string").option("maxFilesPerTrigger", 1)
        query = stream.parquet(str(tmp_path / "in")).writeStream.trigger(availableNow=True).foreachBatch(send_batch)
        query.option("checkpointLocation", str(tmp_path / "checkpoint")).start().awaitTermination()

    for number in range(3):
        ids = range(100 * number, 100 * number + 100)
        table = pa.table({"id": pa.array(ids, pa.int32()), "user_id": [f"u{n}" for n in ids]})
        pq.write_table(table, tmp_path / "in" / f"{number}.parquet")
    with pytest.raises(PySparkException):
        run_query()
    run_query()
    assert Counter(int(event["metadata"]["id"]) for event in statsig.state.events) == Counter(range(300))


def test_rows_are_prepared_and_sent_in_one_call(session, config, statsig, tmp_path):
    config |= {"server_secret_key": statsig.server_secret_key, "store_url": f"sqlite:///{tmp_path / 'store.db'}"}
    df = session.createDataFrame([(n, f"u{n}") for n in range(10)], "id int, user_id string")
    report = spark.send(df, config, staging=str(tmp_path / "staging"))
    assert (report["status"], report["streams"]["orders"]["delivered"]) == ("complete", 10)
    assert len(statsig.state.events) == 10


def test_a_day_without_rows_is_sent_as_nothing(session, config, statsig, tmp_path):
    config |= {"store_url": f"sqlite:///{tmp_path / 'store.db'}"}
    df = session.createDataFrame([], "id int, user_id string")
    for _ in range(2):
        assert spark.send(df, config, staging=str(tmp_path / "staging"))["status"] == "complete"
    assert not statsig.state.requests


def test_partitions_that_are_joined_after_their_preparation_are_refused(session, config, tmp_path):
    df = session.createDataFrame([(n, f"u{n}") for n in range(10)], "id int, user_id string").repartition(2)
    spark.prepare(df, config).coalesce(1).write.parquet(str(tmp_path / "table"))
    with pytest.raises(InputError, match="use `coalesce` only before `prepare`"):
        open_table(str(tmp_path / "table"))


def test_a_table_that_cannot_be_sent_is_an_error(session, config, tmp_path):
    config |= {"events_url": "http://127.0.0.1:9/v1", "retry_timeout": 0}
    config |= {"store_url": f"sqlite:///{tmp_path / 'store.db'}"}
    df = session.createDataFrame([(1, "u1")], "id int, user_id string")
    with pytest.raises(TargetStatsigError):
        spark.send(df, config, staging=str(tmp_path / "staging"))


def test_segments_are_refused_on_the_driver_before_any_task(session, place, config):
    segment = {"vip": {"object_type": "segment", "segment_id": "vip", "sync_mode": "add"}}
    jobs = len(session.sparkContext.statusTracker().getJobIdsForGroup(None))
    df = session.createDataFrame([("u1",)], "user_id string")
    with pytest.raises(SettingsError, match="goes to a segment"):
        spark.prepare(df, config | {"streams": segment})
    assert len(session.sparkContext.statusTracker().getJobIdsForGroup(None)) == jobs


@pytest.mark.parametrize(
    "value",
    [
        "interval '3' day",
        "interval '1' month",
        "named_struct('interval', 1, 'times', array(interval '3' day))",
        "map('a', make_interval(1))",
        "parse_json('{}')",
    ],
)
def test_a_column_that_no_task_can_read_is_refused_on_the_driver(session, config, value):
    df = session.sql(f"select 'u1' user_id, 1 `interval`, {value} took")
    with pytest.raises(InputError, match=r"Column `took`: the type (interval|variant).* has no JSON form"):
        spark.prepare(df, config)


@on_executors_too
def test_the_key_stands_nowhere(session, place, write, config):
    table = write(session, sabotage.environments)
    df = spark.prepare(session.read.parquet(str(place / f"{COUNT}.parquet")), config)
    assert KEY not in df._jdf.queryExecution().toString()
    assert KEY.encode() not in df._jdf.queryExecution().analyzed().toJSON().encode()
    work = HOME / "work" / session.sparkContext.applicationId
    logs = [path for root in (place, table, work) for path in root.rglob("*") if path.is_file()]
    assert place / "spark.log" in logs
    assert any(path.parent == place / "events" or path.parent.parent == place / "events" for path in logs)
    for path in logs:
        content = path.read_bytes()
        assert KEY.encode() not in content, path
        assert b"u9998" not in content or path.suffix == ".parquet", path


@pytest.mark.parametrize("session", [TWO_HOSTS], indirect=True)
def test_a_task_that_spark_runs_twice_at_once_doubles_nothing(session, place, write, statsig):
    table = write(session, Sabotage(sabotage.dawdle))
    logs = [path for path in (place / "events").rglob(f"*{session.sparkContext.applicationId}*") if path.is_file()]
    assert any('"Speculative":true' in path.read_text() for path in logs)
    assert_whole(table, statsig)
