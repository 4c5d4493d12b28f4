"""When what rows ask for is sent, and what a STATE waits for."""

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
    """Takes four ids in a request, or refuses them."""

    id = "vips"
    batch_size = 4
    settings = StreamSettings(ObjectType.SEGMENT)

    def __init__(self):
        self.added = []
        self.removed = []
        self.refuses = False

    def check_additions(self, ids, known):
        pass

    def add(self, ids):
        if self.refuses:
            msg = "refused"
            raise SegmentError(msg)
        self.added.append(ids)

    def remove(self, ids):
        self.removed.append(ids)


class Pending(dict):
    """What is kept for the next run."""

    keep = dict.update


@pytest.fixture
def row(monkeypatch):
    """Give a sync that gathers eight ids at most, and what is around it."""
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


def test_requests_are_full_however_many_ids_come_at_once(row):
    row.sync.add_changes(joining(*range(7)))
    row.sync.add_changes(joining(*range(7, 18)))
    assert [len(ids) for ids in row.segment.added] == [4, 4, 4, 4]
    row.sync.flush()
    assert [len(ids) for ids in row.segment.added] == [4, 4, 4, 4, 2]


def test_a_state_waits_for_all_before_it_and_for_nobody_after_it(row):
    row.sync.add_changes(joining(*range(7)))
    row.gate.hold(STATE)
    assert row.written == []
    row.sync.add_changes(joining(*range(7, 10)))
    assert row.written == [STATE]
    row.gate.hold({"bookmarks": {"later": 1}})
    assert row.written == [STATE]


def test_the_last_word_on_an_id_is_sent(row):
    row.sync.add_changes({"u1": True, "u2": True})
    row.sync.add_changes({"u1": False})
    row.sync.flush()
    assert (row.segment.added, row.segment.removed) == ([["u2"]], [["u1"]])


def test_nothing_is_lost_that_came_together_with_what_was_refused(row):
    row.segment.refuses = True
    row.sync.add_changes(joining(*range(7)))
    with pytest.raises(SegmentError):
        row.sync.add_changes(joining(*range(7, 12)))
    row.gate.hold(STATE)
    row.sync.fail()
    row.sync.add_changes(joining(12))
    assert row.pending == joining(*range(13))
    assert row.written == [STATE]
