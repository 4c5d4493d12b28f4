"""When a mirror removes, holds or fails, for every combination of facts, and at the limits of the share."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

from target_statsig.config.choices import ObjectType, OnIncompleteStream
from target_statsig.config.settings import StreamSettings
from target_statsig.segments.completeness import Action, Decision, Proof, Reason, Sign, Verdict, decide
from target_statsig.store.tables import Hold

PROVEN = Verdict(Proof.ACTIVATE_VERSION)
UNPROVEN = Verdict(Proof.NONE, None, "Nothing proves it.")


def signed(sign):
    return Verdict(Proof.NONE, sign, "Nothing proves it, and a sign contradicts it.")


class Facts(NamedTuple):
    """What a decision depends on, with its settings."""

    verdict: Verdict
    rejected: int = 0
    before: int = 100
    current: int = 95
    removals: int = 5
    on_incomplete_stream: OnIncompleteStream = OnIncompleteStream.HOLD
    max_removal_percent: int = 20
    allow_empty_segment: bool = False


def evidence(verdict=PROVEN, **facts):
    return Facts(verdict, **facts)


def decision_on(facts):
    settings = StreamSettings(
        ObjectType.SEGMENT,
        on_incomplete_stream=facts.on_incomplete_stream,
        max_removal_percent=facts.max_removal_percent,
        allow_empty_segment=facts.allow_empty_segment,
    )
    counts = Hold("vips", before=facts.before, removals=facts.removals, current=facts.current, rejected=facts.rejected)
    return decide(facts.verdict, counts, settings)


VERDICTS = [
    *(Verdict(proof) for proof in Proof if proof is not Proof.NONE),
    UNPROVEN,
    *(signed(sign) for sign in Sign),
]

TRUTH_TABLE = [
    evidence(
        verdict,
        rejected=rejected,
        current=current,
        removals=removals,
        on_incomplete_stream=on_incomplete_stream,
        allow_empty_segment=allow_empty_segment,
    )
    for verdict, rejected, (current, removals), on_incomplete_stream, allow_empty_segment in product(
        VERDICTS,
        (0, 1),
        ((100, 0), (95, 5), (50, 50), (0, 0), (0, 5), (0, 100)),
        OnIncompleteStream,
        (False, True),
    )
]


def expected_action(facts):
    """Return the expected action, by rules in another order than the code's."""
    sign, proven = facts.verdict.sign, facts.verdict.proof is not Proof.NONE
    dead, incremental = sign is Sign.DEAD_LETTER, sign is Sign.INCREMENTAL
    trusted = proven or (sign is None and facts.on_incomplete_stream is OnIncompleteStream.REMOVE)
    able = trusted and facts.rejected == 0
    emptying, too_many = facts.current == 0, facts.removals == 50
    if able and facts.removals and ((emptying and facts.allow_empty_segment) or (not emptying and not too_many)):
        return Action.REMOVE
    wanted_to_fail = not proven and facts.on_incomplete_stream is OnIncompleteStream.FAIL
    if not dead and (incremental or wanted_to_fail or (able and too_many)):
        return Action.FAIL
    if not facts.removals and not dead:
        return Action.NOTHING_TO_REMOVE
    return Action.HOLD


def test_every_combination_of_facts_has_the_expected_action():
    assert len(TRUTH_TABLE) == 648
    wrong = [facts for facts in TRUTH_TABLE if decision_on(facts).action is not expected_action(facts)]
    assert wrong == []


def test_only_held_and_failed_removals_have_a_reason_and_a_hint():
    for facts in TRUTH_TABLE:
        decision = decision_on(facts)
        held = decision.action in {Action.HOLD, Action.FAIL}
        assert (decision.reason is not Reason.NONE) is held
        assert bool(decision.hint) is held


