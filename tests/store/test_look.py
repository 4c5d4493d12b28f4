"""Looking at a store changes nothing, and says what a run would find."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import asdict

import pytest
import sqlalchemy

from target_statsig.errors import StoreError
from target_statsig.store.readonly import read_store_status
from target_statsig.store.store import Store
from target_statsig.store.tables import VERSION, SegmentFacts
from tests.fakes import NOON
from tests.postgres import PASSWORD
from tests.store.rows import execute

FACTS = SegmentFacts(fed_by="users", last_sync_at=NOON)


@pytest.fixture
def look():
    return lambda url, project="a project": read_store_status(url, project=project)


def test_looking_at_a_missing_store_makes_none(look, store_url, tmp_path):
    seen = look(store_url)
    assert (seen.version, seen.writable, seen.segments) == (None, True, {})
    assert list(tmp_path.iterdir()) == []
    assert PASSWORD not in seen.place
    if not store_url.startswith("sqlite"):
        engine = sqlalchemy.create_engine(store_url, poolclass=sqlalchemy.NullPool)
        assert sqlalchemy.inspect(engine).get_table_names() == []


def test_a_look_gives_the_version_and_the_segments_of_this_project(look, opening, store_url):
    store = opening()
    store.record_facts("vips", **asdict(FACTS))
    opening(project="another").record_facts("others", **asdict(FACTS))
    seen = look(store_url)
    assert (seen.version, seen.writable) == (VERSION, True)
    assert seen.segments == {"vips": FACTS}


def test_looking_at_a_store_adds_no_project(look, opening, store_url):
    opening()
    seen = look(store_url, project="a third project")
    assert seen.segments == {}
    engine = sqlalchemy.create_engine(store_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        identities = connection.execute(sqlalchemy.text("SELECT identity FROM target_statsig_projects")).scalars()
        assert set(identities) == {"a project"}


@pytest.mark.parametrize(("version", "words"), [(99, "a newer"), (1, "an older")])
def test_a_store_of_another_version_is_an_error(look, opening, store_url, version, words):
    opening()
    execute(store_url, f"UPDATE target_statsig_version SET version = {version}")
    with pytest.raises(StoreError, match=f"was written by {words} target-statsig \\(schema {version};"):
        look(store_url)


def test_a_store_locked_by_another_run_can_be_read(look, tmp_path, clock):
    url = f"sqlite:///{tmp_path / 'busy.db'}"
    Store(url, clock=clock, project="a project", run_id="a run").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "busy.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        seen = look(url)
    assert (seen.version, seen.writable) == (VERSION, True)


@pytest.mark.usefixtures("bound_by_permissions")
@pytest.mark.parametrize(
    ("file_mode", "directory_mode"),
    [pytest.param(0o400, 0o700, id="the file"), pytest.param(0o600, 0o500, id="its directory")],
)
def test_a_read_only_store_can_be_read(look, tmp_path, clock, file_mode, directory_mode):
    path = tmp_path / "there" / "store.db"
    store = Store(f"sqlite:///{path}", clock=clock, project="a project", run_id="a run")
    store.record_facts("vips", **asdict(FACTS))
    store.close()
    path.chmod(file_mode)
    path.parent.chmod(directory_mode)
    try:
        seen = look(f"sqlite:///{path}")
        assert (seen.version, seen.writable, seen.segments) == (VERSION, False, {"vips": FACTS})
        assert list(path.parent.iterdir()) == [path]
    finally:
        path.parent.chmod(0o700)


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_store_with_a_read_only_log_is_not_writable(look, tmp_path):
    path = tmp_path / "store.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as run:
        run.execute("PRAGMA journal_mode = WAL")
        run.execute("CREATE TABLE other (id)")
        left = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for file, content in left.items():
        file.write_bytes(content)
        file.chmod(0o600 if file == path else 0o400)
    assert not look(f"sqlite:///{path}").writable


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_directory_without_permission_is_an_error(look, tmp_path):
    place = tmp_path / "closed"
    place.mkdir()
    (place / "store.db").touch()
    place.chmod(0)
    try:
        with pytest.raises(StoreError, match="cannot be opened"):
            look(f"sqlite:///{place / 'store.db'}")
    finally:
        place.chmod(0o700)


def test_a_file_that_is_no_database_is_an_error_and_left_unchanged(look, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(StoreError, match="is not a SQLite database"):
        look(f"sqlite:///{path}")
    assert path.read_text() == "not a database " * 100


def test_a_store_below_a_file_is_not_writable(look, tmp_path):
    (tmp_path / "file").write_text("")
    assert not look(f"sqlite:///{tmp_path / 'file' / 'store.db'}").writable


def test_an_unreachable_server_is_an_error(look):
    with pytest.raises(StoreError, match="cannot be used"):
        look("postgresql+psycopg://user:secret@127.0.0.1:9/nowhere")


def test_a_read_only_database_is_not_writable(look, postgres_url):
    url = sqlalchemy.make_url(postgres_url)
    reader = url.set(query={**url.query, "options": "-c default_transaction_read_only=on"})
    assert not look(reader.render_as_string(hide_password=False)).writable


def test_a_user_without_rights_cannot_write(look, postgres_url):
    url = sqlalchemy.make_url(postgres_url)
    execute(postgres_url, "DROP ROLE IF EXISTS looker", "CREATE ROLE looker LOGIN PASSWORD 'looker'")
    execute(postgres_url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    looker = url.set(username="looker", password="looker").render_as_string(hide_password=False)
    assert not look(looker).writable
