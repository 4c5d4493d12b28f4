"""Events from the input to Statsig, over a real socket."""

from __future__ import annotations

import pytest

from target_statsig.target import TargetStatsig
from tests.client.socket_server import TRICKLED_BODY, SocketServer, trickle
from tests.singer import record, schema, state, to_lines

ALSO_IN_A_WORKER = True

EVENT = {"object_type": "event", "dedupe": False}


def orders(count, start=0):
    return [
        record("orders", {"event": "order", "user_id": f"u{number}", "timestamp": "2026-11-01T00:00:00Z"})
        for number in range(start, start + count)
    ]


def test_records_become_events_in_batches_of_500(run_target, statsig):
    outcome = run_target([schema("orders"), *orders(1200), state(orders={"n": 1})], **EVENT)
    assert outcome.exit_code == 0
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(f"u{n}" for n in range(1200))
    assert sorted(entry.items for entry in statsig.state.requests) == [200, 500, 500]
    assert outcome.states == [{"bookmarks": {"orders": {"n": 1}}}]
    counts = outcome.report["streams"]["orders"]
    assert (counts["records"], counts["delivered"], counts["requests"], counts["billable"]) == (1200, 1200, 3, 1200)


def test_the_retail_example_becomes_exactly_this_event(run_target, statsig):
    fields = {
        "event": "Order Completed",
        "user_id": "user-123",
        "anonymous_id": "a1b2c3d4",
        "timestamp": "2024-06-06T00:00:00Z",
        "properties": {"order_id": "ORD-1234", "revenue": 89.99, "currency": "USD", "coupon": "SUMMER10"},
        "context": {"ip": "203.0.113.10", "user_agent": "Mozilla/5.0", "locale": "en-US"},
        "traits": {"email": "jane@example.com"},
        "consent": {"marketing": True},
    }
    run_target([schema("events"), record("events", fields)], event_preset="retail", **EVENT)
    assert statsig.state.events == [
        {
            "eventName": "purchase",
            "value": 89.99,
            "time": 1717632000000,
            "user": {
                "userID": "user-123",
                "email": "jane@example.com",
                "ip": "203.0.113.10",
                "userAgent": "Mozilla/5.0",
                "locale": "en-US",
                "customIDs": {"stableID": "a1b2c3d4"},
                "custom": {"marketing_consent": "granted"},
            },
            "metadata": {"order_id": "ORD-1234", "currency": "USD", "coupon": "SUMMER10"},
        }
    ]


def test_records_that_were_read_and_not_sent_are_counted(run_target, statsig):
    statsig.faults.add(path="*/log_event", status=503, skip=1)
    messages = [schema("orders"), *orders(25), schema("more"), record("more", {"event": "more", "user_id": "u"})]
    outcome = run_target(messages, batch_size_rows=10, max_parallel_requests=1, **EVENT)
    assert outcome.exit_code == 1
    counts = outcome.report["streams"]["orders"]
    assert (counts["records"], counts["delivered"]) == (25, 10)
    assert "orders  events        25         10        15" in outcome.log
    assert "more    events         1          0         1" in outcome.log


def test_a_body_stays_under_the_byte_bound(run_target, statsig):
    run_target([schema("orders"), *orders(300)], batch_size_bytes=10_000, compression="none", **EVENT)
    assert len(statsig.state.events) == 300
    assert all(entry.size <= 10_000 for entry in statsig.state.requests)


def test_requests_after_a_413_are_as_full_as_possible(run_target, statsig):
    statsig.faults.add(path="/v1/log_event", over_bytes=60_000, status=413)
    orders = [record("orders", {"event": "order", "user_id": f"u{n}", "note": "x" * 50}) for n in range(4_000)]
    outcome = run_target([schema("orders"), *orders, state(orders={})], object_type="event", max_parallel_requests=1)
    sizes = [request.items for request in statsig.state.requests if request.status == 202]
    assert [event["user"]["userID"] for event in statsig.state.events] == [f"u{n}" for n in range(4_000)]
    assert min(sizes[:-1]) >= 200
    assert len(statsig.state.requests) <= 17
    assert outcome.report["streams"]["orders"]["requests"] == len(statsig.state.requests)


