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


def execute(url, statement):
    made = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with made.begin() as connection:
        connection.execute(sqlalchemy.text(statement))


def version_of(url):
    made = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with made.connect() as connection:
        return connection.execute(sqlalchemy.text("SELECT version FROM target_statsig_version")).scalar_one()


def columns_of(url):
    made = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    inspector = sqlalchemy.inspect(made)
    return {
        table: [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)]
        for table in inspector.get_table_names()
    }


def test_no_database_is_imported_before_a_store_is_opened():
    code = "import sys, target_statsig.store, target_statsig.store.ledger; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestAFile:
    def test_is_made_with_its_directory_for_this_user_s_eyes_only(self, path, file_url):
        with opened(file_url) as store:
            store.members("vip").record_added(["a"])
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_that_others_could_read_is_closed_to_them(self, path, file_url):
        with opened(file_url):
            pass
        path.chmod(0o644)
        with opened(file_url):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_that_is_no_database_is_refused(self, path, file_url):
        path.parent.mkdir()
        path.write_bytes(b"a,b,c\n" * 1000)
        assert "is not a SQLite database" in refusal(file_url)

    def test_that_was_cut_short_is_refused(self, path, file_url):
        with opened(file_url) as store:
            store.members("vip").record_added([f"{number:05}" for number in range(50_000)])
        os.truncate(path, path.stat().st_size // 2)
        assert "is damaged" in refusal(file_url)

    def test_that_was_overwritten_in_the_middle_is_refused(self, path, file_url):
        with opened(file_url) as store:
            store.members("vip").record_added([f"{number:05}" for number in range(50_000)])
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"\xff" * 20_000)
        assert "is damaged" in refusal(file_url)

    def test_below_something_that_is_no_directory_is_refused(self, path):
        path.parent.write_text("a file")
        assert "Not a directory" in refusal(f"sqlite:///{path}") or "File exists" in refusal(f"sqlite:///{path}")

    def test_on_a_disk_that_cannot_be_written_is_refused(self, file_url, monkeypatch):
        def read_only(*_):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(os, "open", read_only)
        assert "Read-only file system" in refusal(file_url)

    @pytest.mark.usefixtures("bound_by_permissions")
    def test_in_a_directory_of_another_s_is_refused(self, path, file_url):
        path.parent.mkdir(mode=0o500)
        assert "Permission denied" in refusal(file_url)

    def test_whose_disk_is_full_is_one_clear_error(self, file_url, monkeypatch):
        monkeypatch.setattr("target_statsig.store.store._PRAGMAS", ("max_page_count = 100",))
        with opened(file_url) as store, pytest.raises(StoreError, match="no room left on its disk"):
            store.members("vip").record_added([f"{number:09}" for number in range(50_000)])

    def test_that_another_run_keeps_busy_is_one_clear_error(self, path, file_url, monkeypatch):
        monkeypatch.setattr("target_statsig.store.store.PATIENCE", 0.01)
        with opened(file_url) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked by another run"):
                store.members("vip")

    def test_that_cannot_be_opened_after_all_is_closed_again(self, path, file_url, monkeypatch):
        monkeypatch.setattr("target_statsig.store.store.PATIENCE", 0.01)
        with opened(file_url):
            pass
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError) as caught:  # its traceback keeps alive whatever is not closed
                Store(file_url, clock=FakeClock(), project="another project", run_id="a run")
            other.execute("ROLLBACK")
            assert "locked by another run" in str(caught.value)
            # SQLite refuses this as long as another connection is open.
            assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)


