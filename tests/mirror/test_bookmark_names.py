"""Bookmarks that do not have their stream's name: their owner, their effect on proofs, and on written STATEs."""

from __future__ import annotations

import pytest

from target_statsig.segments.completeness import Proof, Sign, assess
from target_statsig.segments.observer import owner
from tests.mirror.wire import activate, mirroring, observe, raw_state, records, schema, state

HALF = {"version": 1, "last_id_fetched": "650f"}
DONE = {"version": 1, "last_replication_method": "FULL_TABLE", "initial_full_table_complete": True}
INCREMENTAL = {"replication_key_name": "at", "replication_key_value": "2026-11-01"}


@pytest.mark.parametrize(
    ("name", "streams", "stream"),
    [
        pytest.param("vips", ["vips", "shop-vips"], "vips", id="its own name"),
        pytest.param("shop-vips", ["vips"], "vips", id="with the database, as tap-mongodb"),
        pytest.param("shop-vips", ["shop_vips"], "shop_vips", id="another separator"),
        pytest.param("db-public-VIPs", ["vips"], "vips", id="with database and schema, in capitals"),
        pytest.param("vips", ["raw_vips"], "raw_vips", id="a stream with a prefix"),
        pytest.param("shop-vips", ["vips", "shop_vips"], "shop_vips", id="the longest"),
        pytest.param("vips-shop", ["vips"], None, id="another end"),
        pytest.param("olvips", ["vips"], None, id="half a word"),
        pytest.param("pages", ["vips"], None, id="nothing alike"),
        pytest.param("-", ["vips"], None, id="no word"),
        pytest.param("vips", [], None, id="no stream"),
    ],
)
def test_the_owner_of_a_bookmark_is_found_by_its_name(name, streams, stream):
    assert owner(name, streams) == stream


def whole(**bookmarks):
    return [state(**bookmarks), schema("vips"), records("vips", 3), activate("vips")]


@pytest.mark.parametrize(
    ("parts", "proof"),
    [
        pytest.param(whole(**{"shop-vips": HALF}), Proof.NONE, id="resumed under a longer name"),
        pytest.param(whole(**{"shop-vips": DONE}), Proof.ACTIVATE_VERSION, id="begun afresh under a longer name"),
        pytest.param(whole(pages={"page": 3}), Proof.NONE, id="perhaps resumed: an unowned bookmark has a position"),
        pytest.param(whole(pages={"version": 3}), Proof.ACTIVATE_VERSION, id="an unowned bookmark begins afresh"),
        pytest.param(
            [*whole(pages={"page": 3}), state(pages={})],
            Proof.NONE,
            id="an unowned bookmark had a position before the records",
        ),
        pytest.param(
            [schema("vips"), records("vips", 3), activate("vips"), state(pages={"page": 3})],
            Proof.NONE,
            id="an unowned bookmark has a position after the records",
        ),
        pytest.param(
            whole(pages={"page": 3}, vips={}), Proof.ACTIVATE_VERSION, id="its own bookmark says that it begins afresh"
        ),
        pytest.param(
            [*whole(pages={"page": 3}), state(pages={"page": 3}, vips={})],
            Proof.ACTIVATE_VERSION,
            id="its own bookmark comes at the end",
        ),
        pytest.param(
            whole(**{"shop-vips": HALF}, vips={}), Proof.ACTIVATE_VERSION, id="a longer name beside its own is another"
        ),
        pytest.param(
            [*whole(orders={"at": 5}, users=HALF), schema("users"), schema("orders")],
            Proof.ACTIVATE_VERSION,
            id="an ordinary tap: the other bookmarks are other streams'",
        ),
        pytest.param(
            [*whole(**{"shop-orders": INCREMENTAL, "shop-vips": DONE}), schema("orders")],
            Proof.ACTIVATE_VERSION,
            id="a tap with longer names only",
        ),
        pytest.param(
            [*whole(orders={"at": 5}, gone={"at": 5}), schema("orders")],
            Proof.NONE,
            id="a bookmark of a stream that is not selected any more",
        ),
        pytest.param(
            [
                *[raw_state({}), schema("vips"), records("vips"), state(pages={"page": 1})],
                *[records("vips"), activate("vips"), state(pages={"version": 1})],
            ],
            Proof.ACTIVATE_VERSION,
            id="a bookmark that moves with its records is its own",
        ),
        pytest.param(
            [raw_state({}), schema("vips"), records("vips"), state(pages=INCREMENTAL), activate("vips")],
            Proof.NONE,
            id="an incremental one that moves with its records",
        ),
    ],
)
def test_bookmarks_with_other_names_can_prevent_a_proof(parts, proof):
    assert assess(observe(*parts).seen("vips")).proof is proof


