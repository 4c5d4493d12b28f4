from __future__ import annotations

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import ObjectType, Tier, TimeUnit
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.reports.report import MappingWarnings
from tests.events.statsig_schema import EXPOSURE
from tests.mapped import encoded, item_of, odd_records

NOW = 1_717_632_000_000
"""2024-06-06T00:00:00Z, unix milliseconds."""

VALID = jsonschema_rs.validator_for(EXPOSURE)

ASSIGNED = {"experiment_name": "checkout", "group": "Test", "user_id": "u-1", "timestamp": "2024-06-06T00:00:00Z"}
EXPOSURE_SENT = {"experimentName": "checkout", "group": "Test", "time": NOW, "user": {"userID": "u-1"}}

CHECKED = {"gate_name": "new_cart", "passes": True, "rule_id": "rule-7", "user_id": "u-1", "time": 1_717_632_000}
CHECK_SENT = {"gateName": "new_cart", "passes": True, "ruleID": "rule-7", "time": NOW, "user": {"userID": "u-1"}}


def mapped(record, warnings=None, extracted=None, **settings):
    stream = StreamSettings(ObjectType.EXPOSURE, **settings)
    return item_of(record, stream, now_ms=NOW, extracted=extracted, warnings=warnings)


def reason_for(record, **settings):
    with pytest.raises(RecordError) as caught:
        mapped(record, **settings)
    return caught.value.reason


@pytest.mark.parametrize(
    ("record", "exposure"),
    [
        pytest.param(ASSIGNED, EXPOSURE_SENT, id="an experiment"),
        pytest.param(CHECKED, CHECK_SENT, id="a gate"),
        pytest.param({**CHECKED, "passes": False}, {**CHECK_SENT, "passes": False}, id="a gate that did not pass"),
        pytest.param({**CHECKED, "passes": "f"}, {**CHECK_SENT, "passes": False}, id="passes as a text"),
        pytest.param({**CHECKED, "passes": 1}, CHECK_SENT, id="passes as a number"),
        pytest.param({**ASSIGNED, "passes": True}, EXPOSURE_SENT, id="an experiment has no passes"),
        pytest.param({**ASSIGNED, "gate_name": None}, EXPOSURE_SENT, id="a null names no gate"),
        pytest.param({**ASSIGNED, "gate_name": " "}, EXPOSURE_SENT, id="a blank names no gate"),
        pytest.param({**ASSIGNED, "rule_id": None}, EXPOSURE_SENT, id="a null is no rule"),
        pytest.param({**ASSIGNED, "group": 2}, {**EXPOSURE_SENT, "group": "2"}, id="a numbered group"),
        pytest.param(
            {**CHECKED, "group": "Everyone"}, CHECK_SENT, id="the rule wins over a group: Statsig accepts only one"
        ),
        pytest.param({**ASSIGNED, "price": 1, "properties": {"a": 1}}, EXPOSURE_SENT, id="there is no metadata"),
        pytest.param(
            {"experimentName": "checkout", "groupName": "Test", "userId": "u-1", "event_time": "2024-06-06"},
            EXPOSURE_SENT,
            id="other spellings",
        ),
        pytest.param(
            {"experiment": "checkout", "ruleID": "r", "anonymous_id": "a-1", "time": 1_717_632_000},
            {"experimentName": "checkout", "ruleID": "r", "time": NOW, "user": {"customIDs": {"stableID": "a-1"}}},
            id="someone who is not logged in",
        ),
    ],
)
def test_a_record_becomes_an_exposure(record, exposure):
    assert mapped(record) == exposure


