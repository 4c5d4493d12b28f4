"""Delivery of a batch: every record is accounted for, whatever Statsig answers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from target_statsig.client.http import Transport, TransportError
from target_statsig.config.choices import DeletedRows, ObjectType, Tier
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import AuthenticationError, FatalRunError, NotNowError, RefusedError, StoreError
from target_statsig.events.delivery import BatchDelivery, Bounds, Delivery, RefusalStreak
from target_statsig.events.items import EVENTS
from target_statsig.events.remembered import digests_of
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.store.ledger import NoLedger, StreamLedger, each
from tests.fakes import NOON, FakeClock, InProcessWorkers, answer, events_client
from tests.mapped import columns_of

NOW_MS = int(NOON * 1000)
LOST = TransportError("TimeoutError: timed out", sent=True)


class Statsig(Transport):
    """Accepts events; refuses a request that has poison or is too large, or answers by the script."""

    def __init__(self, *script, poison=(), largest=10**9):
        self.script = list(script)
        self.poison = set(poison)
        self.largest = largest
        self.bodies = []
        self.arrived = []

    def send(self, request):
        self.bodies.append(request.body)
        reply = self.script.pop(0) if self.script else None
        users = [event["user"]["userID"] for event in msgspec.json.decode(request.body)["events"]]
        if isinstance(reply, Exception):
            self.arrived += users
            raise reply
        if reply is not None:
            return reply
        if len(request.body) > self.largest:
            return answer(413)
        if self.poison.intersection(users):
            return answer(400, {"message": "no such event"})
        self.arrived += users
        return answer(202)

    @property
    def sizes(self):
        return [len(msgspec.json.decode(body)["events"]) for body in self.bodies]


class Ledger(StreamLedger):
    """Knows the given records of earlier runs, and remembers the batches of this run."""

    def __init__(self, *, known=(), doubtful=(), broken=None):
        self.batches = {}
        self.acknowledged = []
        self._known = Counter(digests(known))
        self._doubtful = Counter(digests(doubtful))
        self._broken = broken

    @property
    def is_blank(self):
        return False

    @property
    def passed(self):
        return None

    def known(self, asked, *, highest, epoch):
        self._break("known")
        return [self._take(self._known, digest) for digest in asked]

    def in_doubt(self, sent):
        return sum(self._take(self._doubtful, digest) for digest in each(sent))

    def intend(self, sent, *, highest, epoch):
        self._break("intend")
        self.batches[len(self.batches)] = each(sent)
        return len(self.batches) - 1

    def acknowledge(self, batch):
        self._break("acknowledge")
        self.acknowledged.append(batch)

    def withdraw(self, batch):
        self.batches[batch] = []

    def state_written(self, bookmark, *, epoch):
        raise AssertionError

    @property
    def left_in_doubt(self):
        return sum(len(sent) for batch, sent in self.batches.items() if batch not in self.acknowledged)

    def _break(self, method):
        if self._broken == method:
            msg = "the store is full"
            raise StoreError(msg)

    @staticmethod
    def _take(counter, digest):
        counter[digest] -= 1
        return counter[digest] >= 0


def digests(rows):
    return digests_of(columns_of(*rows))


def order(number, **fields):
    return {"event": "order", "user_id": f"u{number}", "at": 1_700_000_000 + number, **fields}


def orders(count):
    return [order(number) for number in range(count)]


def line(row):
    return msgspec.json.encode({"type": "RECORD", "stream": "orders", "record": row}) + b"\n"


def stream(rows=500, size=1_000_000, **settings):
    settings = StreamSettings(ObjectType.EVENT, **settings)
    bounds, workers = Bounds(rows, size), InProcessWorkers()
    return Delivery("orders", settings, EVENTS, bounds, RefusalStreak(), workers, client_of(Statsig()), NoLedger())


def client_of(statsig, retry_timeout=0):
    clock = FakeClock()
    return events_client(statsig, clock, retry_timeout=retry_timeout)


def send(rows, statsig, *, to=None, ledger=None, retry_timeout=0, on_retry=lambda: None, schema=None):
    """Deliver a batch of records; bytes among them are lines as they are."""
    to = replace(to or stream(), client=client_of(statsig, retry_timeout), ledger=ledger or NoLedger())
    reader = RecordReader("orders", "orders", schema or {"properties": {}}, (), validates=True)
    batch = Batch([row if isinstance(row, bytes) else line(row) for row in rows])
    result = BatchDelivery(to, to.preparation(reader, None), NOW_MS, 0, to.ledger, on_retry).run(batch)
    assert_adds_up(result, len(rows) - (result.unreadable is not None))
    assert result.counts.requests == len(statsig.bodies)
    assert result.counts.bytes_sent == sum(map(len, statsig.bodies))
    assert {each.line for each in result.rejections} <= set(batch.lines)
    return result


def assert_adds_up(result, records):
    counts = result.counts
    settled = counts.delivered + counts.skipped_duplicates + counts.deleted_row
    assert records == settled + len(result.rejections) + result.undelivered
    if result.unreadable is None:
        assert bool(result.undelivered) <= (result.failure is not None)


def rejected(result):
    return [msgspec.json.decode(rejection.line)["record"]["user_id"] for rejection in result.rejections]


def reasons(result):
    return Counter(rejection.error.reason for rejection in result.rejections)


def test_all_valid_records_arrive_in_order():
    statsig = Statsig()
    records = [*orders(3), order(8, user_id=None), *orders(3), order(9, at=None)]
    result = send(records, statsig, to=stream(rows=2, field_mapping={"event_time": "at"}))
    assert statsig.arrived == ["u0", "u1", "u2", "u0", "u1", "u2", "u9"]
    assert statsig.sizes == [2, 2, 2, 1]
    assert reasons(result) == {"missing_identifier": 1}
    assert (result.counts.delivered, result.counts.requests, result.counts.billable) == (7, 4, 7)
    assert result.counts.warnings.time_defaulted == 1


@pytest.mark.parametrize(
    ("tier", "billable"),
    [
        pytest.param(None, 3, id="no tier counts as production"),
        pytest.param(Tier.PRODUCTION, 3, id="production"),
        pytest.param(Tier.STAGING, 0, id="staging"),
        pytest.param(Tier.DEVELOPMENT, 0, id="development"),
    ],
)
def test_only_production_events_are_billed(tier, billable):
    assert send(orders(3), Statsig(), to=stream(environment_tier=tier)).counts.billable == billable


def test_the_same_records_make_the_same_requests():
    statsigs = Statsig(poison=["u7"]), Statsig(poison=["u7"])
    for statsig in statsigs:
        send(orders(50), statsig, to=stream(rows=20))
    assert statsigs[0].bodies == statsigs[1].bodies


# Poison


@given(data=st.data(), count=st.integers(0, 120), rows=st.integers(1, 50))
def test_refused_events_are_rejected_and_the_others_arrive_once(data, count, rows):
    numbers = st.integers(0, max(count - 1, 0))
    poison = data.draw(st.sets(numbers, max_size=RefusalStreak.LIMIT - 1)) if count else set()
    assume(len(poison) < RefusalStreak.LIMIT)
    statsig = Statsig(poison=[f"u{number}" for number in poison])
    ledger = Ledger()

    result = send(orders(count), statsig, to=stream(rows=rows), ledger=ledger)

    healthy = [f"u{number}" for number in range(count) if number not in poison]
    assert statsig.arrived == healthy
    assert rejected(result) == [f"u{number}" for number in sorted(poison)]
    assert result.failure is None
    assert ledger.left_in_doubt == 0
    assert sum(map(len, ledger.batches.values())) == len(healthy)
    batches = math.ceil(count / rows)
    assert result.counts.requests <= batches + len(poison) * 2 * math.ceil(math.log2(rows) if rows > 1 else 1)


def test_ten_refused_events_in_500_take_few_requests():
    poison = [f"u{number}" for number in range(3, 500, 50)]
    result = send(orders(500), Statsig(poison=poison))
    assert rejected(result) == poison
    assert result.counts.requests <= 1 + 10 * 2 * math.ceil(math.log2(500))
    assert {rejection.error.reason for rejection in result.rejections} == {"refused_by_statsig"}
    assert {rejection.message for rejection in result.rejections} == {"no such event"}


def test_twenty_refused_events_and_none_accepted_end_the_run():
    statsig = Statsig(poison=[f"u{number}" for number in range(100)])
    result = send(orders(100), statsig)
    assert isinstance(result.failure, FatalRunError)
    assert "20 events of stream 'orders' one by one and took none" in str(result.failure)
    assert "no such event" in str(result.failure)
    assert len(result.rejections) == RefusalStreak.LIMIT
    assert result.undelivered == 80


def test_any_number_of_refused_events_is_rejected_after_an_accepted_one():
    statsig = Statsig(poison=[f"u{number}" for number in range(1, 100)])
    result = send(orders(100), statsig, to=stream(rows=1))
    assert result.failure is None
    assert (result.counts.delivered, len(result.rejections)) == (1, 99)


@pytest.mark.parametrize("status", [304, 404, 407])
def test_a_batch_is_not_halved_if_its_body_is_not_at_fault(status):
    statsig = Statsig(answer(status, {"message": "Cannot POST"}))
    result = send(orders(100), statsig)
    assert isinstance(result.failure, RefusedError)
    assert f"answered {status}" in str(result.failure)
    assert (result.counts.requests, result.undelivered, result.rejections) == (1, 100, [])


# Size


def test_a_413_lowers_the_bound_for_the_rest_of_the_run():
    statsig, events = Statsig(largest=2_000), stream(rows=100)
    assert send(orders(100), statsig, to=events).counts.delivered == 100
    refused = sum(len(body) > 2_000 for body in statsig.bodies)
    again = Statsig(largest=2_000)
    assert send(orders(100), again, to=events).counts.delivered == 100
    assert refused > 0
    assert all(len(body) <= 2_000 for body in again.bodies)


def test_a_413_lowers_the_bound_for_the_next_batches():
    statsig = Statsig(largest=2_000)
    send(orders(100), statsig, to=stream(rows=25))
    assert statsig.sizes[0] == 25
    assert max(statsig.sizes[-5:]) < 25


def test_an_event_that_is_too_large_by_itself_is_rejected_alone():
    statsig, events = Statsig(largest=2_000), stream()
    result = send([order(1), order(2, note="x" * 3_000), order(3, note="x" * 1_500)], statsig, to=events)
    assert reasons(result) == {"event_too_large": 1}
    assert statsig.arrived == ["u1", "u3"]
    assert send([order(4, note="x" * 3_000)], Statsig(), to=events).counts.requests == 0
    assert send([order(5, note="x" * 1_500)], Statsig(), to=events).counts.delivered == 1


def test_an_event_over_the_bound_is_rejected_without_a_request():
    statsig = Statsig()
    result = send([order(1), order(2, note="x" * 3_000)], statsig, to=stream(size=2_000))
    assert reasons(result) == {"event_too_large": 1}
    assert statsig.sizes == [1]


@given(notes=st.lists(st.integers(0, 900), max_size=40), size=st.integers(600, 3_000))
def test_no_request_is_larger_than_the_bound(notes, size):
    statsig = Statsig()
    result = send([order(number, note="x" * note) for number, note in enumerate(notes)], statsig, to=stream(size=size))
    assert all(len(body) <= size for body in statsig.bodies)
    assert set(reasons(result)) <= {"event_too_large"}


# Failures


@pytest.mark.parametrize(
    ("reply", "error", "in_doubt"),
    [
        pytest.param(answer(401), AuthenticationError, 0, id="key not accepted"),
        pytest.param(answer(503, {"success": False}), NotNowError, 0, id="busy"),
        pytest.param(answer(500), NotNowError, 2, id="unclear answer"),
        pytest.param(LOST, NotNowError, 2, id="answer lost"),
        pytest.param(TransportError("refused", sent=False), NotNowError, 0, id="never sent"),
    ],
)
def test_a_failure_leaves_the_rest_undelivered(reply, error, in_doubt):
    statsig, ledger = Statsig(None, reply), Ledger()
    result = send(orders(7), statsig, to=stream(rows=2), ledger=ledger)
    assert isinstance(result.failure, error)
    assert (result.counts.delivered, result.undelivered, result.counts.requests) == (2, 5, 2)
    assert ledger.acknowledged == [0]
    assert ledger.left_in_doubt == in_doubt


@pytest.mark.parametrize(
    ("method", "requests"),
    [
        pytest.param("known", 0, id="before anything is mapped"),
        pytest.param("intend", 0, id="before anything is sent"),
        pytest.param("acknowledge", 1, id="after it was sent"),
    ],
)
def test_a_store_that_fails_is_a_failure_in_the_result(method, requests):
    result = send(orders(3), Statsig(), ledger=Ledger(broken=method))
    assert isinstance(result.failure, StoreError)
    assert (result.undelivered, result.counts.requests) == (3, requests)


def test_retries_are_counted_and_reported_at_once():
    reported_after = []
    statsig = Statsig(answer(503, {"success": False}), answer(429))
    result = send(orders(3), statsig, retry_timeout=60, on_retry=lambda: reported_after.append(len(statsig.bodies)))
    assert reported_after == [1, 2]
    counts = result.counts
    assert (counts.delivered, counts.requests, counts.retries, counts.maybe_duplicated) == (3, 3, 2, 0)


# Duplicates


def test_records_are_skipped_as_often_as_they_were_delivered():
    statsig = Statsig()
    records = [order(1), order(2), order(1), order(1)]
    result = send(records, statsig, ledger=Ledger(known=[order(1), order(1)]))
    assert result.counts.skipped_duplicates == 2
    assert statsig.arrived == ["u2", "u1"]


def test_a_lost_answer_counts_its_batch_as_maybe_duplicated():
    statsig = Statsig(LOST)
    result = send(orders(5), statsig, to=stream(rows=3), retry_timeout=60)
    assert (result.counts.delivered, result.counts.maybe_duplicated) == (5, 3)
    assert len(statsig.arrived) == 5 + 3


def test_records_that_an_earlier_run_left_in_doubt_are_counted_once():
    result = send(orders(5), Statsig(), to=stream(rows=3), ledger=Ledger(doubtful=orders(2)))
    assert (result.counts.delivered, result.counts.maybe_duplicated) == (5, 2)


def test_records_stay_in_doubt_when_their_batch_is_halved():
    result = send(orders(4), Statsig(poison=["u3"]), ledger=Ledger(doubtful=orders(2)))
    assert (result.counts.delivered, result.counts.maybe_duplicated) == (3, 2)


def test_a_refusal_after_a_lost_answer_leaves_the_halves_in_doubt():
    statsig = Statsig(LOST, answer(413))
    result = send(orders(4), statsig, retry_timeout=60)
    assert (result.counts.delivered, result.counts.maybe_duplicated) == (4, 4)
    assert len(statsig.arrived) == 4 + 4


def test_deliveries_are_recorded_by_request():
    statsig, ledger, rows = Statsig(), Ledger(), orders(5)
    result = send(rows, statsig, to=stream(rows=3), ledger=ledger)
    assert (result.counts.delivered, result.counts.names) == (5, {"order": 5})
    assert ledger.batches == {0: digests(rows[:3]), 1: digests(rows[3:])}
    assert ledger.acknowledged == [0, 1]


def test_only_the_new_records_of_a_batch_are_sent():
    statsig, ledger = Statsig(), Ledger(known=[order(1)])
    result = send(orders(3), statsig, ledger=ledger)
    assert (result.counts.skipped_duplicates, result.counts.delivered, result.counts.requests) == (1, 2, 1)
    assert statsig.arrived == ["u0", "u2"]
    assert ledger.batches == {0: digests([order(0), order(2)])}


def test_known_records_are_not_counted_as_in_doubt():
    statsig, rows = Statsig(), [order(1), order(2), order(1), order(1)]
    ledger = Ledger(known=[order(1), order(1)], doubtful=[order(2)])
    result = send(rows, statsig, ledger=ledger)
    assert (result.counts.skipped_duplicates, result.counts.delivered, result.counts.maybe_duplicated) == (2, 2, 1)
    assert ledger.batches == {0: digests([order(2), order(1)])}


def test_a_batch_of_known_records_sends_nothing():
    statsig, ledger = Statsig(), Ledger(known=orders(3))
    result = send(orders(3), statsig, ledger=ledger)
    assert (result.counts.skipped_duplicates, result.counts.delivered, result.counts.requests) == (3, 0, 0)
    assert ledger.batches == {}


def test_a_known_record_that_the_mapping_rejects_is_skipped():
    bad = order(1, user_id=None)
    statsig, ledger = Statsig(), Ledger(known=[bad])
    result = send([order(0), bad, order(2), order(3, user_id=None)], statsig, ledger=ledger)
    assert (result.counts.skipped_duplicates, result.counts.delivered) == (1, 2)
    assert [(each.line, each.error.reason, each.error.field) for each in result.rejections] == [
        (line(order(3, user_id=None)), "missing_identifier", "user_id")
    ]


def test_a_schema_violation_is_rejected_even_if_it_is_known():
    schema = {"properties": {"at": {"type": "integer"}}}
    statsig, ledger = Statsig(), Ledger(known=[order(0), order(1, at="late")])
    result = send([order(0), order(1, at="late"), order(2)], statsig, ledger=ledger, schema=schema)
    assert (result.counts.skipped_duplicates, reasons(result), rejected(result)) == (1, {"schema_violation": 1}, ["u1"])
    assert statsig.arrived == ["u2"]


# Deleted rows and unreadable lines


def test_deleted_rows_are_skipped_and_rejected_rows_keep_their_lines():
    gone = order(1, _sdc_deleted_at="2026-11-22")
    rows = [order(0), gone, order(2, user_id=None), order(3)]
    statsig = Statsig()
    result = send(rows, statsig, to=stream(deleted_rows=DeletedRows.SKIP), ledger=Ledger(known=[order(0)]))
    assert (result.counts.deleted_row, result.counts.delivered, result.counts.skipped_duplicates) == (1, 1, 1)
    assert [each.line for each in result.rejections] == [line(rows[2])]
    assert statsig.arrived == ["u3"]


UNREADABLE = [
    pytest.param(b'{"type":"RECORD","stream":"orders","record":{\n', "is not valid JSON", id="no JSON"),
    pytest.param(b'{"type":"RECORD","stream":"orders","record":{}', "has no end", id="cut off"),
    pytest.param(b'{"type":"RECORD","stream":"orders","record":7}\n', "is not a RECORD of 'orders'", id="no object"),
    pytest.param(
        b'{"type":"RECORD","stream":"orders","record":{},"stream":"others"}\n',
        "is not a RECORD of",
        id="another stream",
    ),
]


@pytest.mark.parametrize(("odd", "words"), UNREADABLE)
@pytest.mark.parametrize("known", [0, 1, 2])
def test_only_records_before_an_unreadable_line_are_delivered(odd, words, known):
    statsig = Statsig()
    ledger = Ledger(known=orders(known))
    behind = [order(3), order(4)] if odd.endswith(b"\n") else []  # only the last line can lack its end
    result = send([order(0), order(1), odd, *behind], statsig, ledger=ledger)
    row, fault = result.unreadable
    assert row == 2
    assert words in fault
    assert (result.counts.skipped_duplicates, result.counts.delivered) == (known, 2 - known)
    assert result.undelivered == len(behind)
    assert statsig.arrived == ["u0", "u1"][known:]
    assert result.failure is None


@pytest.mark.parametrize(
    ("known", "poison", "rejects"),
    [pytest.param([order(0)], (), {}, id="some are known"), pytest.param([], {"u2"}, {"u2"}, id="one is refused")],
)
def test_every_record_of_a_mixed_batch_is_accounted_for(known, poison, rejects):
    schema = {"properties": {"at": {"type": "integer"}}}
    rows = [order(0), order(1, at="late"), order(2), b"no JSON\n", order(4)]
    result = send(rows, Statsig(poison=poison), ledger=Ledger(known=known), schema=schema)
    assert result.unreadable[0] == 3
    assert rejected(result) == ["u1", *rejects]
    assert result.undelivered == 1


def test_a_batch_that_begins_with_an_unreadable_line_sends_nothing():
    result = send([b"no JSON\n", order(1)], Statsig())
    assert (result.unreadable[0], result.undelivered, result.counts.requests) == (0, 1, 0)


# Limits that change while a request is under way


class LoweringStatsig(Statsig):
    """Lowers the bounds with every request, as other batches do at the same time."""

    def __init__(self, bounds, **options):
        super().__init__(**options)
        self._bounds = bounds

    def send(self, request):
        self._bounds.lower(2_000, alone=True)
        return super().send(request)


def test_items_that_become_too_large_meanwhile_are_rejected_alone():
    events = stream()
    rows = [order(0, note="x" * 5_000), *orders(3)[1:]]
    result = send(rows, LoweringStatsig(events.bounds, largest=2_000), to=events)
    assert (result.counts.delivered, rejected(result), reasons(result)) == (2, ["u0"], {"event_too_large": 1})
    assert events.bounds.limits.largest == 1_999


def test_all_items_can_become_too_large_meanwhile():
    events = stream()
    statsig = LoweringStatsig(events.bounds, largest=2_000)
    result = send([order(n, note="x" * 5_000) for n in range(3)], statsig, to=events)
    assert (result.counts.delivered, rejected(result)) == (0, ["u0", "u1", "u2"])
