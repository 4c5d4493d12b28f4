"""Every fault, met by the first, a middle and the last request of each kind of stream.

Each test checks what arrived, the last STATE, the exit code and the error, and that the next run sends the rest. Waits
take no time; everything else is real: sockets, TLS, the store, dead letters.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from target_statsig.client.http import HttpTransport
from target_statsig.commands.run import Run
from target_statsig.events import stream as event_stream
from target_statsig.target import TargetStatsig
from tests.fakes import InProcessWorkers
from tests.items import ITEM_SAMPLES
from tests.singer import TargetRunner, activate_version, record, schema, state

pytestmark = pytest.mark.e2e

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.client.http import Request

SIZE = 2
"""Records in a batch."""

BATCHES = 3
FIRST, MIDDLE, LAST = range(BATCHES)


# What is sent. For another kind of stream, add a row to FLOWS.


@dataclass(frozen=True)
class Flow:
    """A kind of stream, whose records arrive in three requests.

    Attributes:
        settings: The target's.
        requests: Conditions of a fault that meets the first, the second, the third request and those after it.
        stages: What Statsig has before each of the requests, and after the last.
        look: Returns what Statsig has.
        subject: How messages name what failed.
        key: The setting of the key that is sent.
        url: The setting of the address.
        holds_state: Whether a failed request holds the STATE back; else the rows are kept, or the tap sends them again.
        halves: Whether a refused request is halved down to the refused items.
        full_table: Whether the tap sends everything in every run, then its version, and one empty STATE.
        in_a_worker: Whether a worker prepares its records.
    """

    settings: Mapping[str, Any]
    requests: tuple[Mapping[str, Any], ...]
    stages: tuple[Counter[str], ...]
    look: Callable[[Any], Counter[str]]
    subject: str
    key: str
    url: str
    holds_state: bool = False
    halves: bool = False
    full_table: bool = False
    in_a_worker: bool = False

    def messages(self, *, since=0, large=None):
        """Return what a tap sends that continues after a STATE; the records of one batch may be large."""
        lines = [schema("rows")]
        for number in range(0 if self.full_table else since, BATCHES):
            more = LARGE if number == large else {}
            version = {"version": 1} if self.full_table else {}
            lines += [record("rows", {**row, **more}, **version) for row in rows(number)]
            if self.full_table and number == LAST:
                lines.append(activate_version("rows"))
            if not self.full_table or number == LAST:
                lines.append(self.state(number + 1))
        return lines

    def state(self, batches):
        return state(rows={} if self.full_table else {"batches": batches})

    @property
    def whole(self):
        return self.stages[-1]


LARGE = dict.fromkeys(("group", "id_type"), "x" * 3_000)
"""Columns that make any kind of item large."""


def rows(number):
    """Return rows with the columns that all kinds of streams need."""
    name = f"name of batch {number}"
    every = {"event": name, "experiment": name, "group": "Test", "metric": name, "value": 1}
    units = range(number * SIZE, (number + 1) * SIZE)
    return [{"user_id": f"u{unit}", "timestamp": "2026-11-01T00:00:00Z", **every} for unit in units]


def units(*batches):
    return Counter(row["user_id"] for number in batches for row in rows(number))


def members(statsig):
    return Counter(statsig.state.ids("vips"))


def conditions_of(method, path, skip):
    return {"method": method, "path": path, "skip": skip}


GONE = Counter({"gone": 1})


def flow_of(items):
    """Return the flow of an object type that goes to the events API."""
    return Flow(
        settings={"object_type": items.object_type, "batch_size_rows": SIZE, "max_parallel_requests": 1},
        requests=tuple(conditions_of("POST", f"/v1/{items.call}", number) for number in range(BATCHES)),
        stages=tuple(units(*range(number)) for number in range(BATCHES + 1)),
        look=lambda statsig: Counter(items.units(statsig)),
        subject="stream 'rows'",
        key="server_secret_key",
        url="events_url",
        holds_state=True,
        halves=True,
    )


ADD = Flow(
    settings={"object_type": "segment", "segment_id": "vips", "sync_mode": "add", "segment_batch_size": SIZE},
    requests=tuple(conditions_of("PATCH", "*/id_list", number) for number in range(BATCHES)),
    stages=tuple(GONE + units(*range(number)) for number in range(BATCHES + 1)),
    look=members,
    subject="segment 'vips'",
    key="console_api_key",
    url="console_url",
)

MIRROR = replace(
    ADD,
    settings={**ADD.settings, "sync_mode": "mirror", "segment_batch_size": SIZE + 1},
    requests=(
        conditions_of("PATCH", "*/id_list", 0),
        conditions_of("PATCH", "*/id_list", 1),
        conditions_of("DELETE", "*/id_list", 0),
    ),
    stages=(
        GONE,
        GONE + Counter(f"u{unit}" for unit in range(3)),
        GONE + units(FIRST, MIDDLE, LAST),
        units(FIRST, MIDDLE, LAST),
    ),
    full_table=True,
)

FLOWS = {items.object_type: flow_of(items) for items in ITEM_SAMPLES}
FLOWS |= {"event in a worker": replace(FLOWS["event"], in_a_worker=True), "segment add": ADD, "segment mirror": MIRROR}

POSITIONS = {"first": FIRST, "middle": MIDDLE, "last": LAST}


def positions_of(name):
    """Return all positions; one is enough for flows that are much like that of events."""
    return ["middle"] if name in {"exposure", "metric", "event in a worker"} else list(POSITIONS)


flows_and_positions = pytest.mark.parametrize(
    ("flow", "position"),
    [
        pytest.param(flow, POSITIONS[position], id=f"{name}-{position}")
        for name, flow in FLOWS.items()
        for position in positions_of(name)
    ],
)


# Faults


@dataclass(frozen=True)
class Fault:
    """A way for a request to go wrong.

    Attributes:
        emulated: What the emulator does to it.
        detour: Changes the request on its way, instead of that or besides.
        words: What the error says; `{url}` and `{key}` are the names of the settings.
        lost: Whether the request was sent and its answer lost, as far as the target knows.
        taken: Whether the request took effect all the same.
    """

    words: str
    emulated: Mapping[str, Any] = field(default_factory=dict)
    detour: Callable[[Request], Request] | None = None
    lost: bool = False
    taken: bool = False


def answered(status, words="(`retry_timeout`)", *, lost=False, taken=False, **more):
    effects = {"status": status, "taken": taken, **more}
    name = " ".join([str(status), *more, *(["taken"] if taken else [])])
    return pytest.param(Fault(words, effects, lost=lost, taken=taken), id=name)


def to_closed_port(request):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return to(f"http://127.0.0.1:{probe.getsockname()[1]}")(request)


def to(base):
    return lambda request: replace(request, url=f"{base}/{request.url.split('/', 3)[3]}")


def with_tls(request):
    return replace(request, url=request.url.replace("http://", "https://"))


def with_short_timeout(request):
    # Long enough for the request to be sent and accepted on a busy machine.
    return replace(request, timeout=0.1)


UNKNOWN_HOST = "statsig.invalid"
UNREACHABLE = "Check `{url}`, and that this machine can connect to it."
LOST = "Statsig may have taken the request"

PASSING = [
    *(answered(status) for status in (409, 429, 503)),
    *(answered(status, lost=True) for status in (408, 500, 502, 504, 599)),
    answered(500, LOST, taken=True, lost=True),
    answered(429, "asked for a wait of 7 s", retry_after=7),
    answered(503, "asked for a wait of 7 s", retry_after=7),
    answered(202, "but did not confirm success", body='{"success": false}'),
    answered(200, "answered 200 without JSON", body="<html>", lost=True),
    pytest.param(Fault(LOST, {"drop": True}, lost=True), id="dropped before"),
    pytest.param(Fault(LOST, {"drop": True, "taken": True}, lost=True, taken=True), id="dropped after"),
    pytest.param(Fault(LOST, {"hang": True}, with_short_timeout, lost=True), id="never answered"),
    pytest.param(
        Fault(LOST, {"hang": True, "taken": True}, with_short_timeout, lost=True, taken=True),
        id="taken, never answered",
    ),
    pytest.param(Fault(UNREACHABLE, detour=to_closed_port), id="connection refused"),
    pytest.param(Fault(UNREACHABLE, detour=to(f"http://{UNKNOWN_HOST}")), id="unknown host"),
    pytest.param(Fault(UNREACHABLE, detour=with_tls), id="no TLS"),
]

ENDING = [
    *(answered(status, "with the key in `{key}`", body='{"message": "revoked"}') for status in (401, 403)),
    answered(429, "Run it again after 20", retry_after=7_200),
    answered(503, "Run it again after 20", retry_after="Fri, 31 Dec 2100 23:59:59 GMT"),
]

REFUSED = [answered(status, "{status}", body='{"message": "no such thing"}') for status in (400, 413, 422, 501)]

NOWHERE = [
    answered(404, "`{url}`", body="{}"),
    answered(405, "Check that `{url}` is the right address.", body="{}"),
]


class Detour(HttpTransport):
    """Changes the requests that meet a fault's conditions."""

    def __init__(self, conditions, way, times):
        super().__init__()
        self._method = conditions["method"]
        self._path = conditions["path"].removeprefix("*")
        self._meets = range(conditions["skip"], conditions["skip"] + times)
        self._way = way
        self._seen = 0

    def send(self, request):
        if request.method == self._method and request.url.endswith(self._path):
            if self._seen in self._meets:
                request = self._way(request)
            self._seen += 1
        return super().send(request)


