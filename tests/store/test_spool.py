"""Ids that are spooled in lists come back sorted, each once, with its last change, wherever the lists end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.store import members
from tests.store.rows import known, last_changes
from tests.store.test_audience import ids, on_one_store

SOME = st.sampled_from(["a", "b", "c"])  # so few that they are drawn repeatedly

CALLS = st.lists(st.dictionaries(SOME | ids, st.booleans(), max_size=4), max_size=8)
SORTED_CALLS = st.lists(ids, unique=True, max_size=12).map(
    lambda found: [{id_: True} for id_ in sorted(found)],
)


@pytest.fixture(params=[1, 3, 100])
def list_length(request, monkeypatch):
    monkeypatch.setattr(members, "LIST", request.param)


@pytest.mark.usefixtures("list_length")
@on_one_store
@given(calls=CALLS | SORTED_CALLS)
def test_the_last_change_of_an_id_wins_across_lists(store, calls):
    audience = store.audience("vip")
    last = {}
    for changes in calls:
        audience.take(changes)
        last.update(changes)
    assert last_changes(audience) == sorted(last.items())
    audience.close()


@pytest.mark.usefixtures("list_length")
@on_one_store
@given(before=CALLS | SORTED_CALLS, after=CALLS)
def test_counting_between_changes_loses_none(store, before, after):
    audience = store.audience("vip")
    last = {}
    for calls in (before, after):
        for changes in calls:
            audience.take(changes)
            last.update(changes)
        assert audience.count() == sum(last.values())
    assert last_changes(audience) == sorted(last.items())
    audience.close()


@pytest.mark.usefixtures("list_length")
@on_one_store
@given(seen=st.lists(ids, max_size=12), before=st.sets(ids, max_size=12))
def test_a_new_list_of_members_is_taken_over_across_lists(store, seen, before):
    members = store.members("vip")
    members.replace_known(before)
    assert members.replace_known(iter(seen)) == len(set(seen))
    assert known(members) == sorted(set(seen))
