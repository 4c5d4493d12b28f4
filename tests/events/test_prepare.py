"""A batch of lines becomes requests and rejections, and each record the same as alone."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import Compression, DeletedRows, EventPreset, InvalidEventName, Tier, TimeUnit
from target_statsig.config.settings import StreamSettings
from target_statsig.events.items import EVENTS, EXPOSURES, ITEM_TYPES, METRICS
from target_statsig.events.prepare import ENVELOPE_BYTES, Limits, Preparation
from target_statsig.events.remembered import digest, position
from target_statsig.reports.report import MappingWarnings
from target_statsig.singer.message import MESSAGES
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.store.ledger import DIGEST_BYTES

NOW = 1_717_632_000_000
"""2024-06-06T00:00:00Z, unix milliseconds."""

NOON = NOW - 43_199_750
"""The time of `PLAIN`."""

ANY = {"properties": {}}
OF_THE_ID = {"properties": {"id": {"type": ["integer", "null"]}}}
PLAIN = {"id": 1, "event": "order", "user_id": "u1", "timestamp": "2024-06-05T12:00:00.250Z", "value": 1.50}
SENT = {"eventName": "order", "value": 1.5, "time": NOON, "user": {"userID": "u1"}, "metadata": {"id": "1"}}

LIMITS = Limits(rows=500, bytes=10_000, largest=20_000)


def line(record, **more):
    return json.dumps({"type": "RECORD", "stream": "orders", "record": record, **more}).encode() + b"\n"


def preparation(kind=EVENTS, schema=ANY, key_properties=(), *, remembers=True, **settings):
    """Return what prepares a stream's batches, as it arrives in another process."""
    reader = RecordReader("orders", "orders", schema, key_properties, validates=True)
    stream = StreamSettings(kind.object_type, **settings)
    made = Preparation(reader, stream, kind, remembers, Compression.NONE, "timestamp")
    return pickle.loads(pickle.dumps(made))


def prepare(lines, limits=LIMITS, mapped=None, **options):
    return preparation(**options)(Batch(lines, mapped=mapped), limits, NOW)


def requests_of(prepared, lines):
    """Return the items of each request, by the lines that they were made of."""
    found = []
    for request in prepared.requests:
        body = json.loads(request.body)
        items = next(body[name] for name in ("events", "exposures", "metrics") if name in body)
        rows = range(len(lines)) if request.rows is None else request.rows
        assert request.count == len(items) == sum(request.names.values())
        found.append(dict(zip(rows, items, strict=True)))
    return found


def items_of(prepared, lines):
    """Return the items of all requests, by line."""
    return {row: item for request in requests_of(prepared, lines) for row, item in request.items()}


def digests_by_row(digests, rows):
    """Return digests that stand end to end, by line."""
    parts = [digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES)]
    return dict(zip(rows, parts, strict=True))


def decoded(record_line):
    return MESSAGES.decode(record_line)["record"]


def test_plain_records_are_ready_to_be_sent():
    lines = [line(each) for each in (PLAIN, {**PLAIN, "event": "refund"}, PLAIN)]
    prepared = prepare(lines, schema=OF_THE_ID, key_properties=["id"])
    (request,) = prepared.requests
    assert requests_of(prepared, lines) == [{0: SENT, 1: {**SENT, "eventName": "refund"}, 2: SENT}]
    assert (request.count, request.rows, request.names) == (3, None, {"order": 2, "refund": 1})
    assert request.size >= len(request.body) - ENVELOPE_BYTES
    assert request.digests == prepared.digests == b"".join(digest(decoded(each)) for each in lines)
    assert (prepared.rows, prepared.rejected, prepared.readable) == (None, [], 3)
    assert prepared.highest == position(PLAIN["timestamp"])


def test_records_that_are_not_remembered_have_no_digest():
    prepared = prepare([line(PLAIN)], remembers=False)
    (request,) = prepared.requests
    assert (request.count, request.digests, prepared.digests, prepared.highest) == (1, b"", b"", None)


def test_without_lines_there_is_no_request():
    prepared = prepare([])
    assert (prepared.requests, prepared.rejected, prepared.digests, prepared.readable) == ([], [], b"", 0)