def test_bad_records_are_rejected_and_the_others_are_sent(run_target, statsig):
    properties = {"event": {"type": "string"}, "user_id": {"type": ["string", "null"]}, "timestamp": {}}
    bad = [
        record("orders", {"event": "order", "user_id": None}),
        record("orders", {"event": 7, "user_id": "secret-person"}),
        record("orders", {"event": "a;b", "user_id": "secret-person"}),
        record("orders", {"event": "order", "user_id": "secret-person", "timestamp": "yesterday"}),
    ]
    outcome = run_target([schema("orders", properties), *orders(3), *bad, *orders(3, 3), state(orders={})], **EVENT)
    assert outcome.exit_code == 0
    assert len(statsig.state.events) == 6
    counts = outcome.report["streams"]["orders"]
    assert counts["reasons"] == {
        "missing_identifier": 1,
        "schema_violation": 1,
        "invalid_event_name": 1,
        "invalid_time": 1,
    }
    assert counts["records"] == counts["delivered"] + counts["rejected"] == 10
    assert outcome.states == [{"bookmarks": {"orders": {}}}]
    dead = [line["record"] for line in run_target.dead_letters if line["type"] == "RECORD"]
    assert sorted(dead, key=repr) == sorted((each["record"] for each in bad), key=repr)
    assert sorted(line["reason"] for line in run_target.dead_letters[1:]) == sorted(counts["reasons"])
    assert "secret-person" not in outcome.log + str(outcome.report)


def test_too_many_rejected_records_fail_the_run_at_its_end(run_target, statsig):
    bad = [record("orders", {"event": "order"}) for _ in range(11)]
    outcome = run_target([schema("orders"), *bad, *orders(20), state(orders={})], **EVENT)
    assert outcome.exit_code == 1
    assert "11 of 31 records were rejected (missing_identifier 11)" in outcome.errors
    assert len(statsig.state.events) == 20
    assert outcome.states == [{"bookmarks": {"orders": {}}}]


def test_the_first_rejected_record_ends_the_run_if_none_is_allowed(run_target, statsig):
    bad = record("orders", {"event": "order"})
    outcome = run_target([schema("orders"), bad, state(orders={})], max_rejected_percent=0, **EVENT)
    assert outcome.exit_code == 1
    assert outcome.states == []
    assert "`max_rejected_percent` is 0" in outcome.errors


def test_a_key_that_is_not_accepted_ends_the_run_without_a_state(run_target, statsig):
    outcome = run_target(
        [schema("orders"), *orders(10), state(orders={})], server_secret_key="secret-wrong-1234", **EVENT
    )
    assert outcome.exit_code == 1
    assert outcome.states == []
    assert "server_secret_key" in outcome.errors
    assert "secret-wrong" not in outcome.errors


def test_a_run_that_cannot_go_on_reads_no_further(run_target, statsig):
    """Even if the next batch never becomes full."""
    read_on = iter(range(1_000_000))

    def lines():
        yield from to_lines([schema("orders"), *orders(2)]).splitlines(keepends=True)
        while not statsig.state.requests:
            yield b"\n"
        for _ in read_on:
            yield b"\n"

    target = TargetStatsig(config=run_target.config(server_secret_key="secret-revoked", batch_size_rows=2, **EVENT))
    assert target.run_to_end(lines()) == 1
    assert next(read_on) < 999_999


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param({"type": "BATCH", "stream": "orders", "manifest": []}, "BATCH", id="batch"),
        pytest.param(b"not json\n", "Line 3 of the input", id="malformed"),
        pytest.param(record("other", {}), "before its SCHEMA", id="record before schema"),
        pytest.param({"type": "RECORD", "record": {}}, "lacks stream", id="no stream"),
        pytest.param(schema("other"), "", id="schema of another stream is fine"),
    ],
)
def test_unusable_input_ends_the_run_after_the_records_before_it(run_target, statsig, message, words):
    outcome = run_target([schema("orders"), *orders(1), message, state(orders={})], **EVENT)
    assert outcome.exit_code == (1 if words else 0)
    assert words in outcome.errors
    assert len(statsig.state.events) == 1
    assert bool(outcome.states) is not bool(words)


