"""An interrupted tap whose bookmarks do not have the names of its streams, as in tap-mongodb."""

from __future__ import annotations

import copy

import pytest

from tests.singer import activate_version, record, schema, state

STREAMS = {
    "vips": {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror", "removal_scope": "all"},
    "orders": {"object_type": "event", "event_name": "Order"},
}

TABLE = [f"u{number}" for number in range(12)]


def tap_messages(bookmarks, name, *, cadence=4):
    """Yield what the tap writes: a table, resumed where it stopped, and then an incremental stream."""
    bookmarks = {name: {}, "shop-orders": {"replication_key_name": "id", "replication_key_value": 0}, **bookmarks}
    table = bookmarks[name] = {"last_replication_method": "FULL_TABLE", "version": 1, **bookmarks[name]}
    orders = bookmarks["shop-orders"]

    def current_state():
        return state(**copy.deepcopy(bookmarks))

    yield current_state()
    yield schema("vips")
    for number, user_id in enumerate(TABLE[int(table.get("last_id_fetched", 0)) :], start=1):
        yield record("vips", {"user_id": user_id}, version=1)
        table["last_id_fetched"] = str(TABLE.index(user_id))
        if number % cadence == 0:
            yield current_state()
    table.pop("last_id_fetched", None)
    table["initial_full_table_complete"] = True
    yield activate_version("vips")
    yield current_state()
    yield schema("orders")
    for number in range(orders["replication_key_value"], orders["replication_key_value"] + 2):
        yield record("orders", {"user_id": "u1", "id": number})
        orders["replication_key_value"] = number + 1
        yield current_state()


@pytest.mark.parametrize("name", ["vips", "shop-vips", "pages"])
@pytest.mark.parametrize("messages", [pytest.param(8, id="right after a STATE"), pytest.param(9, id="later")])
def test_an_interrupted_table_begins_afresh_and_other_streams_go_on(run_target, statsig, name, messages):
    statsig.state.seed_segment("vips", [*TABLE, "stranger"])
    first = run_target(list(tap_messages({}, name)), streams=STREAMS)
    assert statsig.state.ids("vips") == set(TABLE)

    statsig.state.seed_segment("vips", [*TABLE, "stranger"])
    died = run_target(list(tap_messages(first.states[-1]["bookmarks"], name))[:messages], streams=STREAMS)
    assert died.exit_code == 0
    assert statsig.state.ids("vips") == {*TABLE, "stranger"}
    assert died.states[-1]["bookmarks"]["shop-orders"]["replication_key_value"] == 2

    last = run_target(list(tap_messages(died.states[-1]["bookmarks"], name)), streams=STREAMS)
    assert last.report["streams"]["vips"]["segments"]["vips"]["proof"] == "activate_version"
    assert statsig.state.ids("vips") == set(TABLE)
    assert [event["metadata"]["id"] for event in statsig.state.events] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("name", ["vips", "shop-vips", "pages"])
def test_a_table_that_the_tap_resumes_anyway_removes_nobody(run_target, statsig, name):
    statsig.state.seed_segment("vips", TABLE)
    half = {name: {"version": 1, "last_id_fetched": "8"}}
    outcome = run_target(list(tap_messages(half, name)), streams=STREAMS)
    assert outcome.exit_code == 0
    assert statsig.state.ids("vips") == set(TABLE)
    assert "the tap resumed it" in outcome.log


def test_a_state_is_not_written_until_its_positions_have_an_owner(run_target, statsig):
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
