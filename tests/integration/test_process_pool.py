"""The unit of work in other processes: what a cluster engine would do with a large table."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from target_statsig.client.events import EventsClient
from target_statsig.client.network import HttpTransport
from target_statsig.client.sender import Sender
from target_statsig.clock import RunClock
from target_statsig.events.delivery import deliver
from target_statsig.events.stream import Bounds, ItemStream
from target_statsig.ledger import NoLedger
from target_statsig.object_types import EVENTS
from target_statsig.record import Record
from target_statsig.settings import Compression, ObjectType, StreamSettings
from target_statsig.store import open_store

SCHEMA = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": {}}}
CHUNK = 100


def order(number):
    row = {"event": f"order {number}", "user_id": f"u{number}", "at": number}
    return Record(row, {"type": "RECORD", "stream": "orders", "record": row}, SCHEMA)


def deliver_there(records, stream, base_url, key, store_url, run_id):
    """Deliver some records with a client and a ledger of this process's own."""
    clock = RunClock()
    transport = HttpTransport()
    client = EventsClient(
        Sender(transport, clock, retry_timeout=0),
        base_url=base_url,
        key=key,
        compression=Compression.GZIP,
        timeout=30,
        clock=clock,
    )
    store = open_store(store_url, clock=clock, project="here", run_id=run_id) if store_url else None
    try:
        ledger = store.ledger("orders") if store else NoLedger()
        return deliver(records, stream, client, ledger, now_ms=int(clock.time() * 1000))
    finally:
        transport.close()
        if store:
            store.close()


@pytest.fixture(scope="module")
def pool():
    # No fork: this process has threads.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def spread(pool, statsig):
    """Deliver records in chunks, each of them somewhere, and return the receipts."""

    def spread(records, store_url=None, run_id="run 1"):
        stream = ItemStream("orders", StreamSettings(ObjectType.EVENT), EVENTS, Bounds(40, 1_000_000))
        there = partial(
            deliver_there,
            stream=stream,
            base_url=statsig.events_url,
            key=statsig.server_secret_key,
            store_url=store_url,
            run_id=run_id,
        )
        return list(pool.map(there, [records[start : start + CHUNK] for start in range(0, len(records), CHUNK)]))

    return spread


def arrived(statsig):
    return Counter(event["user"]["userID"] for event in statsig.state.events)


def test_receipts_from_everywhere_add_up(spread, statsig):
    statsig.faults.add(event="order *7", status=400, body='{"message": "no sevens"}')
    records = [order(number) for number in range(450)]
    receipts = spread(records)
    assert sum(receipt.records for receipt in receipts) == 450
    assert sum(receipt.delivered for receipt in receipts) == 405
    assert sum((receipt.reasons for receipt in receipts), Counter()) == {"refused_by_statsig": 45}
    assert sum(receipt.requests for receipt in receipts) == len(statsig.state.requests)
    assert arrived(statsig) == Counter(f"u{number}" for number in range(450) if number % 10 != 7)
    rejected = [rejection.record for receipt in receipts for rejection in receipt.rejections]
    assert rejected == [record for record in records if record.data["user_id"].endswith("7")]


def test_a_second_run_over_a_shared_store_sends_only_what_failed(spread, statsig, tmp_path):
    store_url = f"sqlite:///{tmp_path / 'store.db'}"
    records = [order(number) for number in range(400)]
    statsig.faults.add(event="order 150", status=503)
    first = spread(records, store_url)
    assert [receipt.undelivered for receipt in first] == [0, 60, 0, 0]
    assert "`retry_timeout`" in str(first[1].failure)

    statsig.faults.clear()
    again = spread(records, store_url, run_id="run 2")
    assert sum(receipt.skipped_duplicates for receipt in again) == 340
    assert arrived(statsig) == Counter(f"u{number}" for number in range(400))