@pytest.mark.parametrize("columns", [pytest.param({}, id="by-type"), pytest.param({"more": None}, id="ragged")])
@pytest.mark.parametrize(
    ("odd", "reason", "field"),
    [
        pytest.param({**PLAIN, "id": "one"}, "schema_violation", "id", id="breaks-its-schema"),
        pytest.param({"event": "order", "user_id": "u1"}, "missing_key_property", "id", id="lacks-its-key"),
        pytest.param({**PLAIN, "event": None}, "missing_event_name", "event_name", id="no-name"),
        pytest.param({**PLAIN, "event": ["order"]}, "missing_event_name", "event_name", id="a-list-for-a-name"),
        pytest.param({**PLAIN, "event": True}, "missing_event_name", "event_name", id="a-boolean-for-a-name"),
        pytest.param({**PLAIN, "event": "a;b"}, "invalid_event_name", "event_name", id="a-name-that-statsig-drops"),
        pytest.param({**PLAIN, "event": "e" * 129}, "event_name_too_long", "event_name", id="a-long-name"),
        pytest.param({**PLAIN, "user_id": " "}, "missing_identifier", "user_id", id="no-identifier"),
        pytest.param({**PLAIN, "timestamp": "never"}, "invalid_time", "event_time", id="an-invalid-time"),
        pytest.param({**PLAIN, "event": "a;b", "user_id": None}, "invalid_event_name", "event_name", id="two-faults"),
        pytest.param({**PLAIN, "note": "x" * 20_000}, "event_too_large", None, id="too-large"),
        pytest.param({**PLAIN, "note": "\ud800"}, "not_encodable", None, id="half-a-surrogate-pair"),
        pytest.param({**PLAIN, "user_id": "\udc00"}, "not_encodable", None, id="half-a-pair-for-an-id"),
        pytest.param({**PLAIN, "value": float("nan")}, "not_encodable", None, id="not-a-number"),
        pytest.param({**PLAIN, "custom": {"a": float("inf")}}, "not_encodable", None, id="infinity"),
    ],
)
def test_a_single_faulty_record_is_rejected_and_the_others_are_sent(odd, reason, field, columns):
    types = {"user_id": {}, "event": {}, "timestamp": {}, "value": {}, "note": {}}
    schema = {"properties": {**OF_THE_ID["properties"], **types}}
    plain = {**PLAIN, "note": "hi"}
    lines = [line(each) for each in (plain, odd, {**plain, "id": 3, **columns})]
    prepared = prepare(lines, schema=schema, key_properties=["id"])
    assert prepared.rejected == [(1, reason, field)]
    assert items_of(prepared, lines) == {
        0: {**SENT, "metadata": {"id": "1", "note": "hi"}},
        2: {**SENT, "metadata": {"id": "3", "note": "hi"}},
    }
    breaks_schema = reason in ("schema_violation", "missing_key_property")
    sound = [0, 2] if breaks_schema else [0, 1, 2]
    assert prepared.rows == ([0, 2] if breaks_schema else None)
    digests = digests_by_row(prepared.digests, sound)
    assert digests[0] + digests[2] == b"".join(request.digests for request in prepared.requests)
    assert digests[2] == digest(decoded(lines[2]))
    assert (prepared.readable, prepared.unreadable) == (3, None)


def test_a_record_that_is_nested_too_deeply_is_rejected_alone():
    for deep in ("[" * 300 + "]" * 300, "[" * 100_000 + "]" * 100_000):
        lines = [line(PLAIN), line(PLAIN).replace(b"1.5", deep.encode()), line(PLAIN)]
        prepared = prepare(lines)
        assert prepared.rejected == [(1, "nested_too_deeply", None)]
        assert items_of(prepared, lines) == {0: SENT, 2: SENT}


