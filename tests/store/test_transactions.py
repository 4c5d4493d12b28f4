"""A writing transaction keeps all of it or nothing, on both databases."""

from __future__ import annotations

from contextlib import closing

import pytest

from target_statsig.errors import StoreError
from target_statsig.store.store import Store
from tests.store.rows import break_connections, known


def insert_and_fail(members):
    with members._connection.writing():
        members._insert(["a"], ours=True)
        members._connection.run("SELECT nothing FROM nowhere")


def test_a_transaction_with_an_error_keeps_nothing(store):
    members = store.members("vip")
    with pytest.raises(StoreError, match="store_url"):
        insert_and_fail(members)
    assert known(members) == []
    members.record_added(["b"])
    assert known(members) == ["b"]


def insert_while_the_connection_breaks(members, postgres_url):
    with members._connection.writing():
        members._insert(["b"], ours=True)
        break_connections(postgres_url)
        members._insert(["c"], ours=True)


def test_a_transaction_whose_connection_breaks_keeps_nothing(postgres_url, clock):
    with closing(Store(postgres_url, clock=clock, project="a project", run_id="run 1")) as store:
        members = store.members("vip")
        members.record_added(["a"])
        with pytest.raises(StoreError, match="store_url"):
            insert_while_the_connection_breaks(members, postgres_url)
        assert known(members) == ["a"]


def test_a_connection_that_breaks_while_a_list_is_read_is_an_error(postgres_url, clock):
    def ids():
        yield from map(str, range(10_000))
        break_connections(postgres_url)
        yield "last"

    opened = closing(Store(postgres_url, clock=clock, project="a project", run_id="run 1"))
    with opened as store, pytest.raises(StoreError, match="connection"):
        store.members("vip").replace_known(ids())
