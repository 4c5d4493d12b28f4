"""However a tap is cut off, what is proven is complete."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_statsig.segments import completeness
from target_statsig.segments.completeness import Proof, judge
from tests.unit.segments.wire import SdkStream, SdkTap, activate, observe, raw_state, records, schema, state

CADENCE = 5
"""singer-sdk's 10,000 in miniature, so that every example crosses it."""

ROWS = st.integers(0, 12)


@st.composite
def sdk_streams(draw):
    """Draw some streams, parents with two children among them; any of them may be deselected."""
    names = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True))
    streams = []
    for name in names:
        children = [
            SdkStream(f"{name}_{child}", draw(st.integers(0, 7)), selected=draw(st.booleans()))
            for child in draw(st.sampled_from(["", "", "x", "xy"]))
        ]
        files = 0 if children else draw(st.sampled_from([0, 0, 1, 3]))
        streams.append(SdkStream(name, draw(ROWS), children, selected=draw(st.booleans()), files=files))
    return streams


def totals(messages):
    counts = {}
    for message in messages:
        if message["type"] == "RECORD":
            counts[message["stream"]] = counts.get(message["stream"], 0) + 1
    return counts


@settings(max_examples=400)
@given(streams=sdk_streams(), second_run=st.booleans(), data=st.data())
def test_what_is_proven_of_a_singer_sdk_run_cut_off_anywhere_is_complete(streams, second_run, data):
    messages = SdkTap(streams, cadence=CADENCE).messages
    if second_run and (states := [message["value"] for message in messages if message["type"] == "STATE"]):
        messages = SdkTap(streams, cadence=CADENCE, start=states[-1]).messages
    end = data.draw(st.integers(0, len(messages)), label="cut off after")
    observer = observe(messages[:end])

    total = totals(messages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completeness, "SDK_CADENCE", CADENCE)
        for stream, count in total.items():
            seen = observer.seen(stream)
            assert judge(seen).proof is Proof.NONE or seen.records == count


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 35_000), data=st.data())
def test_a_lone_full_table_stream_of_singer_sdk_is_proven_when_complete_and_below_its_first_cadence(rows, data):
    messages = SdkTap([SdkStream("vips", rows)], cadence=10_000).messages
    end = data.draw(st.one_of(st.integers(0, len(messages)), st.just(len(messages))), label="cut off after")

    proof = judge(observe(messages[:end]).seen("vips")).proof

    assert proof is (Proof.STATE if end == len(messages) and rows < 10_000 else Proof.NONE)


@settings(max_examples=60, deadline=None)
@given(tens_of_thousands=st.integers(1, 3), states_after=st.integers(1, 2))
def test_a_state_at_a_multiple_of_ten_thousand_never_proves(tens_of_thousands, states_after):
    parts = [schema("vips")]
    for _ in range(tens_of_thousands):
        parts += [records("vips", 10_000), *[state(vips={})] * states_after]

    assert judge(observe(*parts).seen("vips")).proof is Proof.NONE


@st.composite
def families(draw):
    """Draw the messages of a parent and its child, row by row, with STATEs strewn in and none of a third stream."""
    everything = state(parent={}, child={})
    children_first, schemas_first = draw(st.booleans()), draw(st.booleans())
    messages = schema("parent") + (schema("child") if schemas_first or not children_first else [])
    for _ in range(draw(st.integers(1, 5))):
        child = [] if schemas_first else schema("child")
        child += draw(st.sampled_from([[], activate("child")])) + records("child", draw(st.integers(0, 3)))
        child += draw(st.sampled_from([[], everything]))
        messages += child + records("parent") if children_first else records("parent") + child
        messages += draw(st.sampled_from([[], everything]))
    return messages


@settings(max_examples=300)
@given(messages=families(), data=st.data())
def test_a_parent_among_its_children_cut_off_anywhere_is_never_proven(messages, data):
    end = data.draw(st.integers(0, len(messages)), label="cut off after")

    assert judge(observe(messages[:end]).seen("parent")).proof is Proof.NONE


BOOKMARKS = st.sampled_from(
    [{}, {"version": 1}, {"partitions": []}, {"progress_markers": {}}, {"replication_key": "id"}, {"id": 7}]
)

ANY_MESSAGE = st.one_of(
    st.sampled_from("ab").map(schema),
    st.sampled_from("ab").map(lambda stream: schema(stream, bookmark_properties=["id"])),
    st.tuples(st.sampled_from("ab"), st.integers(1, 3)).map(lambda drawn: records(*drawn)),
    st.sampled_from("ab").map(activate),
    st.dictionaries(st.sampled_from("ab"), BOOKMARKS).map(lambda bookmarks: state(**bookmarks)),
    st.sampled_from("ab").map(lambda stream: raw_state({"currently_syncing": stream})),
)

ANY_MESSAGES = st.lists(ANY_MESSAGE, max_size=25)


@settings(max_examples=300)
@given(parts=ANY_MESSAGES)
def test_there_is_a_hint_or_a_proof_and_a_sign_leaves_no_proof(parts):
    for stream in "ab":
        verdict = judge(observe(*parts).seen(stream))

        assert bool(verdict.hint) is (verdict.proof is Proof.NONE)
        assert not (verdict.signs and verdict.proof is not Proof.NONE)


@settings(max_examples=300)
@given(parts=ANY_MESSAGES, stopped=st.sampled_from([{}, {"bookmarks": {}}, {"bookmarks": {"c": {}}}]))
def test_a_last_state_without_the_bookmark_never_proves(parts, stopped):
    before, after = observe(*parts), observe(*parts, raw_state(stopped))

    for stream in "ab":
        assert judge(after.seen(stream)).proof is judge(before.seen(stream)).proof


@settings(max_examples=300)
@given(parts=ANY_MESSAGES)
def test_another_record_undoes_every_proof(parts):
    proven = judge(observe(*parts, records("a"), schema("b")).seen("a")).proof
    observer = observe(*parts, records("a"), schema("b"), records("a"))

    assert judge(observer.seen("a")).proof is Proof.NONE
    assert proven in {Proof.NONE, Proof.LATER_STREAM}


@settings(max_examples=300)
@given(parts=ANY_MESSAGES, count=st.integers(0, 40))
def test_a_row_count_proves_exactly_when_as_many_records_came(parts, count):
    told = [
        [{**message, "record": {"n": count}} if message["type"] == "RECORD" else message for message in part]
        for part in parts
    ]
    seen = observe(*told).seen("a")
    verdict = judge(seen, row_count_field="n")

    assert (verdict.proof is Proof.ROW_COUNT) is (
        0 < seen.records == count and "incremental" not in {str(sign) for sign in verdict.signs}
    )


@settings(max_examples=300)
@given(parts=ANY_MESSAGES)
def test_a_dead_letter_file_never_proves(parts):
    dead = [
        [{**message, "dead": "letter"} if message["type"] == "SCHEMA" else message for message in part]
        for part in parts
    ]
    observer = observe(schema("a", dead="letter"), schema("b", dead="letter"), *dead)

    for stream in "ab":
        assert judge(observer.seen(stream)).proof is Proof.NONE
