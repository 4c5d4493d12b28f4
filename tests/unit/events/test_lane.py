"""When a batch goes off."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from target_statsig.events.lane import ItemLane
from target_statsig.events.stream import Bounds, ItemStream
from target_statsig.ledger import NoLedger
from target_statsig.object_types import EVENTS
from target_statsig.record import Record
from target_statsig.report import ItemCounts, RunReport
from target_statsig.settings import ObjectType, StreamSettings
from target_statsig.state_gate import StateGate


class Courier:
    """Keeps the jobs that it is given, and how many records each has."""

    def __init__(self):
        self.sizes = []

    def submit(self, job):
        deliver, *_ = job.args
        self.sizes.append(len(deliver.args[0]))


@pytest.fixture
def courier():
    return Courier()


@pytest.fixture
def lane(courier):
    gate = StateGate(lambda state, number: None)
    services = SimpleNamespace(client=None, courier=courier, gate=gate, report=RunReport(0.0, dry_run=False))
    stream = ItemStream("orders", StreamSettings(ObjectType.EVENT), EVENTS, Bounds(3, 1_000))
    return ItemLane(stream, services, NoLedger(), ItemCounts(EVENTS.object_type), rejections=None)


def accept(lane, count):
    for _ in range(count):
        lane.accept([Record({}, {}, {})])


def test_a_full_batch_goes_off_at_once(lane, courier):
    accept(lane, 7)
    assert courier.sizes == [3, 3]
    lane.seal()
    lane.seal()
    assert courier.sizes == [3, 3, 1]


def test_a_batch_that_is_not_full_goes_off_when_it_is_two_steps_old(lane, courier):
    accept(lane, 1)
    lane.age()
    accept(lane, 1)
    assert courier.sizes == []
    lane.age()
    assert courier.sizes == [2]


def test_a_batch_that_was_begun_since_the_last_step_is_not_old(lane, courier):
    for _ in range(5):
        lane.age()
        accept(lane, 2)
        accept(lane, 2)
    assert set(courier.sizes) == {3}