def test_a_row_count_proves_in_spite_of_unowned_bookmarks():
    parts = [state(gone=INCREMENTAL), schema("vips"), records("vips", 7, 7), state(gone=INCREMENTAL)]
    assert assess(observe(*parts).seen("vips"), row_count_field="n").proof is Proof.ROW_COUNT


def test_currently_syncing_can_hold_a_longer_name():
    parts = [schema("vips"), records("vips"), activate("vips"), raw_state({"currently_syncing": "shop-vips"})]
    assert assess(observe(*parts).seen("vips")).sign is Sign.CURRENTLY_SYNCING


BEFORE = {"orders": {"at": 5}, "gone": {"at": 1}}


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        pytest.param(
            [state(**BEFORE), schema("vips"), records("vips"), state(**BEFORE, **{"shop-vips": HALF})],
            BEFORE,
            id="a longer name",
        ),
        pytest.param(
            [state(**BEFORE), schema("vips"), records("vips"), state(**BEFORE, pages={"page": 3})],
            BEFORE,
            id="another name",
        ),
        pytest.param(
            [raw_state({}), schema("vips"), records("vips"), state(pages={}), state(pages={"page": 3})],
            {},
            id="it moves later than the records",
        ),
        pytest.param(
            [state(pages={"page": 2}), schema("vips"), state(pages={"page": 3})],
            {"pages": {"page": 3}},
            id="it moves before the records",
        ),
        pytest.param(
            [raw_state({}), schema("vips"), records("vips"), state(pages=INCREMENTAL)],
            {"pages": INCREMENTAL},
            id="an incremental stream's",
        ),
        pytest.param(
            [
                *[raw_state({}), schema("vips"), records("vips"), state(vips={})],
                *[records("vips"), state(vips={}, pages={"page": 3})],
            ],
            {"vips": {}, "pages": {"page": 3}},
            id="it has one of its own name",
        ),
        pytest.param(
            [raw_state({}), schema("vips"), records("vips"), schema("zoo"), records("zoo"), state(pages={"page": 3})],
            {"pages": {"page": 3}},
            id="it may belong to another stream",
        ),
        pytest.param(
            [raw_state({}), schema("vips"), records("vips"), schema("zoo"), records("zoo"), state(a_vips={"page": 3})],
            {},
            id="among another stream's records, a longer name",
        ),
        pytest.param(
            [
                *[raw_state({}), schema("vips"), records("vips"), state(a_orders={"at": 5})],
                *[schema("orders"), records("orders"), state(a_orders={"at": 6})],
            ],
            {"a_orders": {"at": 6}},
            id="its stream comes later",
        ),
    ],
)
def test_a_state_omits_positions_in_a_mirrored_stream(parts, kept):
    observer = observe(*parts, observer=mirroring("vips"))
    last = parts[-1][-1]["value"]
    assert not observer.must_keep_state
    assert observer.without_resumption(last) == {**last, "bookmarks": kept}


STARTED = [schema("vips"), records("vips"), state(pages={"page": 3}, orders={"at": 5})]


@pytest.mark.parametrize(
    ("parts", "is_kept"),
    [
        pytest.param(STARTED, True, id="no STATE before the records"),
        pytest.param([raw_state({}), *STARTED], False, id="a STATE before them"),
        pytest.param(
            [*STARTED, records("vips"), state(pages={"page": 3}, orders={"at": 5})], True, id="nothing has moved"
        ),
        pytest.param(
            [*STARTED, records("vips"), state(pages={"page": 4}, orders={"at": 5})], True, id="another has not moved"
        ),
        pytest.param(
            [*STARTED, schema("orders"), records("vips"), state(pages={"page": 4}, orders={"at": 5})],
            False,
            id="one has moved, the other has its stream",
        ),
        pytest.param([*STARTED, schema("zoo"), records("zoo"), raw_state({})], False, id="another stream began"),
        pytest.param([schema("vips"), records("vips"), state(orders=INCREMENTAL)], False, id="an incremental stream's"),
        pytest.param([schema("vips"), records("vips"), state(pages={})], False, id="no position"),
        pytest.param([schema("vips"), records("vips"), state(vips={"page": 3}, orders={"at": 5})], False, id="named"),
        pytest.param([schema("zoo"), records("zoo"), state(pages={"page": 3})], False, id="another stream's records"),
    ],
)
def test_a_state_is_kept_until_its_positions_have_an_owner(parts, is_kept):
    assert observe(*parts, observer=mirroring("vips")).must_keep_state is is_kept
