from __future__ import annotations

import json
from decimal import Decimal

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import IdType, ObjectType
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from tests.events.statsig_schema import METRIC
from tests.mapped import encoded, item_of, odd_records

VALID = jsonschema_rs.validator_for(METRIC)

SPENT = {"user_id": "u-1", "metric_name": "net_revenue", "metric_value": Decimal("89.90")}
SPENT_SENT = {
    "user_id": "u-1",
    "id_type": "user_id",
    "metric_name": "net_revenue",
    "metric_value": 89.9,
}

RATIO = {"user_id": "u-1", "metric_name": "basket", "numerator": 3, "denominator": 15}
RATIO_SENT = {"user_id": "u-1", "id_type": "user_id", "metric_name": "basket", "numerator": 3, "denominator": 15}

COMPANY = {"id_type": IdType.CUSTOM_ID, "custom_id_type": "companyID"}


def mapped(record, **settings):
    return item_of(record, StreamSettings(ObjectType.METRIC, **settings))


def rejection_of(record, **settings):
    with pytest.raises(RecordError) as caught:
        mapped(record, **settings)
    return caught.value


@pytest.mark.parametrize(
    ("record", "metric"),
    [
        pytest.param(SPENT, SPENT_SENT, id="a value"),
        pytest.param(RATIO, RATIO_SENT, id="a ratio"),
        pytest.param({**RATIO, "numerator": 0}, {**RATIO_SENT, "numerator": 0}, id="zero is a value"),
        pytest.param({**SPENT, "metric_value": " 12.50 "}, {**SPENT_SENT, "metric_value": 12.5}, id="text"),
        pytest.param({**SPENT, "numerator": None, "denominator": ""}, SPENT_SENT, id="a value without a ratio"),
        pytest.param({**RATIO, "metric_value": None}, RATIO_SENT, id="a ratio without a value"),
        pytest.param({**SPENT, "day": "2026-11-22", "country": "DE"}, SPENT_SENT, id="other columns stay out"),
        pytest.param(
            {"userID": 7, "metricName": "net_revenue", "value": 1},
            {**SPENT_SENT, "user_id": "7", "metric_value": 1},
            id="other spellings",
        ),
    ],
)
def test_a_record_becomes_a_value_of_a_metric(record, metric):
    assert mapped(record) == metric


def test_the_metric_name_setting_applies_to_all_records():
    assert mapped({**SPENT, "metric_name": "other"}, metric_name=" net_revenue ") == SPENT_SENT


def test_columns_can_be_mapped():
    record = {"customer": {"id": "u-1"}, "kpi": "net_revenue", "amount": Decimal("89.90"), "value": 5}
    mapping = {"user_id": "customer.id", "metric_name": "kpi", "metric_value": "amount"}
    assert mapped(record, field_mapping=mapping) == SPENT_SENT


@pytest.mark.parametrize(
    ("columns", "settings", "unit"),
    [
        pytest.param({"user_id": "u"}, {}, ("u", "user_id"), id="a user"),
        pytest.param({"anonymous_id": "a"}, {"id_type": IdType.STABLE_ID}, ("a", "stable_id"), id="a device"),
        pytest.param({"companyID": 7, "user_id": "u"}, COMPANY, ("7", "companyID"), id="a company"),
        pytest.param(
            {"account": "c", "user_id": "u"},
            {**COMPANY, "field_mapping": {"companyID": "account"}},
            ("c", "companyID"),
            id="a company in another column",
        ),
        pytest.param({"user_id": "u", "id_type": "user_id"}, {}, ("u", "user_id"), id="a user by `id_type`"),
        pytest.param({"user_id": "c", "id_type": "companyID"}, {}, ("c", "companyID"), id="a company by `id_type`"),
        pytest.param({"user_id": "a", "id_type": "stable_id"}, {}, ("a", "stable_id"), id="a device by `id_type`"),
        pytest.param(
            {"user_id": "u", "stable_id": "a", "id_type": "stable_id"},
            {},
            ("a", "stable_id"),
            id="a device by `id_type`, in its column",
        ),
        pytest.param(
            {"user_id": "u", "companyID": "c", "id_type": "companyID"},
            {},
            ("c", "companyID"),
            id="a company by `id_type`, in its column",
        ),
        pytest.param({"user_id": "u", "id_type": "userID"}, {}, ("u", "user_id"), id="a user as the console calls it"),
        pytest.param(
            {"user_id": "a", "id_type": "stableID"}, {}, ("a", "stable_id"), id="a device as the console calls it"
        ),
        pytest.param(
            {"user_id": "u", "id_type": "user_id"}, COMPANY, ("u", "user_id"), id="the record wins over the setting"
        ),
        pytest.param(
            {"companyID": "c", "id_type": None}, COMPANY, ("c", "companyID"), id="the setting where the record has null"
        ),
        pytest.param(
            {"unit": "c", "kind": "companyID"},
            {"field_mapping": {"user_id": "unit", "id_type": "kind"}},
            ("c", "companyID"),
            id="both columns mapped",
        ),
    ],
)
def test_a_metric_has_the_id_and_the_id_type_of_its_unit(columns, settings, unit):
    metric = mapped({"metric_name": "m", "metric_value": 1, **columns}, **settings)
    assert (metric["user_id"], metric["id_type"]) == unit


