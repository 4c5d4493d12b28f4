from __future__ import annotations

from decimal import Decimal

import pytest

from target_statsig.config.choices import ObjectType, Tier
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.reports.report import MappingWarnings
from tests.mapped import item_of


def user_of(record, **settings):
    stream = StreamSettings(ObjectType.EVENT, event_name="e", metadata_fields=(), **settings)
    warnings = MappingWarnings()
    record = {**record, "event_time": "1970-01-01"}
    return item_of(record, stream, warnings=warnings)["user"], warnings


def fields_of(record, **settings):
    return user_of({"user_id": "u", **record}, **settings)[0]


@pytest.mark.parametrize(
    ("field", "value", "record"),
    [
        pytest.param("email", "a@b.c", {"email": " a@b.c "}, id="email"),
        pytest.param("email", "a@b.c", {"traits": {"email": "a@b.c"}}, id="email-in-traits"),
        pytest.param("email", "a@b.c", {"context": {"traits": {"email": "a@b.c"}}}, id="email-in-context"),
        pytest.param("email", "a@b.c", {"context__traits__email": "a@b.c"}, id="email-flattened"),
        pytest.param("ip", "203.0.113.10", {"ip": "203.0.113.10"}, id="ip"),
        pytest.param("ip", "203.0.113.10", {"context": {"ip": "203.0.113.10"}}, id="ip-in-context"),
        pytest.param("userAgent", "Mozilla/5.0", {"user_agent": "Mozilla/5.0"}, id="user-agent"),
        pytest.param("userAgent", "Mozilla/5.0", {"userAgent": "Mozilla/5.0"}, id="user-agent-camel"),
        pytest.param("userAgent", "Mozilla/5.0", {"context": {"userAgent": "Mozilla/5.0"}}, id="user-agent-in-context"),
        pytest.param("locale", "en-GB", {"context": {"locale": "en-GB"}}, id="locale"),
        pytest.param("country", "CH", {"country": "CH"}, id="country"),
        pytest.param("country", "CH", {"context": {"location": {"country": "CH"}}}, id="country-in-context"),
        pytest.param("appVersion", "2.10", {"app_version": Decimal("2.10")}, id="app-version-as-number"),
        pytest.param("appVersion", "3.1.0", {"context": {"app": {"version": "3.1.0"}}}, id="app-version-in-context"),
    ],
)
def test_a_field_is_read_from_its_sources(field, value, record):
    assert fields_of(record) == {"userID": "u", field: value}


@pytest.mark.parametrize(
    ("record", "user"),
    [
        pytest.param({"user_id": "u"}, {"userID": "u"}, id="user-id"),
        pytest.param({"userId": 1001}, {"userID": "1001"}, id="number"),
        pytest.param({"userID": Decimal("1001.0")}, {"userID": "1001"}, id="whole-decimal"),
        pytest.param({"user_id": None, "userId": "u"}, {"userID": "u"}, id="null-gives-way"),
        pytest.param({"user_id": "a", "userId": "b"}, {"userID": "a"}, id="preferred"),
        pytest.param({"anonymous_id": "a"}, {"customIDs": {"stableID": "a"}}, id="anonymous-alone"),
        pytest.param({"stableID": "a", "user_id": "u"}, {"userID": "u", "customIDs": {"stableID": "a"}}, id="both"),
        pytest.param({"user_id": " ", "anonymousId": "a"}, {"customIDs": {"stableID": "a"}}, id="blank-is-none"),
        pytest.param({"user_id": True, "stable_id": "a"}, {"customIDs": {"stableID": "a"}}, id="true-is-none"),
    ],
)
def test_an_identifier_is_read_from_its_sources(record, user):
    assert user_of(record) == (user, MappingWarnings())


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"email": "a@b.c"}, id="an-email-is-no-identifier"),
        pytest.param({"user_id": None, "anonymous_id": "  "}, id="null-and-blank"),
        pytest.param({"user_id": {"id": 1}}, id="object"),
        pytest.param({"user_id": ["u"]}, id="list"),
        pytest.param({"user_id": False}, id="false"),
    ],
)
def test_a_record_without_an_identifier_is_rejected(record):
    with pytest.raises(RecordError) as caught:
        user_of(record, custom_ids={"companyID": "company"})
    assert (caught.value.reason, caught.value.field) == ("missing_identifier", "user_id")


