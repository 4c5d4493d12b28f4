"""The tap that most people begin with, incremental, on a real PostgreSQL: each row becomes one event over many runs."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.meltano import run_meltano, write_project

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TAP = "meltanolabs-tap-postgres==0.10.*"

TAP_SETTINGS = {
    "host": "string",
    "port": "integer",
    "user": "string",
    "password": "string",
    "database": "string",
    "filter_schemas": "array",
}


@pytest.fixture
def database(connection):
    """A table with a replication key, of which several rows share a value."""
    connection.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, event text, user_id text, total numeric(10, 2), at timestamptz)"
    )
    return connection


def insert(database, numbers, at):
    with database.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO orders VALUES (%s, 'Order Completed', %s, 89.90, %s)",
            [(number, f"u{number}", at) for number in numbers],
        )


@pytest.fixture
def project(database, tmp_path):
    """A Meltano project with the tap, which Meltano installs, and this repository's target."""
    info = database.info
    extractor = {
        "name": "tap-postgres",
        "namespace": "tap_postgres",
        "pip_url": TAP,
        "executable": "tap-postgres",
        "capabilities": ["catalog", "discover", "state"],
        "settings": [{"name": name, "kind": kind} for name, kind in TAP_SETTINGS.items()],
        "config": {
            "host": info.host,
            "port": info.port,
            "user": info.user,
            "password": info.password,
            "database": info.dbname,
            "filter_schemas": ["public"],
        },
        "select": ["public-orders.*"],
        "metadata": {"public-orders": {"replication-method": "INCREMENTAL", "replication-key": "at"}},
    }
    mapping = {"event_time": "at", "event_value": "total"}
    write_project(tmp_path, extractor, object_type="event", field_mapping=mapping)
    return tmp_path


@pytest.fixture
def meltano_run(project, statsig):
    """Run the pipeline, and return what the report counts."""

    def run():
        done, streams = run_meltano(project, statsig, "tap-postgres", "target-statsig")
        assert done.returncode == 0, done.stdout
        counts = streams["public-orders"]
        return {name: counts[name] for name in ("records", "delivered", "skipped_duplicates", "maybe_duplicated")}

    return run


def counted(records, delivered):
    return {
        "records": records,
        "delivered": delivered,
        "skipped_duplicates": records - delivered,
        "maybe_duplicated": 0,
    }


def test_three_runs_over_a_table_that_grows_send_each_row_once(database, meltano_run, statsig):
    insert(database, range(700), "2026-11-01 08:00:00.123456+00")
    insert(database, range(700, 703), "2026-11-01 09:00:00.5+00")
    assert meltano_run() == counted(703, 703)
    assert meltano_run() == counted(3, 0), "the rows at the bookmark come again"

    insert(database, [703], "2026-11-01 09:00:00.5+00")
    insert(database, [704, 705], "2026-11-01 10:00:00+00")
    assert meltano_run() == counted(6, 3)

    arrived = Counter(event["metadata"]["id"] for event in statsig.state.events)
    assert arrived == Counter(str(number) for number in range(706))
    assert {event["value"] for event in statsig.state.events} == {89.9}