@pytest.mark.parametrize(
    ("record", "settings", "reason", "field"),
    [
        pytest.param({**SPENT, "metric_name": ""}, {}, "missing_metric_name", "metric_name", id="no name"),
        pytest.param({**SPENT, "metric_value": None}, {}, "missing_metric_value", "metric_value", id="neither kind"),
        pytest.param({**SPENT, **RATIO}, {}, "both_value_and_ratio", None, id="both kinds"),
        pytest.param({**SPENT, "numerator": 1}, {}, "both_value_and_ratio", None, id="a value and half a ratio"),
        pytest.param({**RATIO, "numerator": None}, {}, "missing_numerator", "numerator", id="no numerator"),
        pytest.param({**RATIO, "denominator": " "}, {}, "missing_denominator", "denominator", id="no denominator"),
        pytest.param({**SPENT, "metric_value": "much"}, {}, "invalid_metric_value", "metric_value", id="a word"),
        pytest.param({**SPENT, "metric_value": True}, {}, "invalid_metric_value", "metric_value", id="a boolean"),
        pytest.param({**SPENT, "metric_value": [1]}, {}, "invalid_metric_value", "metric_value", id="a list"),
        pytest.param(
            {**RATIO, "numerator": "NaN"}, {}, "invalid_numerator", "numerator", id="a numerator that is no number"
        ),
        pytest.param(
            {**RATIO, "denominator": {}}, {}, "invalid_denominator", "denominator", id="a denominator that is no number"
        ),
        pytest.param({**SPENT, "metric_value": float("inf")}, {}, "not_encodable", None, id="infinity"),
        pytest.param({**SPENT, "user_id": None}, {}, "missing_identifier", "user_id", id="no identifier"),
        pytest.param({**SPENT, "user_id": True}, {}, "missing_identifier", "user_id", id="a boolean for an identifier"),
        pytest.param(SPENT, COMPANY, "missing_identifier", "companyID", id="the wrong kind of unit"),
        pytest.param(SPENT, {"id_type": IdType.STABLE_ID}, "missing_identifier", "anonymous_id", id="no device"),
        pytest.param(
            {**SPENT, "id_type": "companyID", "companyID": None},
            {},
            "missing_identifier",
            "companyID",
            id="null in the column of the id type",
        ),
    ],
)
def test_an_invalid_metric_is_rejected_with_a_reason(record, settings, reason, field):
    error = rejection_of(record, **settings)
    assert (error.reason, error.field) == (reason, field)


COLUMNS = [
    *("user_id", "anonymous_id", "companyID", "id_type", "metric_name", "metric", "metric_value", "value"),
    *("numerator", "denominator", "note"),
]

SETTINGS = st.sampled_from([{}, COMPANY, {"metric_name": "m"}, {"field_mapping": {"metric_value": "note"}}])


@given(odd_records([SPENT, RATIO], COLUMNS, "12.5", "companyID", "stable_id"), SETTINGS)
def test_a_record_becomes_a_valid_metric_or_is_rejected(record, settings):
    try:
        body = encoded(record, StreamSettings(ObjectType.METRIC, **settings))
    except RecordError:
        return
    VALID.validate(json.loads(body))