def test_custom_ids_are_identifiers_too():
    ids = {"companyID": "company.id", "teamID": "team", "deviceID": "device"}
    assert user_of({"company": {"id": 7}, "team": None}, custom_ids=ids)[0] == {"customIDs": {"companyID": "7"}}


def test_a_configured_stable_id_wins_over_the_anonymous_one():
    record = {"anonymous_id": "a", "device": "d"}
    assert user_of(record, custom_ids={"stableID": "device"})[0] == {"customIDs": {"stableID": "d"}}
    assert user_of({"anonymous_id": "a"}, custom_ids={"stableID": "device"})[0] == {"customIDs": {"stableID": "a"}}


def test_a_mapped_source_replaces_the_defaults():
    mapping = {"user_id": "customer.id", "email": "mail"}
    record = {"user_id": "wrong", "customer": {"id": "right"}, "email": "wrong", "mail": "right"}
    assert user_of(record, field_mapping=mapping)[0] == {"userID": "right", "email": "right"}


@pytest.mark.parametrize(
    ("custom", "sent"),
    [
        pytest.param({"plan": "pro", "seats": 5, "rate": Decimal("0.50"), "old": True}, None, id="kept"),
        pytest.param({"tags": ["a", "b"], "none": []}, None, id="lists-of-texts"),
        pytest.param({"a": None, "b": 1}, {"b": 1}, id="nulls-are-left-out"),
        pytest.param({"a": [1, "x"]}, {"a": '[1,"x"]'}, id="other-lists-become-json"),
        pytest.param({"a": {"b": Decimal("1E+2")}}, {"a": '{"b":100}'}, id="objects-become-json"),
        pytest.param('{"plan":"pro","rate":0.50}', {"plan": "pro", "rate": Decimal("0.50")}, id="object-as-text"),
        pytest.param({"privateAttributes": {"secret": 1}, "plan": "pro"}, {"plan": "pro"}, id="private-attributes"),
    ],
)
def test_custom_is_an_object_or_a_text_with_an_object(custom, sent):
    assert user_of({"user_id": "u", "custom": custom}) == ({"userID": "u", "custom": sent or custom}, MappingWarnings())


@pytest.mark.parametrize("custom", [{}, "{}", {"a": None}, None], ids=repr)
def test_an_empty_custom_is_left_out(custom):
    assert user_of({"user_id": "u", "custom": custom}) == ({"userID": "u"}, MappingWarnings())


@pytest.mark.parametrize(
    "custom",
    ["", "pro", "[1]", "null", "{", '{"a": 1e99999999999999999999}', "\ud800", "[" * 100_000, 5, True, ["a"]],
    ids=lambda custom: ascii(custom)[:20],
)
def test_a_custom_that_is_no_object_is_left_out_and_counted(custom):
    assert user_of({"user_id": "u", "custom": custom}) == ({"userID": "u"}, MappingWarnings(custom_ignored=1))


@pytest.mark.parametrize(
    ("value", "consent"),
    [
        *(
            pytest.param(yes, "granted", id=repr(yes))
            for yes in (True, 1, Decimal(1), "1", "granted", " True ", "GRANTED", "Yes", "y", "on")
        ),
        *(
            pytest.param(no, "denied", id=repr(no))
            for no in (False, 0, Decimal("0.0"), "0", "denied", "false", "no", "N", "off")
        ),
    ],
)
def test_marketing_consent_is_granted_or_denied(value, consent):
    expected = {"userID": "u", "custom": {"marketing_consent": consent}}
    assert user_of({"user_id": "u", "marketing_consent": value}) == (expected, MappingWarnings())
    assert fields_of({"consent": {"marketing": value}}) == expected
    assert fields_of({"context": {"consent": {"marketing": value}}}) == expected


