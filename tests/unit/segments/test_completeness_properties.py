"""However a tap is cut off, what is proven is complete."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from target_statsig.segments.bookmarks import begins_afresh, without_resumption
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
    for stream, count in total.items():
        seen = observer.seen(stream)
        assert judge(seen).proof is Proof.NONE or seen.records == count


TAP_POSTGRES = 1732600000000


def night(rows, bookmark, *, dies_after=None):
    """Return what a tap writes that resumes a full table at `xmin`, and the bookmark it would have read last."""
    version = bookmark.get("version", TAP_POSTGRES)
    messages = schema("vips") + state(vips={"version": version, "xmin": None, **bookmark})
    for row in [row for row in rows if row > (bookmark.get("xmin") or 0)]:
        if dies_after is not None and dies_after == 0:
            return messages
        dies_after = None if dies_after is None else dies_after - 1
        messages += [{"type": "RECORD", "stream": "vips", "record": {"id": row}, "version": version}]
        messages += state(vips={"version": version, "xmin": row})
    return messages + activate("vips", version) + state(vips={"version": version, "xmin": None})


@settings(max_examples=300)
@given(
    nights=st.lists(st.tuples(st.integers(1, 8), st.none() | st.integers(0, 8)), min_size=1, max_size=6),
    obedient=st.booleans(),
)
def test_however_often_a_full_table_is_interrupted_and_resumed_only_a_whole_one_is_proven(nights, obedient):
    bookmark = {}
    for rows, dies_after in nights:
        messages = night(range(1, rows + 1), bookmark, dies_after=dies_after)
        seen = observe(messages).seen("vips")

        assert judge(seen).proof is Proof.NONE or seen.records == rows
        last = [message["value"] for message in messages if message["type"] == "STATE"][-1]
        # A tap whose state was kept elsewhere, or one that gets what this target writes.
        written = without_resumption(last, {"vips"}) if obedient else last
        bookmark = written["bookmarks"].get("vips", {})
        assert not obedient or begins_afresh(bookmark)


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
    assert judge(observe(*parts, activate("a"), records("a")).seen("a")).proof is Proof.NONE


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