def test_a_number_that_is_too_large_is_rejected_alone():
    lines = [line(PLAIN), line(PLAIN).replace(b"1.5", b"1e99999999999999999999"), line(PLAIN)]
    prepared = prepare(lines)
    assert prepared.rejected == [(1, "not_encodable", None)]
    assert items_of(prepared, lines) == {0: SENT, 2: SENT}


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        pytest.param(line(None), "is not a RECORD of 'orders' with an object as its record", id="no-object"),
        pytest.param(line([PLAIN]), "is not a RECORD of 'orders'", id="a-list"),
        pytest.param(
            line(PLAIN)[:-2] + b', "stream": "others"}\n', "is not a RECORD of 'orders'", id="of-another-stream"
        ),
        pytest.param(line(PLAIN)[:-2] + b', "type": "STATE"}\n', "is not a RECORD of 'orders'", id="another-message"),
        pytest.param(line(PLAIN)[:-2] + b"\n", "is not valid JSON", id="cut-short"),
        pytest.param(line(PLAIN)[:-2], "is not valid JSON and has no end", id="cut-off"),
        pytest.param(line(PLAIN)[:-1] + line(PLAIN), "is not valid JSON", id="two-in-a-line"),
        pytest.param(b'{"type": "RECORD", "stream": "orders", "record": ' + b"[" * 100_000, "nested", id="open"),
        pytest.param(b"\xff\n", "is not valid UTF-8", id="no-utf-8"),
    ],
)
def test_an_unreadable_line_ends_the_batch(odd, fault):
    lines = [line(PLAIN), odd] if not odd.endswith(b"\n") else [line(PLAIN), odd, line(PLAIN)]
    prepared = prepare(lines)
    assert fault in prepared.unreadable
    assert (prepared.readable, prepared.rejected) == (1, [])
    assert items_of(prepared, lines) == {0: SENT}
    assert prepared.digests == digest(decoded(lines[0]))


def sent(**changes):
    """Return the item of `PLAIN` with other members; None takes one out."""
    return {name: value for name, value in {**SENT, **changes}.items() if value is not None}


def user(**fields):
    return {"userID": "u1", **fields}