class TestAServer:
    def test_that_is_not_there_is_refused(self):
        assert "cannot be used" in refusal(f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/db")

    @pytest.mark.parametrize("password", ["sec?ret", "sec/ret", "sec:ret", "sec%40ret", "sec*ret"])
    @pytest.mark.parametrize("query", ["", "?sslmode=disable", "?password=secret&user=me@office"])
    def test_is_named_without_its_password_whatever_that_is(self, password, query):
        message = refusal(f"postgresql+psycopg://me:{password}@127.0.0.1:1/db{query}")
        assert "(postgresql+psycopg://me:***@127.0.0.1:1/db) cannot be used" in message

    def test_is_named_without_a_password_that_stands_where_a_user_might(self):
        assert "sec" not in refusal("postgresql+psycopg://?host=127.0.0.1&port=1&password=sec@ret")

    def test_that_does_not_take_the_password_is_refused(self, postgres_url):
        url = postgres_url.replace(PASSWORD, "wrong")
        assert "password authentication failed" in refusal(url)
        assert "wrong" not in refusal(url)

    def test_may_be_named_without_its_driver(self, postgres_url):
        with opened(postgres_url.replace("+psycopg", "")) as store:
            assert not store.members("vip").is_known()

    def test_with_another_encoding_than_utf_8_is_refused(self, postgres_url):
        name = postgres_url.rpartition("/")[2] + "_latin"
        admin = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with admin.connect() as connection:
            create = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
            connection.execute(sqlalchemy.text(create))
        assert "UTF-8" in refusal(postgres_url + "_latin")

    def test_where_the_user_may_not_create_tables_is_refused(self, postgres_url):
        execute(postgres_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC, pg_database_owner")
        name = postgres_url.rpartition("/")[2]
        execute(postgres_url, f"CREATE ROLE guest_{name} LOGIN PASSWORD '{PASSWORD}'")
        try:
            assert "permission denied" in refusal(re.sub("//tester", f"//guest_{name}", postgres_url))
        finally:
            execute(postgres_url, f"DROP ROLE guest_{name}")

    def test_without_the_driver_names_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "psycopg", None)
        assert "pip install 'target-statsig[postgres]'" in refusal("postgresql+psycopg://me@localhost/db")

    def test_that_goes_away_is_one_clear_error(self, postgres_url):
        with opened(postgres_url) as store:
            members = store.members("vip")
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            execute(postgres_url, f"{end} AND datname = current_database()")
            with pytest.raises(StoreError, match="cannot be used"):
                members.count_known()

    def test_that_goes_away_for_a_moment_fails_one_write_of_the_ledger(self, postgres_url):
        with opened(postgres_url) as store:
            ledger = store.ledger("orders")
            batch = ledger.intend(bytes(16), highest=None, epoch=0)
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            execute(postgres_url, f"{end} AND datname = current_database()")
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
def test_a_url_of_no_use_is_refused(url):
    assert "`store_url` must be sqlite:///" in refusal(url)


class TestTheSchema:
    def test_of_a_new_store_has_this_version(self, store_url):
        with opened(store_url):
            assert version_of(store_url) == VERSION

    def test_from_a_newer_target_is_refused(self, store_url):
        with opened(store_url):
            pass
        execute(store_url, "UPDATE target_statsig_version SET version = 99")
        assert re.search(f"newer target-statsig .schema 99; this one knows {VERSION}.*upgrade", refusal(store_url))

    def test_from_an_older_target_is_refused_and_stays_as_it_is(self, store_url):
        with opened(store_url):
            pass
        execute(store_url, "UPDATE target_statsig_version SET version = 7")
        before = columns_of(store_url)
        assert f"older target-statsig (schema 7; this one knows {VERSION})" in refusal(store_url)
        assert version_of(store_url) == 7
        assert columns_of(store_url) == before

    def test_is_made_whole_or_not_at_all(self, store_url, path):
        path.parent.mkdir()
        execute(store_url, "CREATE TABLE target_statsig_runs (colour TEXT)")
        assert "target_statsig_runs" in refusal(store_url)
        assert list(columns_of(store_url)) == ["target_statsig_runs"]

    def test_is_made_once_when_many_runs_begin_together(self, store_url):
        begin = threading.Barrier(8)

        def run(number):
            begin.wait()
            with opened(store_url) as store:
                store.members("vip").record_added([f"{number}"])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(run, range(8)))
        with opened(store_url) as store:
            assert store.members("vip").count_known() == 8