@pytest.mark.parametrize("value", ["maybe", "", 2, ["granted"], {"granted": True}], ids=repr)
def test_an_unclear_consent_is_left_out_and_counted(value):
    assert user_of({"user_id": "u", "marketing_consent": value}) == (
        {"userID": "u"},
        MappingWarnings(consent_ignored=1),
    )


def test_consent_is_added_to_custom_but_not_to_the_record():
    record = {"user_id": "u", "custom": {"plan": "pro", "marketing_consent": "?"}, "marketing_consent": False}
    assert fields_of(record)["custom"] == {"plan": "pro", "marketing_consent": "denied"}
    assert record["custom"] == {"plan": "pro", "marketing_consent": "?"}


def test_the_tier_is_sent_as_the_environment():
    assert fields_of({}, environment_tier=Tier.STAGING) == {"userID": "u", "statsigEnvironment": {"tier": "staging"}}


def test_private_attributes_are_never_sent():
    assert fields_of({"privateAttributes": {"a": 1}, "private_attributes": {"a": 1}}) == {"userID": "u"}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        pytest.param("gold", "gold", id="text"),
        pytest.param(7, 7, id="whole number"),
        pytest.param(Decimal("0.10"), 0.1, id="number"),
        pytest.param(Decimal("1E+30"), 10**30, id="no exponent"),
        pytest.param(False, False, id="boolean"),
        pytest.param({"a": {"b": Decimal("1.5")}}, {"a": {"b": 1.5}}, id="object"),
        pytest.param([1, "a", None], [1, "a", None], id="list"),
    ],
)
def test_a_custom_field_is_sent_as_it_is(value, sent):
    assert fields_of({"a": value}, custom_fields={"x": "a"}) == {"userID": "u", "custom": {"x": sent}}
    columns = {"a": value, "custom": {"x": "before", "y": 1}, "consent": {"marketing": True}}
    custom = {"x": sent, "y": 1, "marketing_consent": "granted"}
    assert fields_of(columns, custom_fields={"x": "a"}) == {"userID": "u", "custom": custom}


def test_a_custom_field_that_is_null_is_left_out():
    assert fields_of({"a": None, "b": None}, custom_fields={"x": "a", "y": ("b", "c")}) == {"userID": "u"}
    assert fields_of({"a": None, "custom": {"x": 1}}, custom_fields={"x": "a"})["custom"] == {"x": 1}


def test_a_custom_field_that_json_cannot_encode_rejects_its_record():
    with pytest.raises(RecordError, match="not_encodable"):
        fields_of({"a": {"b": Decimal("NaN")}}, custom_fields={"x": "a"})


@pytest.mark.parametrize(
    ("record", "tier", "ignored"),
    [
        pytest.param({"stage": "qa"}, "qa", 0, id="a tier of the project"),
        pytest.param({"stage": " staging "}, "staging", 0, id="blanks around it"),
        pytest.param({"stage": None}, "development", 0, id="null"),
        pytest.param({"stage": " "}, "development", 0, id="blank"),
        pytest.param({}, "development", 0, id="no such column"),
        pytest.param({"stage": 1}, "development", 1, id="number"),
        pytest.param({"stage": {"tier": "qa"}}, "development", 1, id="object"),
    ],
)
def test_a_record_may_name_its_tier(record, tier, ignored):
    settings = {"environment_tier": "development", "environment_tier_field": "stage"}
    expected = {"userID": "u", "statsigEnvironment": {"tier": tier}}
    assert user_of({"user_id": "u", **record}, **settings) == (expected, MappingWarnings(tier_ignored=ignored))


def test_without_a_tier_there_is_no_environment():
    assert fields_of({"stage": None}, environment_tier_field="stage") == {"userID": "u"}