@pytest.mark.parametrize(
    ("records", "settings", "items"),
    [
        pytest.param(
            [PLAIN, {**PLAIN, "user_id": "u2", "note": "hi"}],
            {},
            [SENT, sent(user={"userID": "u2"}, metadata={"id": "1", "note": "hi"})],
            id="ordinary",
        ),
        pytest.param(
            [PLAIN],
            {"event_name": "purchase", "environment_tier": Tier.STAGING},
            [
                sent(
                    eventName="purchase",
                    user=user(statsigEnvironment={"tier": "staging"}),
                    metadata={"id": "1", "event": "order"},
                )
            ],
            id="one-name-and-a-tier",
        ),
        pytest.param(
            [PLAIN, {**PLAIN, "event": "a;b"}],
            {"invalid_event_name": InvalidEventName.SANITIZE},
            [SENT, sent(eventName="a_b")],
            id="renamed",
        ),
        pytest.param(
            [{**PLAIN, "event": "page"}, PLAIN],
            {"event_preset": EventPreset.DEFAULT},
            [sent(eventName="page_view"), SENT],
            id="preset",
        ),
        pytest.param(
            [{**PLAIN, "event": name} for name in (1, 1.5, 1, "1")],
            {},
            [sent(eventName=name) for name in ("1", "1.5", "1", "1")],
            id="names-of-digits",
        ),
        pytest.param(
            [PLAIN, {**PLAIN, "timestamp": "2019-01-01"}, {**PLAIN, "timestamp": "2024-06-05 14:00:00.250+02:00"}],
            {},
            [SENT, sent(time=1_546_300_800_000), SENT],
            id="times",
        ),
        pytest.param(
            [{**PLAIN, "timestamp": 1_717_600_000}, PLAIN],
            {"time_unit": TimeUnit.SECONDS},
            [sent(time=1_717_600_000_000), SENT],
            id="a-numeric-time",
        ),
        pytest.param(
            [PLAIN, {**PLAIN, "timestamp": None}, {**PLAIN, "timestamp": " "}],
            {},
            [SENT, sent(time=NOW - 3_600_000), sent(time=NOW - 3_600_000)],
            id="no-time",
        ),
        pytest.param(
            [{"event": "order", "user_id": 7}],
            {},
            [{"eventName": "order", "time": NOW - 3_600_000, "user": {"userID": "7"}}],
            id="no-time-at-all",
        ),
        pytest.param(
            [{**PLAIN, "value": value} for value in (None, "1.50", " ", "gold", 1.5)],
            {},
            [sent(value=None), SENT, sent(value=None), sent(value="gold"), SENT],
            id="values-in-texts",
        ),
        pytest.param(
            [{**PLAIN, "value": value} for value in (True, [1], {"a": 1e2}, 2)],
            {},
            [sent(value="true"), sent(value="[1]"), sent(value='{"a":100.0}'), sent(value=2)],
            id="values-that-are-no-numbers",
        ),
        pytest.param(
            [{**PLAIN, "value": value, "revenue": first} for value, first in ((1, 2), (3, None), (None, 4))],
            {},
            [
                sent(value=2, metadata={"id": "1", "value": "1"}),
                sent(value=3),
                sent(value=4),
            ],
            id="two-columns-for-a-value",
        ),
        pytest.param(
            [{**PLAIN, "note": note} for note in (True, {"a": 1.0}, 7.0, 7.50, "x", None, [None])],
            {},
            [
                *(sent(metadata={"id": "1", "note": note}) for note in ("true", '{"a":1.0}', "7", "7.5", "x")),
                SENT,
                sent(metadata={"id": "1", "note": "[null]"}),
            ],
            id="metadata-of-any-kind",
        ),
        pytest.param([{**PLAIN, "id": None}], {}, [sent(metadata=None)], id="no-metadata"),
        pytest.param([PLAIN], {"metadata_fields": ()}, [sent(metadata=None)], id="no-metadata-wanted"),
        pytest.param(
            [PLAIN, {**PLAIN, "note": "hi"}],
            {"metadata_fields": ("note", "value")},
            [sent(metadata={"value": "1.5"}), sent(metadata={"note": "hi", "value": "1.5"})],
            id="some-metadata-wanted",
        ),
        pytest.param(
            [{**PLAIN, "note": "hi"}],
            {"metadata_fields": ("*", "note")},
            [sent(metadata={"id": "1", "note": "hi"})],
            id="metadata-wanted-twice",
        ),
        pytest.param(
            [{**PLAIN, "nested": {"a": 1}}, {**PLAIN, "nested": None}, {**PLAIN, "nested__a": 2}],
            {"metadata_fields": ("nested.a",)},
            [sent(metadata={"nested_a": "1"}), sent(metadata=None), sent(metadata={"nested_a": "2"})],
            id="metadata-within-an-object",
        ),
        pytest.param(
            [{**PLAIN, "a.b": 1, "_sdc_batched_at": "now"}, {**PLAIN, "a.b": 1, "a_b": 2}],
            {},
            [sent(metadata={"id": "1", "a_b": "1"}), sent(metadata={"id": "1", "a_b": "2"})],
            id="names-with-a-dot-or-for-singer",
        ),
        pytest.param(
            [{**PLAIN, 'a"b': 1, "c\\d": 2, "é\n": 3}, {**PLAIN, 'a"b': None}],
            {},
            [sent(metadata={"id": "1", 'a"b': "1", "c\\d": "2", "é\n": "3"}), SENT],
            id="names-that-json-escapes",
        ),
        pytest.param(
            [*({**PLAIN, "properties": each} for each in ({"revenue": 9, "sku": "x"}, {"sku": {"a": [1.50]}})), PLAIN],
            {},
            [
                sent(value=9, metadata={"id": "1", "value": "1.5", "sku": "x"}),
                sent(metadata={"id": "1", "sku": '{"a":[1.5]}'}),
                SENT,
            ],
            id="properties",
        ),
        pytest.param(
            [{**PLAIN, "properties": each} for each in ("no object", {"privateAttributes": 1, "b.c": True}, {}, None)],
            {},
            [
                sent(metadata={"id": "1", "properties": "no object"}),
                sent(metadata={"id": "1", "b_c": "true"}),
                SENT,
                SENT,
            ],
            id="properties-of-any-kind",
        ),
        pytest.param(
            [{**PLAIN, "company": "c1"}, {**PLAIN, "company": None, "stable_id": " s1 "}, PLAIN],
            {"custom_ids": {"companyID": "company"}},
            [sent(user=user(customIDs={"companyID": "c1"})), sent(user=user(customIDs={"stableID": "s1"})), SENT],
            id="columns-that-differ",
        ),
        pytest.param(
            [{**PLAIN, "company": "c1", "user_id": None}, {**PLAIN, "company": ""}, {**PLAIN, "company": 7.0}],
            {"custom_ids": {"companyID": "company"}},
            [
                sent(user={"customIDs": {"companyID": "c1"}}),
                sent(metadata={"id": "1"}),
                sent(user=user(customIDs={"companyID": "7"})),
            ],
            id="another-id-in-each-record",
        ),
        pytest.param(
            [{**PLAIN, "stable_id": "s1", "a": each} for each in ("", "d")],
            {"custom_ids": {"stableID": "a"}},
            [sent(user=user(customIDs={"stableID": "s1"})), sent(user=user(customIDs={"stableID": "d"}))],
            id="two-columns-for-an-id",
        ),
        pytest.param(
            [{**PLAIN, "email": "a@b.c", "country": None}, {**PLAIN, "traits": {"email": "d@e.f"}}],
            {},
            [sent(user=user(email="a@b.c")), sent(user=user(email="d@e.f"))],
            id="a-user-with-more",
        ),
        pytest.param(
            [{**PLAIN, "custom": {"plan": "pro"}}, {**PLAIN, "marketing_consent": True}, {**PLAIN, "custom": "none"}],
            {},
            [sent(user=user(custom={"plan": "pro"})), sent(user=user(custom={"marketing_consent": "granted"})), SENT],
            id="custom-attributes-and-consent",
        ),
    ],
)
def test_records_become_items(records, settings, items):
    lines = [line(each, time_extracted="2024-06-05T23:00:00Z") for each in records]
    prepared = prepare(lines, **settings)
    assert prepared.rejected == []
    assert items_of(prepared, lines) == dict(enumerate(items))
    # A batch that is read by type becomes the same items as one that is read by objects.
    for schema in ({"properties": dict.fromkeys(each, True)} for each in records):
        alike = [other for other in lines if decoded(other).keys() == schema["properties"].keys()]
        by_type = prepare(alike, schema=schema, **settings)
        assert [*items_of(by_type, alike).values()] == [items[lines.index(other)] for other in alike]


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        pytest.param(b"89.90", b"89.90", id="as-it-came"),
        pytest.param(b"1e2", b"100", id="a-large-exponent"),
        pytest.param(b"1E-300", b"0." + b"0" * 299 + b"1", id="a-small-exponent"),
        pytest.param(b"12345678901234567890.5", b"12345678901234567890.5", id="more-digits-than-a-double-has"),
        pytest.param(b"1" + b"0" * 40, b"1" + b"0" * 40, id="a-large-integer"),
        pytest.param(b'"1e2"', b"100", id="an-exponent-in-a-text"),
    ],
)
def test_no_number_is_sent_with_an_exponent(written, printed):
    lines = [line({**PLAIN, "value": 0.25}), line(PLAIN).replace(b"1.5", written), line({**PLAIN, "value": 0.75})]
    for schema in (ANY, {"properties": dict.fromkeys(PLAIN, True)}):
        (request,) = prepare(lines, schema=schema).requests
        for value in (b"0.25", printed, b"0.75"):
            assert b'"eventName":"order","value":%b,"time"' % value in request.body


