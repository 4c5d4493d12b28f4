"""A writing transaction keeps all of it or nothing, on both databases."""

from __future__ import annotations

import contextlib

import pytest

from target_statsig.errors import StoreError
from tests.store.rows import known


def insert_and_swallow_an_error(members):
    with members._connection.writing():
        members._insert(["a"], ours=True)
        with contextlib.suppress(StoreError):
            members._connection.run("SELECT nothing FROM nowhere")


def test_a_transaction_of_which_a_statement_failed_keeps_nothing_though_the_error_was_swallowed(store):
    members = store.members("vip")
    with pytest.raises(StoreError, match="store_url"):
        insert_and_swallow_an_error(members)
    assert known(members) == []
    members.record_added(["b"])
    assert known(members) == ["b"]