@pytest.mark.parametrize(
    ("facts", "action", "reason"),
    [
        pytest.param(evidence(), Action.REMOVE, Reason.NONE, id="proven"),
        pytest.param(evidence(removals=0), Action.NOTHING_TO_REMOVE, Reason.NONE, id="nobody is missing"),
        pytest.param(
            evidence(UNPROVEN, removals=0), Action.NOTHING_TO_REMOVE, Reason.NONE, id="unproven, nobody is missing"
        ),
        pytest.param(evidence(UNPROVEN), Action.HOLD, Reason.UNPROVEN, id="unproven"),
        pytest.param(
            evidence(UNPROVEN, on_incomplete_stream=OnIncompleteStream.REMOVE),
            Action.REMOVE,
            Reason.NONE,
            id="unproven, with `remove`",
        ),
        pytest.param(
            evidence(UNPROVEN, on_incomplete_stream=OnIncompleteStream.FAIL),
            Action.FAIL,
            Reason.UNPROVEN,
            id="unproven, with `fail`",
        ),
        pytest.param(
            evidence(UNPROVEN, on_incomplete_stream=OnIncompleteStream.FAIL, removals=0),
            Action.FAIL,
            Reason.UNPROVEN,
            id="unproven, with `fail`, nobody is missing",
        ),
        pytest.param(
            evidence(signed(Sign.CURRENTLY_SYNCING), on_incomplete_stream=OnIncompleteStream.REMOVE),
            Action.HOLD,
            Sign.CURRENTLY_SYNCING,
            id="`remove`, but a sign of progress",
        ),
        pytest.param(
            evidence(signed(Sign.UNKNOWN_BOOKMARK), on_incomplete_stream=OnIncompleteStream.REMOVE),
            Action.HOLD,
            Sign.UNKNOWN_BOOKMARK,
            id="`remove`, but perhaps incremental",
        ),
        pytest.param(
            evidence(UNPROVEN, on_incomplete_stream=OnIncompleteStream.REMOVE, rejected=1),
            Action.HOLD,
            Reason.REJECTED_RECORDS,
            id="`remove`, but a rejected record",
        ),
        pytest.param(
            evidence(UNPROVEN, on_incomplete_stream=OnIncompleteStream.REMOVE, current=50, removals=50),
            Action.FAIL,
            Reason.TOO_MANY,
            id="`remove`, but past the share",
        ),
        pytest.param(
            evidence(UNPROVEN, on_incomplete_stream=OnIncompleteStream.REMOVE, current=0, removals=100),
            Action.HOLD,
            Reason.EMPTY_STREAM,
            id="`remove`, but an empty stream",
        ),
        pytest.param(evidence(rejected=1), Action.HOLD, Reason.REJECTED_RECORDS, id="a rejected record"),
        pytest.param(
            evidence(rejected=1, current=50, removals=50),
            Action.HOLD,
            Reason.REJECTED_RECORDS,
            id="a rejected record, and too many missing",
        ),
        pytest.param(evidence(signed(Sign.INCREMENTAL)), Action.FAIL, Sign.INCREMENTAL, id="incremental is an error"),
        pytest.param(
            evidence(signed(Sign.INCREMENTAL), removals=0),
            Action.FAIL,
            Sign.INCREMENTAL,
            id="incremental is an error, nobody is missing",
        ),
        pytest.param(
            evidence(signed(Sign.DEAD_LETTER), on_incomplete_stream=OnIncompleteStream.FAIL),
            Action.HOLD,
            Sign.DEAD_LETTER,
            id="a dead-letter file is no error",
        ),
        pytest.param(evidence(current=0, removals=100), Action.HOLD, Reason.EMPTY_STREAM, id="an empty stream"),
        pytest.param(
            evidence(UNPROVEN, current=0, removals=100), Action.HOLD, Reason.EMPTY_STREAM, id="empty and unproven"
        ),
        pytest.param(
            evidence(UNPROVEN, current=0, removals=100, allow_empty_segment=True),
            Action.HOLD,
            Reason.UNPROVEN,
            id="may be emptied, but unproven",
        ),
        pytest.param(
            evidence(current=0, removals=100, allow_empty_segment=True),
            Action.REMOVE,
            Reason.NONE,
            id="may be emptied: the share does not count",
        ),
        pytest.param(
            evidence(current=1, removals=99, allow_empty_segment=True),
            Action.FAIL,
            Reason.TOO_MANY,
            id="may be emptied, but is not: the share counts",
        ),
    ],
)
def test_a_decision_has_an_action_and_a_reason(facts, action, reason):
    decision = decision_on(facts)

    assert (decision.action, decision.reason) == (action, reason)


@pytest.mark.parametrize(
    ("before", "removals", "percent", "too_many"),
    [
        pytest.param(100, 20, 20, False, id="exactly the share"),
        pytest.param(100, 21, 20, True, id="one more than the share"),
        pytest.param(104, 21, 20, True, id="a fraction more than the share"),
        pytest.param(105, 21, 20, False, id="exactly the share of an odd number"),
        pytest.param(11, 10, 20, False, id="10 members, whatever their share"),
        pytest.param(12, 11, 20, True, id="11 members"),
        pytest.param(1_000, 10, 0, False, id="10 members at 0 percent"),
        pytest.param(1_000, 11, 0, True, id="11 members at 0 percent"),
        pytest.param(10_000_000, 9_999_999, 100, False, id="100 percent switches it off"),
        pytest.param(9_999_999, 2_900_000, 29, True, id="29 percent, exactly computed: a fraction more"),
        pytest.param(10_000_000, 2_900_000, 29, False, id="29 percent, exactly computed: the share"),
        pytest.param(10_000_000, 2_900_001, 29, True, id="29 percent, exactly computed: one more"),
    ],
)
def test_removals_over_the_share_are_too_many(before, removals, percent, too_many):
    facts = evidence(before=before, current=before - removals, removals=removals, max_removal_percent=percent)

    assert (decision_on(facts) == Decision(Action.REMOVE)) is not too_many
    assert (decision_on(facts).reason is Reason.TOO_MANY) is too_many


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param(evidence(UNPROVEN), ["Nothing proves it."], id="unproven: the verdict's own"),
        pytest.param(
            evidence(signed(Sign.PROGRESS_MARKERS)), ["a sign contradicts it"], id="a sign: the verdict's own"
        ),
        pytest.param(evidence(rejected=1_234), ["1,234 records", "report"], id="rejected"),
        pytest.param(evidence(current=0), ["`allow_empty_segment`"], id="empty"),
        pytest.param(evidence(current=50, removals=50), ["`max_removal_percent` (20)"], id="too many"),
    ],
)
def test_a_hint_names_the_setting_or_the_remedy(facts, words):
    for word in words:
        assert word in decision_on(facts).hint
