"""Wherever a tap is cut off, a stream is proven only if it is complete."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from target_statsig.segments.completeness import Proof, Sign, assess
from target_statsig.segments.observer import begins_afresh
from tests.mirror.wire import SdkStream, SdkTap, activate, mirroring, observe, raw_state, records, schema, state

CADENCE = 5
"""Rows between two STATEs; singer-sdk has 10,000, which no example would reach."""

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


@settings(max_examples=200)
@given(streams=sdk_streams(), second_run=st.booleans(), data=st.data())
def test_a_stream_of_an_interrupted_sdk_tap_is_proven_only_if_whole(streams, second_run, data):
    messages = SdkTap(streams, cadence=CADENCE).messages
    if second_run and (states := [message["value"] for message in messages if message["type"] == "STATE"]):
        messages = SdkTap(streams, cadence=CADENCE, start=states[-1]).messages
    end = data.draw(st.integers(0, len(messages)), label="cut off after")
    observer = observe(messages[:end])

    total = totals(messages)
    for stream, count in total.items():
        seen = observer.seen(stream)
        assert assess(seen).proof is Proof.NONE or seen.records == count


VERSION = 1732600000000


@dataclass
class ResumingTap:
    """Resumes a full table where it was interrupted; another stream with its own bookmark comes last.

    Attributes:
        name: Of the table's bookmark.
        cadence: Rows between STATEs.
        echoes: Whether a STATE comes before the first record.
    """

    name: str
    cadence: int
    echoes: bool

    def run(self, rows, bookmarks):
        """Yield the messages of a run that does not die."""
        bookmarks = {"orders": {"at": 0}, **copy.deepcopy(bookmarks)}
        bookmark = bookmarks.setdefault(self.name, {"version": VERSION})
        if self.echoes:
            yield self._state(bookmarks)
        yield from schema("vips")
        for count, row in enumerate(range(bookmark.get("xmin") or 1, rows + 1), start=1):
            yield from records("vips", version=VERSION)
            bookmark["xmin"] = row + 1
            if count % self.cadence == 0:
                yield self._state(bookmarks)
        bookmark["xmin"] = None
        yield from activate("vips", VERSION)
        yield from schema("orders")
        yield self._state(bookmarks)
        for _ in range(2):
            yield from records("orders")
            bookmarks["orders"]["at"] += 1
            yield self._state(bookmarks)

    def _state(self, bookmarks):
        (message,) = state(**copy.deepcopy(bookmarks))
        return message


@settings(max_examples=200)
@given(
    tap=st.builds(
        ResumingTap,
        name=st.sampled_from(["vips", "shop-vips", "pages"]),
        cadence=st.integers(1, 4),
        echoes=st.booleans(),
    ),
    runs=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 20)), min_size=1, max_size=6),
    reads_written_state=st.booleans(),
)
def test_a_table_of_a_resuming_tap_is_proven_only_if_whole(tap, runs, reads_written_state):
    # A tap whose STATE is kept elsewhere has to echo it, or the target cannot know of the position.
    assume(reads_written_state or tap.echoes)
    bookmarks = {}
    for rows, dies_after in runs:
        observer = mirroring("vips")
        orders = bookmarks.get("orders", {"at": 0})
        messages = list(tap.run(rows, bookmarks))
        for message in messages[:dies_after]:
            observe([message], observer=observer)
            if message["type"] == "STATE":
                orders = message["value"]["bookmarks"]["orders"]
                if not reads_written_state:
                    bookmarks = message["value"]["bookmarks"]
                elif not observer.must_keep_state:
                    bookmarks = observer.without_resumption(message["value"])["bookmarks"]
        seen = observer.seen("vips")

        assert assess(seen).proof is Proof.NONE or seen.records == rows
        assert assess(seen).proof is Proof.ACTIVATE_VERSION or not reads_written_state or dies_after < len(messages)
        assert begins_afresh(bookmarks.get(tap.name, {})) or not reads_written_state
        assert bookmarks.get("orders", {"at": 0}) == orders


@st.composite
def families(draw):
    """Draw the messages of a parent and its child, row by row, with STATEs in between and no third stream."""
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


@given(messages=families(), data=st.data())
def test_a_parent_among_its_children_is_never_proven(messages, data):
    end = data.draw(st.integers(0, len(messages)), label="cut off after")

    assert assess(observe(messages[:end]).seen("parent")).proof is Proof.NONE


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


@given(parts=ANY_MESSAGES)
def test_a_verdict_has_a_hint_or_a_proof_and_no_proof_beside_a_sign(parts):
    for stream in "ab":
        verdict = assess(observe(*parts).seen(stream))

        assert bool(verdict.hint) is (verdict.proof is Proof.NONE)
        assert not (verdict.sign and verdict.proof is not Proof.NONE)


@given(parts=ANY_MESSAGES, stopped=st.sampled_from([{}, {"bookmarks": {}}, {"bookmarks": {"c": {}}}]))
def test_a_last_state_without_the_bookmark_proves_nothing(parts, stopped):
    before, after = observe(*parts), observe(*parts, raw_state(stopped))

    for stream in "ab":
        assert assess(after.seen(stream)).proof is assess(before.seen(stream)).proof


@given(parts=ANY_MESSAGES)
def test_another_record_undoes_every_proof(parts):
    assert assess(observe(*parts, activate("a"), records("a")).seen("a")).proof is Proof.NONE


@given(parts=ANY_MESSAGES, count=st.integers(0, 40))
def test_a_row_count_proves_exactly_when_as_many_records_came(parts, count):
    counted = [
        [{**message, "record": {"n": count}} if message["type"] == "RECORD" else message for message in part]
        for part in parts
    ]
    seen = observe(*counted).seen("a")
    verdict = assess(seen, row_count_field="n")

    assert (verdict.proof is Proof.ROW_COUNT) is (0 < seen.records == count and verdict.sign is not Sign.INCREMENTAL)


@given(parts=ANY_MESSAGES)
def test_a_dead_letter_file_never_proves(parts):
    dead = [
        [{**message, "dead": "letter"} if message["type"] == "SCHEMA" else message for message in part]
        for part in parts
    ]
    observer = observe(schema("a", dead="letter"), schema("b", dead="letter"), *dead)

    for stream in "ab":
        assert assess(observer.seen(stream)).proof is Proof.NONE