def test_items_over_a_limit_go_in_several_requests():
    lines = [line({**PLAIN, "id": number}) for number in range(5)]
    assert [[*each] for each in requests_of(prepare(lines, Limits(2, 10_000, 10_000)), lines)] == [[0, 1], [2, 3], [4]]
    size = len(json.dumps(SENT, separators=(",", ":")))
    two = Limits(500, ENVELOPE_BYTES + 2 * size + 1, 10_000)
    prepared = prepare(lines, two)
    assert [[*each] for each in requests_of(prepared, lines)] == [[0, 1], [2, 3], [4]]
    assert all(len(request.body) <= request.size <= two.bytes for request in prepared.requests)
    assert b"".join(request.digests for request in prepared.requests) == prepared.digests
    one = Limits(500, two.bytes - 1, 10_000)
    assert [[*each] for each in requests_of(prepare(lines, one), lines)] == [[0], [1], [2], [3], [4]]


def test_rejections_leave_no_gap_in_the_requests():
    lines = [line({**PLAIN, "event": "a;b" if number in (0, 3) else f"e{number}"}) for number in range(6)]
    prepared = prepare(lines, Limits(2, 10_000, 10_000))
    assert [request.rows for request in prepared.requests] == [[1, 2], [4, 5]]
    assert [request.names for request in prepared.requests] == [{"e1": 1, "e2": 1}, {"e4": 1, "e5": 1}]
    assert [row for row, _, _ in prepared.rejected] == [0, 3]
    digests = digests_by_row(prepared.digests, range(6))
    assert [request.digests for request in prepared.requests] == [digests[1] + digests[2], digests[4] + digests[5]]