def test_an_unconfigured_stream_is_refused_before_it_is_sent(run_target, statsig):
    outcome = run_target([schema("orders"), *orders(5), state(orders={})], streams={"other": EVENT})
    assert outcome.exit_code == 1
    assert "stream 'orders': `object_type` is missing" in outcome.errors
    assert statsig.state.events == []
    assert outcome.states == []


@pytest.mark.usefixtures("waits_take_no_time")
def test_a_request_is_repeated_when_statsig_asks_for_it(run_target, statsig):
    statsig.faults.add(path="/v1/*", status=503, retry_after=0, times=2)
    outcome = run_target([schema("orders"), *orders(5)], retry_timeout=60, **EVENT)
    assert outcome.exit_code == 0
    assert outcome.report["streams"]["orders"]["retries"] == 2
    assert len(statsig.state.events) == 5


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        pytest.param(
            trickle(TRICKLED_BODY, b"a"), "not finished within the 1 s of `request_timeout`", id="trickles in"
        ),
        pytest.param(
            trickle(b"HTTP/1.1 202 Accepted\r\n\r\n", b"a" * 100_000), "longer than 1,048,576 bytes", id="endless"
        ),
    ],
)
def test_an_answer_that_does_not_end_fails_the_run_without_a_state(run_target, behaviour, words):
    with SocketServer(behaviour) as server:
        outcome = run_target(
            [schema("orders"), *orders(5), state(orders={})], events_url=server.url, request_timeout=1, **EVENT
        )
    assert outcome.exit_code == 1
    assert words in outcome.errors
    assert outcome.states == []
    assert len(server.received) == 1


def test_an_unreachable_statsig_fails_the_run_without_a_state(run_target, statsig):
    statsig.faults.add(path="/v1/*", status=500)
    outcome = run_target([schema("orders"), *orders(5), state(orders={})], **EVENT)
    assert outcome.exit_code == 1
    assert outcome.states == []
    assert outcome.report["streams"]["orders"]["delivered"] == 0


def test_two_streams_with_different_columns_can_become_one(run_target, statsig):
    first = schema("orders", {"event": {}, "user_id": {}})
    second = schema("sales", {"event": {}, "user_id": {}, "till": {}})
    (order,) = orders(1)
    sale = record("sales", {"event": "sale", "user_id": "u7", "till": 3})
    outcome = run_target(
        [first, second, order, sale, first, order, sale],
        stream_maps={"orders": {"__alias__": "sales"}},
        streams={"sales": EVENT},
    )
    assert outcome.exit_code == 0, outcome.errors
    assert sorted(event["eventName"] for event in statsig.state.events) == ["order", "order", "sale", "sale"]


