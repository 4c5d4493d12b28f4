"""Changes left for the next run, and facts about a segment, on both databases."""

from __future__ import annotations

from dataclasses import asdict, replace

from target_statsig.store.tables import SegmentFacts
from tests.store.rows import pending_changes


def test_unsent_changes_wait_for_the_next_run(opening):
    opening().pending("vip").keep({"b": True, "a": False})
    assert pending_changes(opening().pending("vip")) == [("a", False), ("b", True)]


def test_the_last_pending_change_of_an_id_wins(store):
    pending = store.pending("vip")
    pending.keep({"a": False, "b": True})
    pending.keep({"b": False})
    assert pending_changes(pending) == [("a", False), ("b", False)]


def test_an_acknowledged_request_clears_its_pending_changes(store):
    pending, members = store.pending("vip"), store.members("vip")
    pending.keep({"a": True, "b": False, "c": True})
    members.record_added(["a"])
    members.record_removed(["b"])
    assert pending_changes(pending) == [("c", True)]


def test_reading_the_list_clears_no_pending_changes(store):
    pending = store.pending("vip")
    pending.keep({"a": False, "b": True})
    store.members("vip").replace_known(["a"])
    assert pending_changes(pending) == [("a", False), ("b", True)]


def test_pending_changes_can_be_cleared(store):
    pending = store.pending("vip")
    pending.keep({"a": True, "b": True})
    pending.clear(["a"])
    assert pending_changes(pending) == [("b", True)]


def test_many_changes_can_be_pending(store):
    pending = store.pending("vip")
    changes = {f"{number:05}": number > 0 for number in range(25_000)}
    pending.keep(changes)
    assert pending.count() == 25_000
    assert pending_changes(pending) == list(changes.items())


def test_a_segment_without_history_has_no_facts(store):
    assert store.facts("vip") == SegmentFacts()


def test_facts_outlive_the_run(opening):
    facts = SegmentFacts(
        fed_by="users",
        list_version=2**40,
        expected_count=10,
        last_sync_at=1.5,
        list_read_at=1.25,
    )
    opening().record_facts("vip", **asdict(facts))
    later = opening()
    assert later.facts("vip") == facts
    later.record_facts("vip", expected_count=11)
    assert later.facts("vip") == replace(facts, expected_count=11)


def test_recording_facts_does_not_change_members(store):
    store.members("vip").replace_known(["a"])
    store.record_facts("vip", fed_by="users")
    assert store.members("vip").is_known()


def test_the_segments_that_a_stream_fed_are_found_by_its_name(opening):
    store = opening()
    for segment, stream in [("gold", "levels"), ("silver", "levels"), ("vip", "users")]:
        store.record_facts(segment, fed_by=stream)
    opening(project="another").record_facts("bronze", fed_by="levels")
    assert opening().segments_fed_by("levels") == ["gold", "silver"]
    assert opening().segments_fed_by("orders") == []
