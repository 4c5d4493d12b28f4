"""A tap that keeps the bookmarks of its streams under other names, as tap-mongodb does, interrupted and resumed."""

from __future__ import annotations

import copy

import pytest

from tests.singer import activate_version, record, schema, state

STREAMS = {
    "vips": {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror", "removal_scope": "all"},
    "orders": {"object_type": "event", "event_name": "Order"},
}

TABLE = [f"u{number}" for number in range(12)]


def night(bookmarks, name, *, cadence=4):
    """Yield what the tap writes: an incremental stream after a table with which it goes on where it stopped."""
    bookmarks = {name: {}, "shop-orders": {"replication_key_name": "id", "replication_key_value": 0}, **bookmarks}
    table = bookmarks[name] = {"last_replication_method": "FULL_TABLE", "version": 1, **bookmarks[name]}
    orders = bookmarks["shop-orders"]

    def place():
        return state(**copy.deepcopy(bookmarks))

    yield place()
    yield schema("vips")
    for number, user_id in enumerate(TABLE[int(table.get("last_id_fetched", 0)) :], start=1):
        yield record("vips", {"user_id": user_id}, version=1)
        table["last_id_fetched"] = str(TABLE.index(user_id))
        if number % cadence == 0:
            yield place()
    table.pop("last_id_fetched", None)
    table["initial_full_table_complete"] = True
    yield activate_version("vips")
    yield place()
    yield schema("orders")
    for number in range(orders["replication_key_value"], orders["replication_key_value"] + 2):
        yield record("orders", {"user_id": "u1", "id": number})
        orders["replication_key_value"] = number + 1
        yield place()


@pytest.mark.parametrize("name", ["vips", "shop-vips", "pages"])
@pytest.mark.parametrize("messages", [pytest.param(8, id="right after a STATE"), pytest.param(9, id="later")])
def test_a_table_that_was_interrupted_begins_afresh_and_the_other_stream_goes_on(run_target, statsig, name, messages):
    statsig.state.seed_segment("vips", [*TABLE, "stranger"])
    first = run_target(list(night({}, name)), streams=STREAMS)
    assert statsig.state.ids("vips") == set(TABLE)

    statsig.state.seed_segment("vips", [*TABLE, "stranger"])
    died = run_target(list(night(first.states[-1]["bookmarks"], name))[:messages], streams=STREAMS)
    assert died.exit_code == 0
    assert statsig.state.ids("vips") == {*TABLE, "stranger"}
    assert died.states[-1]["bookmarks"]["shop-orders"]["replication_key_value"] == 2

    last = run_target(list(night(died.states[-1]["bookmarks"], name)), streams=STREAMS)
    assert last.report["streams"]["vips"]["segments"]["vips"]["proof"] == "activate_version"
    assert statsig.state.ids("vips") == set(TABLE)
    assert [event["metadata"]["id"] for event in statsig.state.events] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("name", ["vips", "shop-vips", "pages"])
def test_a_table_that_goes_on_all_the_same_has_nobody_removed(run_target, statsig, name):
    statsig.state.seed_segment("vips", TABLE)
    half = {name: {"version": 1, "last_id_fetched": "8"}}
    outcome = run_target(list(night(half, name)), streams=STREAMS)
    assert outcome.exit_code == 0
    assert statsig.state.ids("vips") == set(TABLE)
    assert "the tap resumed it" in outcome.log


def test_a_state_that_may_hold_a_place_is_not_written_until_that_can_be_told(run_target, statsig):
    statsig.state.seed_segment("vips", TABLE)
    messages = [schema("vips")]
    for page in range(3):
        messages += [record("vips", {"user_id": user_id}, version=1) for user_id in TABLE[page * 4 : page * 4 + 4]]
        messages += [state(pages={"page": page + 1}, later={"at": 7})]
    assert run_target(messages[:6], streams=STREAMS).states == []
    assert run_target(messages, streams=STREAMS).states == []
    written = run_target(
        [*messages, schema("orders"), record("orders", {"user_id": "a"}), state(later={"at": 8})], streams=STREAMS
    ).states
    assert written == [state(later={"at": 8})["value"]]
    assert statsig.state.ids("vips") == set(TABLE)
