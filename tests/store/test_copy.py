"""Copying a store for a dry run leaves the store unchanged."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from target_statsig.errors import StoreError
from target_statsig.store import tables
from target_statsig.store.ledger import DIGEST_BYTES
from target_statsig.store.readonly import open_copy
from tests.store.rows import known, pending_changes

DIGESTS = [bytes([number]) * DIGEST_BYTES for number in range(3)]


@pytest.fixture
def copies(tmp_path):
    """Give a directory for copies."""
    directory = tmp_path / "copies"
    directory.mkdir()
    return directory


@pytest.fixture
def copying(store_url, clock, copies):
    """Open a copy of the store, as a dry run does; it is closed by the test."""
    return lambda: closing(open_copy(store_url, copies, clock=clock, project="a project", run_id="a dry run"))


@pytest.fixture
def content(store_url):
    """Return a function that reads the whole store: files and their bytes, or tables and their rows."""
    if store_url.startswith("sqlite"):
        directory = Path(store_url.removeprefix("sqlite:///")).parent
        # Without the index of the log (-shm): SQLite rebuilds it at any time, and keeps nothing there.
        return lambda: {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in directory.glob("*")
            if not path.name.endswith("-shm")
        }

    def rows():
        engine = create_engine(store_url)
        with engine.connect() as connection:
            present = inspect(connection).get_table_names()
            found = {table: connection.execute(text(f"SELECT * FROM {table}")).all() for table in present}
        engine.dispose()
        return found

    return rows


def fill(store):
    store.members("vips").record_added(["a", "é", "\N{PARTY POPPER}"])
    store.members("vips").mark_missing(["a"], 5.0)
    store.pending("vips").keep({"b": True, "c": False})
    store.record_facts("vips", fed_by="users", list_version=7, expected_count=3)
    ledger = store.ledger("orders")
    ledger.acknowledge(ledger.intend(b"".join(DIGESTS), highest=None, epoch=0))
    store.request_log(keep=100.0).reserve(lambda _: 0.0, 1.0)


def knowledge(store):
    times = []
    store.request_log(keep=100.0).reserve(lambda found: times.extend(found) or 1.0, 2.0)
    return (
        known(store.members("vips")),
        store.members("vips").missing_since(),
        pending_changes(store.pending("vips")),
        store.facts("vips"),
        store.ledger("orders").known(DIGESTS, highest=None, epoch=0),
        times,
    )


def test_a_copy_knows_what_the_store_knows(opening, copying):
    store = opening()
    fill(store)
    store.close()
    expected = knowledge(opening())
    assert expected[4] == [True] * 3
    with copying() as copy:
        assert knowledge(copy) == expected


def test_changes_to_a_copy_do_not_reach_the_store(opening, copying, content):
    store = opening()
    fill(store)
    store.close()
    before = content()
    with copying() as copy:
        fill(copy)
        copy.members("vips").record_removed(["a"])
        copy.members("others").record_added(["z"])
        copy.lock("vips").acquire()
    assert content() == before


def test_a_store_that_is_open_is_copied_and_stays_usable(opening, copying):
    store = opening()
    fill(store)
    with copying() as copy:
        assert pending_changes(copy.pending("vips")) == [("b", True), ("c", False)]
    store.members("vips").record_added(["later"])
    assert store.members("vips").count_known() == 4


def test_a_copy_does_not_wait_for_a_writer(opening, copying):
    store = opening()
    fill(store)
    with store._quick.writing():
        store._quick.run("DELETE FROM target_statsig_members")
        with copying() as copy:
            assert copy.members("vips").count_known() == 3


def test_a_copy_hides_other_projects(opening, copying):
    fill(opening("another project"))
    with copying() as copy:
        assert copy.members("vips").count_known() == 0


def test_copying_a_missing_store_makes_none(copying, content):
    before = content()
    with copying() as copy:
        copy.members("vips").record_added(["a"])
        assert copy.members("vips").count_known() == 1
    assert content() == before


def test_a_copy_has_its_own_locks(opening, copying):
    opening(run_id="a long run").lock("vips").acquire()
    with copying() as copy:
        copy.lock("vips").acquire()
        copy.lock("others").acquire()
        opening().lock("others").acquire()


@pytest.mark.parametrize(("change", "words"), [(1, "a newer"), (-1, "an older")])
def test_a_store_of_another_version_is_refused(opening, copying, content, monkeypatch, change, words):
    with monkeypatch.context() as patch:
        patch.setattr(tables, "VERSION", tables.VERSION + change)
        opening().close()
    before = content()
    with pytest.raises(StoreError, match=f"was written by {words} target-statsig") as caught:
        copying()
    assert "copies" not in str(caught.value)
    assert content() == before


def test_a_copy_has_all_that_a_killed_run_committed(tmp_path, copies, clock):
    """The last commits are in SQLite's log beside the file."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    killed = (
        "import os; from target_statsig.clock import RunClock; from target_statsig.store.store import Store; "
        f"store = Store({url!r}, clock=RunClock(), project='a project', run_id='killed'); "
        "store.members('vips').record_added(['a']); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    before = {name: (tmp_path / name).read_bytes() for name in ("store.db", "store.db-wal")}
    assert before["store.db-wal"]
    with closing(open_copy(url, copies, clock=clock, project="a project", run_id="dry")) as copy:
        assert known(copy.members("vips")) == ["a"]
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: path.write_bytes(b"x" * 5000), "is not a SQLite database", id="no database"),
        pytest.param(lambda path: path.mkdir(), "store_url", id="a directory"),
    ],
)
def test_an_unreadable_store_is_named_and_not_its_copy(tmp_path, copies, clock, make, words):
    path = tmp_path / "store.db"
    make(path)
    with pytest.raises(StoreError, match=words) as caught:
        open_copy(f"sqlite:///{path}", copies, clock=clock, project="p", run_id="r")
    assert str(path) in str(caught.value)
    assert "copies" not in str(caught.value)


def test_a_damaged_store_is_named_and_not_its_copy(opening, store_url, copying, tmp_path):
    if not store_url.startswith("sqlite"):
        pytest.skip("only a file can be damaged")
    store = opening()
    for batch in range(20):
        store.members("vips").record_added([f"{batch} {number}" for number in range(500)])
    store.close()
    path = Path(store_url.removeprefix("sqlite:///"))
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(20_000))
    with pytest.raises(StoreError, match="is damaged") as caught:
        copying()
    assert store_url in str(caught.value)
    shutil.rmtree(path.parent)