def test_a_large_item_is_sent_alone_and_a_too_large_one_is_rejected():
    lines = [line({**PLAIN, "note": "x" * length}) for length in (1, 700, 1, 3_000, 1)]
    prepared = prepare(lines, Limits(500, 800, 1_500))
    assert [request.rows for request in prepared.requests] == [[0], [1], [2, 4]]
    assert prepared.rejected == [(3, "event_too_large", None)]


@pytest.mark.parametrize(
    ("kind", "record", "reason"),
    [
        pytest.param(EXPOSURES, {"experiment": "e", "group": "g" * 2_000}, "exposure_too_large", id="exposure"),
        pytest.param(METRICS, {"metric_name": "m" * 2_000, "value": 1}, "metric_too_large", id="metric"),
    ],
)
def test_any_kind_of_item_can_be_too_large(kind, record, reason):
    prepared = prepare([line({"user_id": "u", **record})], Limits(500, 800, 1_500), kind=kind)
    assert (prepared.requests, prepared.rejected) == ([], [(0, reason, None)])


def test_deleted_rows_are_skipped_or_sent():
    deleted = {**PLAIN, "id": 2, "_sdc_deleted_at": "2024-06-06"}
    lines = [line(each) for each in (PLAIN, deleted, {**PLAIN, "event": "a;b"}, {**PLAIN, "id": 4})]
    skipped = prepare(lines)
    assert (skipped.deleted, skipped.rows, skipped.readable) == (1, [0, 2, 3], 4)
    assert [*items_of(skipped, lines)] == [0, 3]
    assert skipped.rejected == [(2, "invalid_event_name", "event_name")]
    assert digests_by_row(skipped.digests, skipped.rows) == {row: digest(decoded(lines[row])) for row in (0, 2, 3)}
    kept = prepare(lines, deleted_rows=DeletedRows.SEND)
    assert (kept.deleted, [*items_of(kept, lines)]) == (0, [0, 1, 3])


def test_mapped_records_are_sent_and_original_ones_remembered():
    lines = [line({"secret": number, "timestamp": PLAIN["timestamp"]}) for number in range(3)]
    mapped = [{**PLAIN, "value": 0.1}, {**PLAIN, "event": None}, {**PLAIN, "value": float("1e-7")}]
    prepared = prepare(lines, mapped=mapped)
    assert items_of(prepared, lines) == {0: sent(value=0.1), 2: sent(value=1e-7)}
    assert prepared.rejected == [(1, "missing_event_name", "event_name")]
    assert prepared.digests == b"".join(digest(decoded(each)) for each in lines)
    assert b"0.0000001" in prepared.requests[0].body
    assert prepared.highest == position(PLAIN["timestamp"])


def test_a_request_says_that_a_metric_is_a_test():
    record = {"user_id": "u", "metric_name": "m", "value": 1}
    (request,) = prepare([line(record)], kind=METRICS, is_test=True).requests
    assert json.loads(request.body)["isTest"] is True


