"""When the changes of rows are sent, and which of them a STATE waits for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from target_statsig.config.choices import ObjectType
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import SegmentError
from target_statsig.segments import changes
from target_statsig.segments.changes import RowSync
from target_statsig.singer.state import StateGate

STATE = {"bookmarks": {}}


class Segment:
    """Accepts four ids in a request, or refuses them."""

    id = "vips"
    batch_size = 4
    settings = StreamSettings(ObjectType.SEGMENT)

    def __init__(self):
        self.added = []
        self.removed = []
        self.refuses = False

    def check_additions(self, changes):
        pass

    def add(self, ids):
        if self.refuses:
            msg = "refused"
            raise SegmentError(msg)
        self.added.append(ids)

    def remove(self, ids):
        self.removed.append(ids)


class Pending(dict):
    """The changes that are kept for the next run."""

    keep = dict.update


@pytest.fixture
def row_sync(monkeypatch):
    """Give a sync that gathers at most eight ids, with its segment, gate and store."""
    monkeypatch.setattr(changes, "GATHERED", 8)
    written = []
    around = SimpleNamespace(
        segment=Segment(), gate=StateGate(lambda state, _: written.append(state)), pending=Pending()
    )
    store = SimpleNamespace(pending=lambda segment: around.pending if segment == "vips" else None)
    sync = RowSync(around.segment, SimpleNamespace(gate=around.gate, store=store, store_exists=False))
    return SimpleNamespace(sync=sync, written=written, **vars(around))


def joining(*numbers):
    return {f"u{number}": True for number in numbers}


def test_requests_are_full_however_many_ids_come_at_once(row_sync):
    row_sync.sync.add_changes(joining(*range(7)))
    row_sync.sync.add_changes(joining(*range(7, 18)))
    assert [len(ids) for ids in row_sync.segment.added] == [4, 4, 4, 4]
    row_sync.sync.flush()
    assert [len(ids) for ids in row_sync.segment.added] == [4, 4, 4, 4, 2]


def test_a_state_waits_only_for_the_changes_before_it(row_sync):
    row_sync.sync.add_changes(joining(*range(7)))
    row_sync.gate.hold(STATE)
    assert row_sync.written == []
    row_sync.sync.add_changes(joining(*range(7, 10)))
    assert row_sync.written == [STATE]
    row_sync.gate.hold({"bookmarks": {"later": 1}})
    assert row_sync.written == [STATE]


def test_the_last_change_of_an_id_is_sent(row_sync):
    row_sync.sync.add_changes({"u1": True, "u2": True})
    row_sync.sync.add_changes({"u1": False})
    row_sync.sync.flush()
    assert (row_sync.segment.added, row_sync.segment.removed) == ([["u2"]], [["u1"]])


def test_changes_that_come_with_refused_ones_are_kept(row_sync):
    row_sync.segment.refuses = True
    row_sync.sync.add_changes(joining(*range(7)))
    with pytest.raises(SegmentError):
        row_sync.sync.add_changes(joining(*range(7, 12)))
    row_sync.gate.hold(STATE)
    row_sync.sync.fail()
    row_sync.sync.add_changes(joining(12))
    assert row_sync.pending == joining(*range(13))
    assert row_sync.written == [STATE]
