"""The items that the emulator accepts: counts, samples, dropped names and remarks."""

from __future__ import annotations

from collections import Counter

import pytest

from target_statsig.emulator import item_log
from target_statsig.emulator.item_log import ITEM_TYPES, MAX_SAMPLES, ItemLog, Tally, name_drop_reason

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


def log_of(keep):
    return ItemLog(ITEM_TYPES["events"], keep)


def event(name="purchase", user_id="u1", tier="production", **members):
    return {"eventName": name, "user": {"userID": user_id, "statsigEnvironment": {"tier": tier}}} | members


@pytest.mark.parametrize("character", list('\\[]{}<>#=;&$%|"\0\r\n'))
def test_a_name_with_a_forbidden_character_is_dropped(character):
    assert name_drop_reason(f"a{character}b") == item_log.BAD_CHARACTER


@pytest.mark.parametrize("name", ["Order Completed", "order.completed", "größe", "a-b_c:d/e", "it's (new)!"])
def test_other_names_are_not_dropped(name):
    assert name_drop_reason(name) == ""


def test_events_and_users_are_counted_by_name_and_tier():
    log = log_of("all")
    log.take([event(), event(user_id="u2"), event(user_id="u2"), event(tier="staging")], {}, NOW_MS)

    tally = log.tallies["purchase", "production"]
    assert (tally.count, tally.ids, tally.samples[0]) == (3, {"u1", "u2"}, event())
    assert log.tallies["purchase", "staging"].count == 1


def test_a_user_may_have_a_custom_id_alone():
    log = log_of("all")
    log.take([{"eventName": "a", "user": {"userID": "", "customIDs": {"stableID": "s1"}}}], {}, NOW_MS)

    assert log.tallies["a", ""].ids == {"s1"}
    assert not log.remarks


@pytest.mark.parametrize(
    ("doubtful", "remark"),
    [
        pytest.param({"eventName": "a"}, item_log.NO_IDENTIFIER, id="no-user"),
        pytest.param({"eventName": "a", "user": {"email": "a@example.com"}}, item_log.NO_IDENTIFIER, id="no-id"),
        pytest.param(event(metadata={"page.url": "/"}), item_log.DOTTED_KEY, id="dot"),
        pytest.param(event(time=NOW_MS - 61 * DAY_MS), item_log.OLD_TIME, id="old"),
        pytest.param(event(time=NOW_MS // 1000), item_log.OLD_TIME, id="seconds"),
        pytest.param(event(time=NOW_MS + DAY_MS), item_log.FUTURE_TIME, id="future"),
        pytest.param(event(name="n" * 129), item_log.LONG_NAME, id="long"),
        pytest.param(
            {"eventName": "a", "user": {"userID": "u1", "privateAttributes": {}}},
            item_log.PRIVATE_ATTRIBUTES,
            id="private",
        ),
    ],
)
def test_a_doubtful_event_is_kept_with_a_remark(doubtful, remark):
    log = log_of("all")
    log.take([doubtful], {}, NOW_MS)

    assert log.kept == [doubtful]
    assert log.remarks == {remark: Tally(1, samples=[doubtful])}


def test_an_ordinary_event_has_no_remark():
    log = log_of("all")
    log.take([event(time=NOW_MS, metadata={"page": "/"}), event(time="2026-11-22T10:00:00Z")], {}, NOW_MS)

    assert not log.remarks


def test_counting_names_drops_forbidden_names():
    log = log_of("counts")
    log.count_names(Counter({"ok": 3, "bad|name": 2}))

    assert log.count == 3
    assert log.dropped == {("bad|name", item_log.BAD_CHARACTER): Tally(2)}


def test_the_first_events_of_each_name_are_kept_as_samples():
    log = log_of("samples")
    log.take([event(user_id=f"u{number}") for number in range(MAX_SAMPLES + 1)], {}, NOW_MS)

    samples = log.tallies["purchase", "production"].samples
    assert samples == [event(user_id=f"u{number}") for number in range(MAX_SAMPLES)]
    assert log.kept == [event(user_id="u0")]


def test_dropped_and_doubtful_events_have_samples():
    log = log_of("all")
    dropped, doubtful = [event("bad|name"), event("bad|name", "u2")], [event(time=0), event(time=1)]
    log.take([*dropped, *doubtful], {}, NOW_MS)

    assert log.dropped == {("bad|name", item_log.BAD_CHARACTER): Tally(2, samples=dropped)}
    assert log.remarks == {item_log.OLD_TIME: Tally(2, samples=doubtful)}


def test_users_are_counted_by_id_type():
    log = log_of("all")
    anonymous = {"eventName": "b"}
    log.take([event(), event(), {"eventName": "a", "user": {"customIDs": {"stableID": "s1"}}}, anonymous], {}, NOW_MS)

    assert log.ids == {"userID": {"u1": 2}, "stableID": {"s1": 1}}
    assert log.tallies["b", ""].ids == set()


def test_merged_logs_equal_a_single_log():
    batches = [[event(), event("bad|name"), event(time=0)], [event(tier="staging"), event(user_id="u2"), event(time=1)]]
    batches.append([event(value=value) for value in range(MAX_SAMPLES)])
    parts = [log_of("all") for _ in batches]
    whole = log_of("all")
    for part, batch in zip(parts, batches, strict=True):
        part.take(batch, {}, NOW_MS)
        whole.take(batch, {}, NOW_MS)

    merged = ItemLog.merged(ITEM_TYPES["events"], parts)

    for name in ("kept", "tallies", "dropped", "remarks", "ids"):
        assert getattr(merged, name) == getattr(whole, name)