TEXTS = st.text(max_size=3) | st.sampled_from(["1e5", "2024-06-05", "granted", " ", "u1", "12.50", "{}"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | TEXTS | st.floats() | st.text(st.characters(codec=None), max_size=2)
)
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(
        st.sampled_from(["revenue", "ip", "email", "a.b", "a_b", "privateAttributes", "id", 'a"b']), SCALARS, max_size=3
    )
)
COLUMNS = {
    "id": st.integers() | st.just("one"),
    "event": st.sampled_from(["order", " page ", "a;b", "", None, 1, True]),
    "user_id": TEXTS | st.sampled_from([None, 7, 7.5, True]),
    "timestamp": st.sampled_from(
        ["2024-06-05T12:00:00", "2024-06-05 12:00:00.5+02:00", "never", None, 7, "1999-12-31"]
    ),
    "value": SCALARS,
    "revenue": SCALARS,
    **dict.fromkeys(("a", "a.b", "a_b", "properties", "properties__a", "properties__ip", "context", "traits"), VALUES),
    **dict.fromkeys(("custom", "marketing_consent", "anonymous_id", "email", "id_type", "company", "_sdc_lsn"), VALUES),
    "_sdc_deleted_at": st.sampled_from([None, "", "2024-06-06"]),
    "experiment": st.sampled_from(["checkout", None, 1, ""]),
    "gate_name": st.sampled_from([None, None, "gate", ""]),
    "passes": st.sampled_from([True, "no", 1, None, "maybe"]),
    "group": st.sampled_from(["Test", 2, None, ""]),
    "metric_name": st.sampled_from(["m", None, " n "]),
    "numerator": st.sampled_from([None, 1, "2.5", "x"]),
    "denominator": st.sampled_from([None, 2.5, "2"]),
}
SOUND = {
    "id": st.integers(),
    "event": st.sampled_from(["order", "refund"]),
    "user_id": st.sampled_from(["u1", "u2", 7]),
    "timestamp": st.sampled_from(["2024-06-05T12:00:00", "2024-06-05 12:00:00.5+02:00", "2019-12-31"]),
    "experiment": st.just("checkout"),
    "group": st.just("Test"),
    "metric_name": st.just("m"),
}
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "event_name": st.sampled_from(["order", "a;b"]),
        "event_preset": st.sampled_from(EventPreset),
        "invalid_event_name": st.sampled_from(InvalidEventName),
        "environment_tier": st.sampled_from(Tier),
        "time_unit": st.sampled_from(TimeUnit),
        "deleted_rows": st.sampled_from(DeletedRows),
        "custom_ids": st.sampled_from([{"companyID": "company"}, {"x y": "a.b"}, {"stableID": "a"}]),
        "field_mapping": st.sampled_from(
            [{"user_id": "a"}, {"event_value": "a.b", "event_time": "timestamp"}, {"event_value": "properties.a.b"}]
        ),
        "metadata_fields": st.sampled_from([(), ("*",), ("a", "a.b"), ("*", "value"), ("properties",)]),
    },
)
SCHEMA = {"properties": {"id": {"type": ["integer", "null"]}}}


@st.composite
def batches(draw):
    """Draw the lines of a batch: records of the same columns, or ragged ones."""
    columns = st.sets(st.sampled_from(sorted(COLUMNS)), max_size=6)
    drawn, ragged = draw(columns), draw(st.just(set()) | columns)
    some = {**SOUND, **{name: COLUMNS[name] for name in sorted(drawn)}}
    records = st.fixed_dictionaries(
        {name: values for name, values in some.items() if name not in ragged},
        optional={name: COLUMNS[name] for name in sorted(ragged)},
    )
    shuffled = records.flatmap(lambda record: st.permutations([*record.items()]).map(dict))
    batch = draw(st.lists(shuffled if draw(st.booleans()) else records, min_size=1, max_size=5))
    return [line(record, time_extracted=draw(st.sampled_from([None, "2024-06-05"]))) for record in batch]


@given(batches(), SETTINGS, st.sampled_from([*ITEM_TYPES.values()]), st.sampled_from([1, 2, 500]), st.data())
def test_records_are_prepared_alike_in_a_batch_and_alone(lines, settings, kind, rows, data):
    schemas = [SCHEMA, {"properties": dict.fromkeys(json.loads(lines[0])["record"], True)}]
    prepares = preparation(kind=kind, schema=data.draw(st.sampled_from(schemas)), **settings)
    # As it goes to another process and comes back.
    limits = Limits(rows, 600, 900)
    whole = pickle.loads(pickle.dumps(prepares(*pickle.loads(pickle.dumps((Batch(lines), limits, NOW))))))
    alone = [prepares(Batch([each]), limits, NOW) for each in lines]

    assert items_of(whole, lines) == {
        row: item for row, each in enumerate(alone) for item in items_of(each, lines[:1]).values()
    }
    assert whole.rejected == [
        (row, reason, field) for row, each in enumerate(alone) for _, reason, field in each.rejected
    ]
    assert whole.digests == b"".join(each.digests for each in alone)
    sound = [row for row, each in enumerate(alone) if each.digests]
    assert sound == ([*range(len(lines))] if whole.rows is None else whole.rows)
    digests = digests_by_row(whole.digests, sound)
    for request in whole.requests:
        assert request.digests == b"".join(digests[row] for row in request.rows or range(len(lines)))
        assert request.count <= rows
    assert whole.deleted == sum(each.deleted for each in alone)
    assert (whole.readable, whole.unreadable) == (len(lines), None)
    warnings = MappingWarnings()
    for each in alone:
        warnings.add(each.warnings)
    assert whole.warnings == warnings