@pytest.mark.parametrize(
    "becomes",
    [
        pytest.param(EVENT, id="events"),
        pytest.param({"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}, id="members"),
    ],
)
def test_streams_under_one_alias_keep_their_own_schemas(run_target, statsig, becomes):
    statsig.state.seed_segment("vips", [])
    numbered = schema("orders", {"event": {}, "user_id": {}, "id": {"type": "integer"}}, ["id"])
    lettered = schema(
        "sales", {"event": {}, "user_id": {}, "key": {"type": "string"}, "id": {"type": "string"}}, ["key"]
    )
    order = record("orders", {"event": "order", "user_id": "u1", "id": 1})
    sale = record("sales", {"event": "sale", "user_id": "u2", "id": "a", "key": "k"})
    outcome = run_target(
        [numbered, lettered, order, sale, order, numbered, order, {**sale, "record": {**sale["record"], "id": 7}}],
        stream_maps={name: {"__alias__": "sold"} for name in ("orders", "sales")},
        streams={"sold": {**becomes, "max_rejected_percent": 100}},
    )
    assert outcome.exit_code == 0, outcome.errors
    counts = outcome.report["streams"]["sold"]
    assert (counts["records"], counts["reasons"]) == (5, {"schema_violation": 1})


@pytest.mark.parametrize("every_turn", [False, True], ids=["schemas come first", "schemas come at every turn"])
def test_streams_that_take_turns_under_one_alias_fill_their_batches(run_target, statsig, every_turn):
    schemas = {
        name: schema(name, {"event": {}, "user_id": {}, **more})
        for name, more in {"web": {}, "app": {"os": {}}}.items()
    }
    messages = [*schemas.values()]
    for number in range(50):
        for name, message in schemas.items():
            messages += [message] * every_turn
            messages += [record(name, {"event": "visit", "user_id": f"{name}{number}"})] * 2
    maps = {name: {"__alias__": "visits"} for name in schemas}
    outcome = run_target([*messages, state(web={})], object_type="event", stream_maps=maps)
    assert outcome.states == [{"bookmarks": {"web": {}}}]
    assert len(statsig.state.events) == outcome.report["streams"]["visits"]["delivered"] == 200
    assert outcome.report["streams"]["visits"]["requests"] <= 3


def test_stream_maps_change_records_but_not_dead_letters(run_target, statsig):
    maps = {"orders": {"__alias__": "sales", "event": "'mapped'", "user_id": "user_id if user_id != 'u1' else None"}}
    outcome = run_target(
        [schema("orders", {"event": {}, "user_id": {"type": ["string", "null"]}}), *orders(2)],
        stream_maps=maps,
        streams={"sales": EVENT},
    )
    assert [event["eventName"] for event in statsig.state.events] == ["mapped"]
    assert outcome.report["streams"]["sales"]["rejected"] == 1
    dead = run_target.dead_letters
    assert dead[0]["stream"] == "orders"
    assert dead[1]["record"]["user_id"] == "u1"
    assert dead[1]["record"]["event"] == "order"


def test_a_flattened_column_is_found(run_target, statsig):
    properties = {
        "event": {"type": "string"},
        "user": {"type": "object", "properties": {"id": {"type": "string"}}},
    }
    fields = {"event": "order", "user": {"id": "u7"}}
    run_target(
        [schema("orders", properties), record("orders", fields)],
        flattening_enabled=True,
        flattening_max_depth=2,
        field_mapping={"user_id": "user.id"},
        **EVENT,
    )
    assert statsig.state.events[0]["user"] == {"userID": "u7"}


def test_a_schema_change_loses_no_record(run_target, statsig):
    run_target(
        [
            schema("orders", {"event": {}, "user_id": {}}),
            *orders(10),
            schema("orders", {"event": {}, "user_id": {}, "extra": {}}),
            *orders(10, 10),
        ],
        **EVENT,
    )
    assert len(statsig.state.events) == 20
    # A batch of undecoded records ends with its schema.
    assert len(statsig.state.requests) <= 2


def test_the_report_lists_a_limited_number_of_renamed_events(run_target, statsig):
    rows = [record("orders", {"event": f"order;{number}", "user_id": "u"}) for number in range(1100)]
    outcome = run_target([schema("orders"), *rows], invalid_event_name="sanitize", **EVENT)
    assert len(statsig.state.events) == 1100
    renamed = outcome.report["streams"]["orders"]["renamed"]
    assert len(renamed) == 100
    assert all(new == old.replace(";", "_") for old, new in renamed.items())