# Runs


@pytest.fixture
def statsig(statsig_factory):
    """A Statsig without rate limits, which a clock that does not wait would break."""
    statsig = statsig_factory(mutation_windows=(), id_list_windows=())
    statsig.state.seed_segment("vips", GONE)
    return statsig


@pytest.fixture
def run(request, statsig, tmp_path, capsys, caplog, monkeypatch, waits_take_no_time):
    """Run targets within this process, on a clock that does not wait."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caplog.set_level(logging.DEBUG)
    in_a_worker = request.node.callspec.params["flow"].in_a_worker
    if in_a_worker:
        monkeypatch.setattr(event_stream, "WORKERS_AFTER", 0)
        monkeypatch.setattr("target_statsig.commands.run.Workers", InProcessWorkers)
    yield TargetRunner(statsig, tmp_path, capsys, caplog)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_name_server(monkeypatch):
    """Let one name not resolve, without a look-up elsewhere."""
    look_up = socket.getaddrinfo

    def answer(host, *more, **options):
        if host == UNKNOWN_HOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *more, **options)

    monkeypatch.setattr("socket.getaddrinfo", answer)


@pytest.fixture
def break_request(statsig, monkeypatch):
    """Let so many requests meet a fault, from one of a flow's requests on."""

    def break_request(fault, conditions, times):
        if fault.emulated:
            statsig.faults.add(**conditions, **fault.emulated, times=times)
        if fault.detour:
            monkeypatch.setattr(Run, "_open_transport", lambda _: Detour(conditions, fault.detour, times))

    return break_request


