"""What proves that a tap finished a stream, and what does not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from target_statsig.segments.completeness import Proof, Sign, Verdict, assess, weakest
from tests.mirror.wire import activate, observe, raw_state, records, schema, state

MIDWAY = {"progress_markers": {"Note": "Progress is not resumable if interrupted."}}
PARTITIONS = {"partitions": [{"context": {"file": "a.csv"}}]}
INCREMENTAL = {"replication_key": "updated_at", "replication_key_value": "2026-11-01T00:00:00Z"}


def verdict_on_vips(*parts, row_count_field=None):
    return assess(observe(*parts).seen("vips"), row_count_field=row_count_field)


def syncing(stream, **bookmarks):
    return raw_state({"currently_syncing": stream, "bookmarks": bookmarks})


@pytest.mark.parametrize(
    ("parts", "proof"),
    [
        # A STATE does not mean that a stream is complete.
        pytest.param(
            [schema("vips"), records("vips", 500), state(vips={})], Proof.NONE, id="a STATE after the last record"
        ),
        # The end of the input does not mean that a stream is complete.
        pytest.param([], Proof.NONE, id="the input ends before anything came"),
        pytest.param([schema("vips")], Proof.NONE, id="the input ends after the SCHEMA"),
        pytest.param([schema("vips"), records("vips", 500)], Proof.NONE, id="the input ends after a record"),
        # Nor does another stream.
        pytest.param(
            [schema("vips"), records("vips"), schema("zoo"), records("zoo"), activate("zoo")],
            Proof.NONE,
            id="another stream after it, activated",
        ),
        # ACTIVATE_VERSION
        pytest.param(
            [schema("vips"), activate("vips"), records("vips", 500)],
            Proof.NONE,
            id="ACTIVATE_VERSION before the records, as singer-sdk writes it",
        ),
        pytest.param(
            [schema("vips"), records("vips", 500), activate("vips")],
            Proof.ACTIVATE_VERSION,
            id="ACTIVATE_VERSION after the last record",
        ),
        pytest.param(
            [schema("vips"), activate("vips"), records("vips", 500), activate("vips")],
            Proof.ACTIVATE_VERSION,
            id="ACTIVATE_VERSION before the records and after them, as in the first run of tap-postgres",
        ),
        pytest.param(
            [schema("vips"), activate("vips")],
            Proof.NONE,
            id="ACTIVATE_VERSION without a record, as of a tap that died at the first",
        ),
        pytest.param(
            [schema("vips"), records("vips"), activate("vips"), records("vips")],
            Proof.NONE,
            id="ACTIVATE_VERSION and then another record",
        ),
        pytest.param(
            [schema("vips"), records("vips"), schema("vips"), activate("vips")],
            Proof.NONE,
            id="ACTIVATE_VERSION of a child's next round: a second SCHEMA voids it",
        ),
        pytest.param(
            [schema("vips"), records("vips"), schema("vips"), activate("vips"), records("vips"), activate("vips")],
            Proof.NONE,
            id="ACTIVATE_VERSION at the end of a stream whose SCHEMA came twice",
        ),
        pytest.param(
            [schema("vips"), records("vips"), records("vips", version=2), activate("vips", 2)],
            Proof.NONE,
            id="records of two versions",
        ),
        pytest.param(
            [schema("vips"), records("vips"), activate("vips", 2)], Proof.NONE, id="ACTIVATE_VERSION of another version"
        ),
        pytest.param(
            [schema("vips"), records("vips", version=None), activate("vips")],
            Proof.NONE,
            id="records without a version",
        ),
        pytest.param(
            [schema("vips", bookmark_properties=["updated_at"]), records("vips"), activate("vips")],
            Proof.NONE,
            id="SCHEMA looks incremental and no STATE has shown otherwise",
        ),
        pytest.param(
            [schema("vips", bookmark_properties=["updated_at"]), records("vips"), activate("vips"), state(vips={})],
            Proof.ACTIVATE_VERSION,
            id="a STATE shows that the SCHEMA only looks incremental",
        ),
        # A stream that did not begin afresh
        pytest.param(
            [state(vips={"version": 1, "xmin": None}), schema("vips"), records("vips"), activate("vips")],
            Proof.ACTIVATE_VERSION,
            id="a STATE before it with method, version and nulls",
        ),
        pytest.param(
            [
                state(vips={"version": 1, "xmin": 1010}),
                schema("vips"),
                records("vips"),
                activate("vips"),
                state(vips={"version": 1, "xmin": None}),
            ],
            Proof.NONE,
            id="a table that was resumed, as tap-postgres does",
        ),
        pytest.param(
            [schema("vips"), state(vips={"xmin": 7}), state(vips={}), records("vips"), activate("vips")],
            Proof.NONE,
            id="a later STATE does not undo that it was resumed",
        ),
        pytest.param(
            [
                schema("vips"),
                records("vips"),
                state(vips={"xmin": 7}),
                records("vips"),
                activate("vips"),
                state(vips={"xmin": None}),
            ],
            Proof.ACTIVATE_VERSION,
            id="a STATE with progress after its first record",
        ),
        pytest.param(
            [
                state(vips={"partitions": [{"context": {"file": "a.csv"}, "page": 4}]}),
                schema("vips"),
                records("vips"),
                activate("vips"),
                state(vips={}),
            ],
            Proof.NONE,
            id="a partition that was resumed",
        ),
        pytest.param(
            [schema("vips", dead="letter"), records("vips", 5), activate("vips")],
            Proof.NONE,
            id="a dead-letter file",
        ),
    ],
)
def test_messages_prove_a_stream_complete_or_not(parts, proof):
    assert verdict_on_vips(*parts).proof is proof


@pytest.mark.parametrize(
    ("parts", "sign"),
    [
        pytest.param([state(vips=MIDWAY)], Sign.PROGRESS_MARKERS, id="progress markers"),
        pytest.param([state(vips={"starting_replication_value": None})], Sign.PROGRESS_MARKERS, id="a starting value"),
        pytest.param([state(vips={"replication_key_signpost": "2026-11-01"})], Sign.PROGRESS_MARKERS, id="a signpost"),
        pytest.param(
            [state(vips={"partitions": [{"context": {}}, {"context": {}, **MIDWAY}]})],
            Sign.PROGRESS_MARKERS,
            id="progress markers in a partition",
        ),
        pytest.param([state(vips=MIDWAY), state(vips={})], None, id="progress markers that a later STATE drops"),
        pytest.param([state(vips={}), state(vips=MIDWAY)], Sign.PROGRESS_MARKERS, id="a STATE that brings them"),
        pytest.param([state(vips=MIDWAY), raw_state({})], Sign.PROGRESS_MARKERS, id="a later STATE without bookmarks"),
        pytest.param([state(zoo=MIDWAY), state(vips={})], None, id="progress markers of another stream"),
        pytest.param([syncing("vips", vips={})], Sign.CURRENTLY_SYNCING, id="currently syncing it"),
        pytest.param([state(vips={}), syncing("vips")], Sign.CURRENTLY_SYNCING, id="syncing it, no bookmark"),
        pytest.param([syncing("zoo", vips={})], None, id="currently syncing another stream"),
        pytest.param([syncing(None, vips={})], None, id="currently syncing none"),
        pytest.param([syncing(["vips"], vips={})], None, id="currently syncing what is no name"),
        pytest.param([syncing("vips"), syncing("zoo", vips={})], None, id="syncing moved on to another"),
        pytest.param([syncing("vips"), state(vips={})], None, id="syncing it, then its bookmark without that"),
        pytest.param(
            [syncing("vips"), raw_state({})], Sign.CURRENTLY_SYNCING, id="syncing it, then a STATE without bookmarks"
        ),
        pytest.param([state(vips=INCREMENTAL)], Sign.INCREMENTAL, id="a replication key"),
        pytest.param(
            [state(vips={"replication_key": None, "replication_key_value": 24584256})],
            Sign.INCREMENTAL,
            id="a position in the log",
        ),
        pytest.param([state(vips={"updated_at": "2026-11-01"})], Sign.UNKNOWN_BOOKMARK, id="a column's value"),
        pytest.param(
            [state(vips={"updated_at": "2026-11-01", **MIDWAY})],
            Sign.PROGRESS_MARKERS,
            id="a column's value and progress markers",
        ),
    ],
)
def test_a_sign_outweighs_every_proof(parts, sign):
    proven = [schema("vips"), records("vips", 7), *parts, activate("vips"), schema("zoo")]

    verdict = verdict_on_vips(*proven)

    assert verdict.sign is sign
    assert verdict.proof is (Proof.NONE if sign else Proof.ACTIVATE_VERSION)


def test_a_sign_in_the_start_state_counts_until_the_next_state():
    before = [syncing("vips", vips=INCREMENTAL), schema("vips"), records("vips", 7)]

    assert verdict_on_vips(*before).sign is Sign.INCREMENTAL
    assert verdict_on_vips(*before, state(vips={})).sign is None


@pytest.mark.parametrize(
    ("count", "proof"),
    [
        pytest.param(7, Proof.ROW_COUNT, id="as many"),
        pytest.param(Decimal("7.0"), Proof.ROW_COUNT, id="as many, as a decimal"),
        pytest.param(7.0, Proof.ROW_COUNT, id="as many, as a float"),
        pytest.param("7", Proof.ROW_COUNT, id="as many, as a string"),
        pytest.param(8, Proof.NONE, id="fewer came"),
        pytest.param(6, Proof.NONE, id="more came"),
        pytest.param("seven", Proof.NONE, id="a word"),
        pytest.param(None, Proof.NONE, id="null"),
        pytest.param([7], Proof.NONE, id="a list"),
        pytest.param(float("nan"), Proof.NONE, id="not a number"),
    ],
)
def test_only_the_row_count_decides_if_it_is_set(count, proof):
    otherwise_proven = [schema("vips"), records("vips", 7, count), state(vips={}), activate("vips"), schema("zoo")]
    otherwise_not = [schema("vips"), records("vips", 7, count)]

    assert verdict_on_vips(*otherwise_proven, row_count_field="n").proof is proof
    assert verdict_on_vips(*otherwise_not, row_count_field="n").proof is proof


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([records("vips", 2)], id="no record has the column"),
        pytest.param([records("vips", 1, 2), records("vips", 1)], id="the last record lacks it"),
        pytest.param([records("vips", 1), records("vips", 1, 2)], id="the first record lacks it"),
        pytest.param([records("vips", 1, 3), records("vips", 1, 2)], id="the records disagree"),
        pytest.param([records("vips", 1, 3), records("vips", 1, 1), records("vips", 1, 3)], id="one disagrees"),
        pytest.param([], id="no record came"),
    ],
)
def test_a_row_count_that_is_missing_or_odd_proves_nothing(parts):
    verdict = verdict_on_vips(schema("vips"), *parts, state(vips={}), row_count_field="n")

    assert verdict.proof is Proof.NONE
    assert "`n`" in verdict.hint


def test_true_is_no_row_count_of_one():
    assert verdict_on_vips(schema("vips"), records("vips", 1, True), row_count_field="n").proof is Proof.NONE


def test_row_counts_are_ignored_without_the_setting():
    assert verdict_on_vips(schema("vips"), records("vips", 7, 99), activate("vips")).proof is Proof.ACTIVATE_VERSION


@pytest.mark.parametrize(
    ("parts", "sign"),
    [
        pytest.param([state(vips=MIDWAY)], None, id="progress markers"),
        pytest.param([syncing("vips")], None, id="currently syncing"),
        pytest.param([state(vips={"updated_at": "2026-11-01"})], None, id="an unknown bookmark"),
        pytest.param([schema("vips"), state(vips=PARTITIONS)], None, id="a second SCHEMA and partitions"),
        pytest.param([state(vips=INCREMENTAL)], Sign.INCREMENTAL, id="an incremental bookmark stays"),
        pytest.param([schema("vips", dead="letter")], Sign.DEAD_LETTER, id="a dead-letter file stays"),
    ],
)
def test_an_equal_row_count_lifts_signs_that_the_tap_is_unfinished(parts, sign):
    verdict = verdict_on_vips(schema("vips"), records("vips", 7, 7), *parts, row_count_field="n")

    assert verdict.sign is sign
    assert verdict.proof is (Proof.NONE if sign else Proof.ROW_COUNT)


def test_an_unequal_row_count_lifts_no_sign():
    short = [schema("vips"), records("vips", 7, 8), state(vips=MIDWAY)]

    assert verdict_on_vips(*short, row_count_field="n").sign is Sign.PROGRESS_MARKERS


@pytest.mark.parametrize(
    ("parts", "row_count_field", "words"),
    [
        pytest.param(
            [records("vips"), state(vips={})],
            None,
            ["no ACTIVATE_VERSION", "--apply-held", "`row_count_field`", "`on_incomplete_stream: remove`"],
            id="no ACTIVATE_VERSION",
        ),
        pytest.param([records("vips", 7), schema("vips")], None, ["in several pieces"], id="parts"),
        pytest.param([state(vips={"xmin": None}, zoo={}), activate("vips")], None, ["no record"], id="no record"),
        pytest.param([records("vips", 7, 8)], "n", ["7 records came", "`n`", "tap's log"], id="a short count"),
        pytest.param([records("vips", 7, 6)], "n", ["7 records came", "smaller", "twice"], id="rows that came twice"),
        pytest.param([state(vips=INCREMENTAL)], None, ["FULL_TABLE", "`sync_mode`"], id="incremental"),
        pytest.param([syncing("vips")], None, ["tap's log"], id="currently syncing"),
        pytest.param([state(vips={"id": 5})], None, ["`row_count_field`"], id="an unknown bookmark"),
        pytest.param([schema("vips", dead="letter")], None, ["dead-letter"], id="a dead-letter file"),
    ],
)
def test_a_hint_names_what_is_missing_and_the_remedy(parts, row_count_field, words):
    hint = verdict_on_vips(schema("vips"), *parts, row_count_field=row_count_field).hint

    assert hint.startswith("Nothing proves that the tap finished stream 'vips': ")
    assert hint.endswith(".")
    for word in words:
        assert word in hint


AFRESH = state(vips={"xmin": None})
RESUMED = state(vips={"xmin": 7})


@pytest.mark.parametrize(
    ("parts", "row_count_field", "applicable"),
    [
        pytest.param([records("vips")], None, True, id="nothing but records"),
        pytest.param([], None, True, id="no record, which another guard judges"),
        pytest.param([AFRESH, records("vips")], None, True, id="a STATE before them that begins afresh"),
        pytest.param([records("vips"), schema("vips"), records("vips")], None, True, id="in parts"),
        pytest.param([records("vips"), activate("vips", 2)], None, True, id="of another version"),
        pytest.param([records("vips"), activate("vips")], None, True, id="proven by ACTIVATE_VERSION"),
        pytest.param([records("vips", 2, 2)], "n", True, id="proven by a row count"),
        pytest.param([records("vips", 2, 3)], "n", False, id="a row count that is not met"),
        pytest.param([records("vips", 2)], "n", False, id="no row count where one is asked for"),
        pytest.param([RESUMED, records("vips"), activate("vips")], None, False, id="resumed"),
        pytest.param([state(somewhere={"xmin": 7}), records("vips")], None, False, id="perhaps resumed"),
        pytest.param([schema("vips", bookmark_properties=["at"]), records("vips")], None, False, id="incremental hint"),
        pytest.param(
            [schema("vips", bookmark_properties=["at"]), records("vips"), AFRESH],
            None,
            True,
            id="incremental hint that a STATE refutes",
        ),
        pytest.param([records("vips"), state(vips=INCREMENTAL)], None, False, id="incremental"),
        pytest.param([records("vips"), state(vips=MIDWAY)], None, False, id="in mid-progress"),
        pytest.param([records("vips"), syncing("vips")], None, False, id="currently syncing"),
        pytest.param([records("vips"), state(vips={"id": 5})], None, False, id="an unknown bookmark"),
        pytest.param([schema("vips", dead="letter"), records("vips")], None, False, id="a dead-letter file"),
    ],
)
def test_apply_held_can_replace_only_a_missing_proof(parts, row_count_field, applicable):
    verdict = verdict_on_vips(schema("vips"), *parts, row_count_field=row_count_field)

    assert verdict.applicable is applicable
    assert ("--apply-held" in verdict.hint) == (applicable and verdict.proof is Proof.NONE)


def test_a_sign_does_not_suggest_to_remove_without_proof():
    hint = verdict_on_vips(schema("vips"), records("vips"), syncing("vips")).hint

    assert "on_incomplete_stream" not in hint


@pytest.mark.parametrize(
    ("verdicts", "weak"),
    [
        pytest.param([Verdict(Proof.ROW_COUNT)], 0, id="the only one"),
        pytest.param([Verdict(Proof.ROW_COUNT), Verdict(Proof.ACTIVATE_VERSION)], 1, id="the weaker proof"),
        pytest.param(
            [Verdict(Proof.ROW_COUNT), Verdict(Proof.NONE), Verdict(Proof.ACTIVATE_VERSION)], 1, id="no proof"
        ),
        pytest.param([Verdict(Proof.NONE), Verdict(Proof.NONE, Sign.UNKNOWN_BOOKMARK)], 1, id="a sign before no proof"),
        pytest.param(
            [Verdict(Proof.NONE, Sign.PROGRESS_MARKERS), Verdict(Proof.NONE, Sign.INCREMENTAL)],
            1,
            id="the more serious sign",
        ),
        pytest.param(
            [Verdict(Proof.NONE, applicable=True), Verdict(Proof.NONE)], 1, id="one that `--apply-held` cannot prove"
        ),
    ],
)
def test_of_several_streams_the_weakest_verdict_counts(verdicts, weak):
    assert weakest(verdicts) is verdicts[weak]
