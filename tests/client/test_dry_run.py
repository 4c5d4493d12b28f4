from __future__ import annotations

import msgspec
import pytest

from target_statsig.client.console import ID_LIST, USER_STORE_LIST, ConsoleClient, ListState, Segment
from target_statsig.client.dry_run import DryRunTransport, Recorded
from target_statsig.client.events import LOG_EVENT, EventsClient
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.client.sender import Sender
from target_statsig.config.choices import Compression
from target_statsig.config.settings import RateWindow, Settings
from target_statsig.errors import RefusedError
from tests.fakes import FakeClock, FakeTransport, answer
from tests.send_items import send_items

KEY = "console-abcdefghijklmnop"
VIPS = answer(200, {"data": {"id": "vips", "type": "id_list", "idType": "userID", "count": 3}})
STATE = answer(200, {"data": {"currentVersion": 7, "isUpdating": False}})


class DryRun:
    """A dry run's transport with a client, its reads and its recorded requests."""

    def __init__(self, *answers, then=None):
        self.reads = FakeTransport(*answers, then=then)
        self.recorded: list[Recorded] = []
        console_url = "https://console.example/console/v1"
        self.transport = DryRunTransport(self.reads, console_url, self.recorded.append)
        self.clock = FakeClock()
        self.sender = Sender(self.transport, self.clock, retry_timeout=60)
        limiter = RateLimiter([RateWindow(1000, 10)], self.clock)
        settings = Settings(console_api_key=KEY, console_url=console_url)
        self.console = ConsoleClient(self.sender, settings, limiter, self.clock)


def test_only_reads_go_through():
    run = DryRun(VIPS)
    assert run.console.segment("vips") == Segment("vips", ID_LIST, "userID", 3)
    run.console.add_ids("vips", ["a"], segment_type=ID_LIST)
    run.console.remove_ids("vips", ["b"], segment_type=ID_LIST)
    assert [request.method for request in run.reads.requests] == ["GET"]
    assert [(recorded.method, recorded.path, recorded.body) for recorded in run.recorded] == [
        ("PATCH", "/console/v1/segments/vips/id_list", b'{"ids":["a"]}'),
        ("DELETE", "/console/v1/segments/vips/id_list", b'{"ids":["b"]}'),
    ]


@pytest.mark.parametrize("segment_type", [ID_LIST, USER_STORE_LIST])
def test_later_reads_show_what_was_recorded(segment_type):
    run = DryRun(then=VIPS)
    run.console.add_ids("vips", ["a", "b"], segment_type=segment_type)
    run.console.remove_ids("vips", ["c"], segment_type=segment_type)
    assert run.console.segment("vips").count == 3 + 2 - 1
    run.reads._then = STATE
    assert run.console.list_state("vips") == ListState(7 + 2, updating=False)
    assert run.console.list_state("others") == ListState(7, updating=False)


def test_a_list_without_a_version_gets_version_1():
    run = DryRun(answer(200, {"data": {"currentVersion": None, "isUpdating": None}}))
    run.console.add_ids("vips", ["a"], segment_type=ID_LIST)
    assert run.console.list_state("vips").version == 1


def test_errors_of_reads_are_passed_on():
    run = DryRun(answer(404, {"message": "Segment not found"}))
    run.console.add_ids("vips", ["a"], segment_type=ID_LIST)
    with pytest.raises(RefusedError, match="Segment not found"):
        run.console.segment("vips")


def test_a_segment_to_be_created_is_read_as_empty():
    run = DryRun()
    assert run.console.create_segment("new one", id_type="companyID") == Segment("new one", ID_LIST, "companyID")
    assert run.console.list_state("new one") == ListState(0, updating=False)
    assert list(run.console.ids("new one")) == []
    run.console.add_ids("new one", ["a", "b"], segment_type=ID_LIST)
    assert run.console.segment("new one").count == 2
    assert run.reads.requests == []
    assert run.recorded[1].path == "/console/v1/segments/new%20one/id_list"


def test_some_added_and_removed_ids_are_kept():
    run = DryRun()
    for start in range(0, 12, 3):
        run.console.add_ids("vips", [str(n) for n in range(start, start + 3)], segment_type=ID_LIST)
    run.console.remove_ids("vips", ["x"], segment_type=ID_LIST)
    changes = run.transport.lists["vips"]
    assert (changes.requests, changes.added, changes.removed) == (5, 12, 1)
    assert (changes.some_added, changes.some_removed) == (["0", "1", "2", "3", "4"], ["x"])


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("path", ["/v1", "/segments/statsig"])
def test_events_are_recorded_as_json_and_not_sent(compression, path):
    run = DryRun()
    key, url = "secret-0123456789", f"https://events.example{path}"
    client = EventsClient(run.sender, Settings(key, events_url=url, compression=compression), run.clock)
    sent = send_items(client, LOG_EVENT, [b'{"eventName":"a"}'], what="1 event")
    (recorded,) = run.recorded
    assert (sent.tries, run.reads.requests) == (1, [])
    assert (recorded.method, recorded.path) == ("POST", f"{path}/log_event")
    assert msgspec.json.decode(recorded.body)["events"] == [{"eventName": "a"}]
    assert "secret" not in repr(recorded)