@pytest.mark.parametrize(
    ("record", "settings", "exposure"),
    [
        pytest.param(
            {"group": "Test", "user_id": "u-1", "time": 1_717_632_000},
            {"experiment_name": "checkout"},
            EXPOSURE_SENT,
            id="one experiment for all",
        ),
        pytest.param(
            {"passes": True, "rule_id": "rule-7", "user_id": "u-1", "time": 1_717_632_000},
            {"gate_name": "new_cart"},
            CHECK_SENT,
            id="one gate for all",
        ),
        pytest.param(
            ASSIGNED,
            {"experiment_name": " other "},
            {**EXPOSURE_SENT, "experimentName": "other"},
            id="the setting wins",
        ),
        pytest.param(
            {"test": {"name": "checkout", "arm": "Test"}, "unit": "u-1", "seen": 1_717_632_000_000},
            {
                "field_mapping": {
                    "experiment_name": "test.name",
                    "group": "test.arm",
                    "user_id": "unit",
                    "event_time": "seen",
                },
                "time_unit": TimeUnit.MILLISECONDS,
            },
            EXPOSURE_SENT,
            id="mapped columns",
        ),
        pytest.param(
            {**ASSIGNED, "company": 7},
            {"custom_ids": {"companyID": "company"}, "environment_tier": Tier.STAGING},
            {
                **EXPOSURE_SENT,
                "user": {
                    "userID": "u-1",
                    "customIDs": {"companyID": "7"},
                    "statsigEnvironment": {"tier": "staging"},
                },
            },
            id="a user as that of an event",
        ),
    ],
)
def test_settings_choose_the_names_and_columns_of_an_exposure(record, settings, exposure):
    assert mapped(record, **settings) == exposure


@pytest.mark.parametrize(
    ("record", "settings", "reason"),
    [
        pytest.param({**ASSIGNED, "experiment_name": None}, {}, "missing_experiment_or_gate", id="neither"),
        pytest.param({**ASSIGNED, "gate_name": "g"}, {}, "both_experiment_and_gate", id="both"),
        pytest.param(
            CHECKED, {"experiment_name": "checkout"}, "both_experiment_and_gate", id="a gate among experiments"
        ),
        pytest.param(ASSIGNED, {"gate_name": "g"}, "both_experiment_and_gate", id="an experiment among gates"),
        pytest.param({**ASSIGNED, "group": None}, {}, "missing_group_or_rule", id="neither group nor rule"),
        pytest.param({**ASSIGNED, "group": ""}, {}, "missing_group_or_rule", id="a blank is no group"),
        pytest.param({**CHECKED, "passes": None}, {}, "missing_passes", id="a gate without passes"),
        pytest.param({**CHECKED, "passes": "maybe"}, {}, "invalid_passes", id="an unclear text"),
        pytest.param({**CHECKED, "passes": 2}, {}, "invalid_passes", id="an unclear number"),
        pytest.param({**ASSIGNED, "user_id": None}, {}, "missing_identifier", id="no identifier"),
        pytest.param({**ASSIGNED, "timestamp": "soon"}, {}, "invalid_time", id="no time"),
    ],
)
def test_an_invalid_exposure_is_rejected_with_a_reason(record, settings, reason):
    assert reason_for(record, **settings) == reason


def test_an_exposure_without_a_time_has_the_extraction_time():
    warnings = MappingWarnings()
    record = {**ASSIGNED, "timestamp": None}
    assert mapped(record, warnings, "2024-06-05T23:59:59Z")["time"] == NOW - 1_000
    assert mapped(record, warnings)["time"] == NOW
    assert warnings.time_defaulted == 2


COLUMNS = [
    *("experiment_name", "experiment", "gate_name", "gate", "passes", "group", "group_name", "rule_id", "ruleID"),
    *("user_id", "anonymous_id", "email", "custom", "event_time", "timestamp", "company", "note"),
]

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "experiment_name": st.just("checkout"),
        "environment_tier": st.sampled_from([None, *Tier]),
        "custom_ids": st.just({"companyID": "company"}),
        "field_mapping": st.just({"group": "note", "passes": "company"}),
        "time_unit": st.sampled_from(TimeUnit),
    },
)


@given(odd_records([ASSIGNED, CHECKED], COLUMNS, "true", "Test", "2024-06-06T00:00:00Z"), SETTINGS)
def test_a_record_becomes_a_valid_exposure_or_is_rejected(record, settings):
    try:
        body = encoded(record, StreamSettings(ObjectType.EXPOSURE, **settings), now_ms=NOW)
    except RecordError:
        return
    VALID.validate(json.loads(body))
