"""Opening a store: its file, its versions, and every way in which it cannot be opened."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from target_statsig.errors import StoreError
from target_statsig.store.store import Store
from target_statsig.store.tables import VERSION
from tests.fakes import FakeClock
from tests.postgres import PASSWORD
from tests.store.rows import break_connections, execute


def opened(url):
    return contextlib.closing(Store(url, clock=FakeClock(), project="a project", run_id="a run"))


def refusal(url):
    with pytest.raises(StoreError) as caught, opened(url):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert "store_url" in message
    assert PASSWORD not in message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory" / "store.db"


@pytest.fixture
def file_url(path):
    return f"sqlite:///{path}"


def version_of(url):
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT version FROM target_statsig_version")).scalar_one()


def columns_of(url):
    inspector = sqlalchemy.inspect(sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool))
    return {
        table: [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)]
        for table in inspector.get_table_names()
    }


def test_no_database_is_imported_before_a_store_is_opened():
    code = "import sys, target_statsig.store, target_statsig.store.ledger; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_file_and_its_directory_are_private(path, file_url):
    with opened(file_url) as store:
        store.members("vip").record_added(["a"])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_can_read_is_made_private(path, file_url):
    with opened(file_url):
        pass
    path.chmod(0o644)
    with opened(file_url):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_directory_in_place_of_the_file_is_refused_and_stays_as_it_is(path, file_url):
    path.mkdir(parents=True)
    path.chmod(0o755)
    assert "cannot be opened" in refusal(file_url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_file_that_is_no_database_is_refused(path, file_url):
    path.parent.mkdir()
    path.write_bytes(b"a,b,c\n" * 1000)
    assert "is not a SQLite database" in refusal(file_url)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def overwrite_the_middle(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 20_000)


@pytest.mark.parametrize("damage", [truncate, overwrite_the_middle])
def test_a_damaged_file_is_refused(path, file_url, damage):
    with opened(file_url) as store:
        store.members("vip").record_added([f"{number:05}" for number in range(50_000)])
    damage(path)
    assert "is damaged" in refusal(file_url)


def test_a_path_below_a_file_is_refused(path, file_url):
    path.parent.write_text("a file")
    assert re.search("Not a directory|File exists", refusal(file_url))


def test_a_read_only_disk_is_refused(file_url, monkeypatch):
    def read_only(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    assert "Read-only file system" in refusal(file_url)


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_directory_without_write_permission_is_refused(path, file_url):
    path.parent.mkdir(mode=0o500)
    assert "Permission denied" in refusal(file_url)


def test_a_full_disk_is_one_clear_error(file_url, monkeypatch):
    monkeypatch.setattr("target_statsig.store.store._PRAGMAS", ("max_page_count = 100",))
    with opened(file_url) as store, pytest.raises(StoreError, match="no room left on its disk"):
        store.members("vip").record_added([f"{number:09}" for number in range(50_000)])


def test_a_file_locked_by_another_run_is_one_clear_error(path, file_url, monkeypatch):
    monkeypatch.setattr("target_statsig.store.store.PATIENCE", 0.01)
    with opened(file_url) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another run"):
            store.members("vip")


def test_a_store_that_fails_to_open_is_closed(path, file_url, monkeypatch):
    monkeypatch.setattr("target_statsig.store.store.PATIENCE", 0.01)
    with opened(file_url):
        pass
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:  # whose traceback keeps what is not closed alive
            Store(file_url, clock=FakeClock(), project="another project", run_id="a run")
        other.execute("ROLLBACK")
        assert "locked by another run" in str(caught.value)
        # SQLite refuses this as long as another connection is open.
        assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)


def test_an_unreachable_server_is_refused():
    assert "cannot be used" in refusal(f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/db")


@pytest.mark.parametrize("password", ["sec?ret", "sec/ret", "sec:ret", "sec%40ret", "sec*ret"])
@pytest.mark.parametrize("query", ["", "?sslmode=disable", "?password=secret&user=me@office"])
def test_a_server_is_named_without_its_password(password, query):
    message = refusal(f"postgresql+psycopg://me:{password}@127.0.0.1:1/db{query}")
    assert "(postgresql+psycopg://me:***@127.0.0.1:1/db) cannot be used" in message


def test_a_password_among_the_parameters_is_not_shown():
    assert "sec" not in refusal("postgresql+psycopg://?host=127.0.0.1&port=1&password=sec@ret")


def test_a_wrong_password_is_refused(postgres_url):
    url = postgres_url.replace(PASSWORD, "wrong")
    assert "password authentication failed" in refusal(url)
    assert "wrong" not in refusal(url)


def test_a_url_can_leave_the_driver_out(postgres_url):
    with opened(postgres_url.replace("+psycopg", "")) as store:
        assert not store.members("vip").is_known()


def test_a_database_that_is_not_utf_8_is_refused(postgres_url):
    name = postgres_url.rpartition("/")[2] + "_latin"
    engine = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        create = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        connection.execute(sqlalchemy.text(create))
    assert "UTF-8" in refusal(postgres_url + "_latin")


def test_a_user_who_may_not_create_tables_is_refused(postgres_url):
    execute(postgres_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")
    name = postgres_url.rpartition("/")[2]
    execute(postgres_url, f"CREATE ROLE guest_{name} LOGIN PASSWORD '{PASSWORD}'")
    try:
        assert "permission denied" in refusal(re.sub("//tester", f"//guest_{name}", postgres_url))
    finally:
        execute(postgres_url, f"DROP ROLE guest_{name}")


def test_a_missing_driver_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'target-statsig[postgres]'" in refusal("postgresql+psycopg://me@localhost/db")


def test_a_lost_connection_is_one_clear_error(postgres_url):
    with opened(postgres_url) as store:
        members = store.members("vip")
        assert members.count_known() == 0
        break_connections(postgres_url)
        with pytest.raises(StoreError, match="cannot be used"):
            members.count_known()


def test_a_lost_connection_fails_only_one_write_of_the_ledger(postgres_url):
    with opened(postgres_url) as store:
        ledger = store.ledger("orders")
        batch = ledger.intend(bytes(16), highest=None, epoch=0)
        break_connections(postgres_url)
        with pytest.raises(StoreError, match="cannot be used"):
            ledger.acknowledge(batch)
        ledger.acknowledge(batch)
    with contextlib.closing(Store(postgres_url, clock=FakeClock(), project="a project", run_id="another")) as store:
        assert store.ledger("orders").known([bytes(16)], highest=None, epoch=0) == [True]


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("mysql://me:only-on-loopback@host/db", id="another database"),
        pytest.param("store.db", id="a bare path"),
        pytest.param("sqlite://", id="in memory"),
        pytest.param("sqlite:///:memory:", id="in memory by name"),
        pytest.param("postgresql+psycopg2://me:only-on-loopback@host/db", id="another driver"),
        pytest.param("", id="nothing"),
    ],
)
def test_an_unusable_url_is_refused(url):
    assert "`store_url` must be sqlite:///" in refusal(url)


def test_a_new_store_has_this_schema_version(store_url):
    with opened(store_url):
        assert version_of(store_url) == VERSION


def test_a_store_from_a_newer_target_is_refused(store_url):
    with opened(store_url):
        pass
    execute(store_url, "UPDATE target_statsig_version SET version = 99")
    assert re.search(f"newer target-statsig .schema 99; this one knows {VERSION}.*upgrade", refusal(store_url))


def test_a_store_from_an_older_target_is_refused_unchanged(store_url):
    with opened(store_url):
        pass
    execute(store_url, "UPDATE target_statsig_version SET version = 7")
    before = columns_of(store_url)
    assert f"older target-statsig (schema 7; this one knows {VERSION})" in refusal(store_url)
    assert version_of(store_url) == 7
    assert columns_of(store_url) == before


def test_the_schema_is_made_whole_or_not_at_all(store_url, path):
    path.parent.mkdir()
    execute(store_url, "CREATE TABLE target_statsig_runs (colour TEXT)")
    assert "target_statsig_runs" in refusal(store_url)
    assert list(columns_of(store_url)) == ["target_statsig_runs"]


def test_runs_that_begin_together_make_the_schema_once(store_url):
    begin = threading.Barrier(8)

    def run(number):
        begin.wait()
        with opened(store_url) as store:
            store.members("vip").record_added([f"{number}"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    with opened(store_url) as store:
        assert store.members("vip").count_known() == 8