@pytest.fixture
def end_fault(statsig, monkeypatch):
    """Let no request meet the fault any more."""

    def end_fault():
        statsig.faults.clear()
        monkeypatch.setattr(Run, "_open_transport", lambda _: HttpTransport())

    return end_fault


FOR_GOOD = 1_000


def counts_of(outcome):
    return outcome.report["streams"]["rows"]


def assert_one_clear_error(outcome, fault, flow):
    (error,) = outcome.report["errors"]
    words = fault.words.format(url=flow.url, key=flow.key, status=fault.emulated.get("status"))
    assert words in error
    assert flow.subject in error
    assert "Unexpected" not in outcome.log
    assert "Traceback" not in outcome.log


def last_state(outcome):
    return outcome.states[-1] if outcome.states else None


def assert_states(flow, outcome, batches):
    """Check that the last STATE covers the batches that are settled, and none before it covers more."""
    expected = [flow.state(number)["value"] for number in range(1, batches + 1)]
    assert last_state(outcome) == (expected[-1] if batches else None)
    assert all(state in expected for state in outcome.states)


@flows_and_positions
@pytest.mark.parametrize("fault", [*PASSING, *ENDING, *NOWHERE])
def test_a_lasting_fault_fails_the_run_and_the_next_run_completes_it(
    run, statsig, break_request, end_fault, flow, position, fault
):
    break_request(fault, flow.requests[position], FOR_GOOD)
    outcome = run(flow.messages(), **flow.settings)

    assert outcome.exit_code == 1
    assert_one_clear_error(outcome, fault, flow)
    assert flow.look(statsig) == flow.stages[position + fault.taken]
    settled = position if flow.holds_state else BATCHES
    assert_states(flow, outcome, settled)

    end_fault()
    again = run(flow.messages(since=settled), **flow.settings)
    assert again.exit_code == 0
    doubled = units(position) if flow.holds_state and fault.taken else Counter()
    assert flow.look(statsig) == flow.whole + doubled
    if flow.holds_state:
        assert counts_of(again)["maybe_duplicated"] == (SIZE if fault.lost else 0)


@flows_and_positions
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_is_retried(run, statsig, break_request, flow, position, fault):
    break_request(fault, flow.requests[position], 1)
    outcome = run(flow.messages(), retry_timeout=60, **flow.settings)

    assert outcome.exit_code == 0
    assert outcome.report["errors"] == []
    assert "Next try in" in outcome.log
    doubled = units(position) if flow.holds_state and fault.taken else Counter()
    assert flow.look(statsig) == flow.whole + doubled
    assert_states(flow, outcome, BATCHES)
    if flow.holds_state:
        counts = counts_of(outcome)
        assert (counts["requests"], counts["retries"]) == (BATCHES + 1, 1)
        assert counts["maybe_duplicated"] == (SIZE if fault.lost else 0)


