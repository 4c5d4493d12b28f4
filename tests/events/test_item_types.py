"""What holds for every object type that goes to the events API."""

from __future__ import annotations

import json
from collections import Counter

import jsonschema_rs
import pytest

from target_statsig.config.choices import DESTINATIONS, ObjectType, Tier
from target_statsig.config.settings import StreamSettings
from target_statsig.emulator.events_api import ENDPOINTS
from target_statsig.events.delivery import BatchDelivery, Bounds, Delivery, RefusalStreak
from target_statsig.events.items import ITEM_TYPES
from target_statsig.reports.report import MappingWarnings
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.store.ledger import NoLedger
from tests.events.statsig_schema import BODIES
from tests.fakes import NOON, FakeClock, FakeTransport, InProcessWorkers, answer, events_client
from tests.items import ITEM_SAMPLES, item_types
from tests.mapped import columns_of

KINDS = [pytest.param(kind, id=kind.object_type) for kind in ITEM_TYPES.values()]


def stream_of(items, size=1_000_000, **settings):
    return ObjectType(items.object_type), Bounds(500, size), settings


def send(stream, rows, *answers):
    object_type, bounds, settings = stream
    transport, clock = FakeTransport(*answers, then=answer(202)), FakeClock()
    client = events_client(transport, clock)
    reader = RecordReader("rows", "rows", {"properties": {}}, (), validates=True)
    settings = StreamSettings(object_type, **settings)
    # As in another process: the mapping of each object type has to be pickled.
    workers, refusals = InProcessWorkers(), RefusalStreak()
    delivery = Delivery("rows", settings, ITEM_TYPES[object_type], bounds, refusals, workers, client, NoLedger())
    preparation = delivery.preparation(reader, None)
    lines = [json.dumps({"type": "RECORD", "stream": "rows", "record": row}).encode() + b"\n" for row in rows]
    batch_delivery = BatchDelivery(delivery, preparation, int(NOON * 1000), 0, delivery.ledger, lambda: None)
    return batch_delivery.run(Batch(lines)), transport


def reasons(result):
    return Counter(rejection.error.reason for rejection in result.rejections)


def test_every_object_type_but_segment_is_an_item_type():
    assert set(ITEM_TYPES) == set(ObjectType) - {ObjectType.SEGMENT} == set(DESTINATIONS)
    assert {items.object_type for items in ITEM_SAMPLES} == {kind.value for kind in ITEM_TYPES}


@pytest.mark.parametrize("kind", KINDS)
def test_the_emulator_and_the_published_schema_have_its_endpoint(kind):
    assert ENDPOINTS[kind.endpoint.path][0] == kind.endpoint.items
    assert kind.endpoint.items in BODIES[kind.endpoint.path]["required"]


@item_types
@pytest.mark.parametrize("settings", [{}, {"environment_tier": Tier.STAGING, "is_test": True}], ids=["bare", "more"])
def test_requests_match_the_published_schema(items, settings):
    result, transport = send(stream_of(items, **settings), [items.row(number) for number in range(3)])

    (request,) = transport.requests
    assert request.url.endswith(f"/v1/{items.call}")
    jsonschema_rs.validate(BODIES[items.call], json.loads(request.body))
    assert result.counts.delivered == 3
    assert result.counts.billable == (3 if items.object_type == "metric" or not settings else 0)


def test_only_metrics_can_be_marked_as_a_test():
    marked = {}
    for items in ITEM_SAMPLES:
        _, transport = send(stream_of(items, is_test=True), [items.row(1)])
        marked[items.object_type] = transport.sent().get("isTest")
    assert marked == {"event": None, "exposure": None, "metric": True}


@item_types
def test_messages_and_reasons_name_the_object_type(items):
    name = items.object_type
    result, _ = send(stream_of(items), [items.row(1)], answer(503))
    assert f"1 {name} of stream 'rows'" in str(result.failure)
    result, _ = send(stream_of(items), [items.row(1), items.row(2)], answer(503))
    assert f"2 {name}s of stream 'rows'" in str(result.failure)

    result, transport = send(stream_of(items, size=201), [items.row(1)])
    assert (reasons(result), transport.requests) == ({f"{name}_too_large": 1}, [])


@item_types
def test_a_refused_batch_is_halved_down_to_the_refused_item(items):
    def refuse_u2(request):
        return answer(400, {"message": "no"}) if b'"u2"' in request.body else answer(202)

    result, transport = send(stream_of(items), [items.row(number) for number in range(5)], *[refuse_u2] * 9)
    assert reasons(result) == {"refused_by_statsig": 1}
    assert result.counts.delivered == 4
    assert json.loads(result.rejections[0].line)["record"]["user_id"] == "u2"
    assert len(transport.requests) <= 7


@item_types
def test_items_are_counted_by_name(items):
    object_type = ObjectType(items.object_type)
    mapped = ITEM_TYPES[object_type].mapper(StreamSettings(object_type))(
        columns_of(items.row(1)), 0, MappingWarnings(), {}
    )
    assert set(mapped.names) <= {*items.columns.values()}
    result, _ = send(stream_of(items), [items.row(1), items.row(2)])
    assert result.counts.names == {mapped.names[0]: 2}