@flows_and_positions
@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_rejects_items_alone_or_fails_its_segment(
    run, statsig, break_request, end_fault, flow, position, fault
):
    """A batch of items is halved down to the refused ones, here all of one batch; ids are not refused alone."""
    if flow.halves:
        name = f"name of batch {position}".encode()
        statsig.faults.add(when=lambda arrival: name in arrival.body, **fault.emulated)
    else:
        break_request(fault, flow.requests[position], 1)
    outcome = run(flow.messages(large=position), **flow.settings)

    assert outcome.exit_code == (0 if flow.halves else 1)
    assert_states(flow, outcome, BATCHES)
    if flow.halves:
        assert outcome.report["errors"] == []
        assert flow.look(statsig) == flow.whole - units(position)
        counts = counts_of(outcome)
        assert (counts["delivered"], counts["rejected"]) == ((BATCHES - 1) * SIZE, SIZE)
        assert [letter["statsig"] for letter in run.dead_letters[1:]] == ["no such thing"] * SIZE
    else:
        assert_one_clear_error(outcome, fault, flow)
        assert flow.look(statsig) == flow.stages[position]

    end_fault()
    if flow.halves:
        assert TargetStatsig(config=run.config(**flow.settings)).replay() == 0
    else:
        assert run(flow.messages(since=BATCHES), **flow.settings).exit_code == 0
    assert flow.look(statsig) == flow.whole


READS = [
    pytest.param(ADD, conditions_of("GET", "*/segments/vips", 0), GONE, id="segment add: check"),
    pytest.param(MIRROR, conditions_of("GET", "*/segments/vips", 0), GONE, id="segment mirror: check"),
    pytest.param(MIRROR, conditions_of("GET", "*/segments/vips", 1), GONE, id="segment mirror: check again"),
    pytest.param(MIRROR, conditions_of("GET", "*/idlist_metadata", 0), GONE, id="segment mirror: read the version"),
    pytest.param(MIRROR, conditions_of("GET", "*/id_list", 0), GONE, id="segment mirror: read the list"),
    pytest.param(
        MIRROR,
        conditions_of("GET", "*/idlist_metadata", 1),
        GONE,
        id="segment mirror: check that the list is unchanged",
    ),
    pytest.param(
        MIRROR, conditions_of("GET", "*/idlist_metadata", 2), MIRROR.whole, id="segment mirror: wait for the update"
    ),
    pytest.param(MIRROR, conditions_of("GET", "*/segments/vips", 2), MIRROR.whole, id="segment mirror: count again"),
]


@pytest.mark.parametrize(("flow", "conditions", "left"), READS)
@pytest.mark.parametrize(
    "fault",
    [
        answered(422, "422"),
        answered(429, "Run it again after 20", retry_after=7_200),
        answered(503),
        answered(200, "answered 200 without JSON", body="<html>"),
        answered(200, "Statsig's answer (200) to", body="{}"),
        pytest.param(Fault("no answer came", {"drop": True}), id="dropped"),
    ],
)
def test_a_segment_that_cannot_be_read_loses_no_member(
    run, statsig, break_request, end_fault, flow, conditions, left, fault
):
    break_request(fault, conditions, FOR_GOOD)
    outcome = run(flow.messages(), **flow.settings)
    assert outcome.exit_code == 1
    assert_one_clear_error(outcome, fault, flow)
    assert flow.look(statsig) == left
    assert_states(flow, outcome, BATCHES)

    end_fault()
    assert run(flow.messages(since=BATCHES), **flow.settings).exit_code == 0
    assert flow.look(statsig) == flow.whole


@pytest.mark.parametrize("flow", [pytest.param(ADD, id="segment add"), pytest.param(MIRROR, id="segment mirror")])
@pytest.mark.parametrize("fault", [answered(status, "with the key in `{key}`") for status in (401, 403)])
def test_a_key_without_access_to_segments_ends_the_run_at_once(run, statsig, end_fault, flow, fault):
    statsig.faults.add(method="GET", **fault.emulated)
    outcome = run(flow.messages(), **flow.settings)
    assert outcome.exit_code == 1
    assert_one_clear_error(outcome, fault, flow)
    assert counts_of(outcome)["records"] == 0
    assert_states(flow, outcome, 0)

    end_fault()
    assert run(flow.messages(), **flow.settings).exit_code == 0
    assert flow.look(statsig) == flow.whole
