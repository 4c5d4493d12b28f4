from __future__ import annotations

from itertools import chain

import pytest

from target_statsig.fields import DEFAULT_SOURCES, DESTINATIONS, Place, places, reader, sources_of


def test_a_mapped_source_stands_in_for_all_the_defaults():
    assert sources_of("user_id", {"user_id": "customer"}) == ("customer",)
    assert sources_of("user_id", {"email": "mail"}) == ("user_id", "userId", "userID")


def test_a_custom_id_type_is_read_from_the_column_of_its_name():
    assert sources_of("companyID", {}) == ("companyID",)
    assert sources_of("companyID", {"companyID": "company.id"}) == ("company.id",)


def test_every_destination_has_sources():
    assert set(chain.from_iterable(DESTINATIONS.values())) == set(DEFAULT_SOURCES)


def test_a_dotted_source_is_met_as_a_column_flattened_or_inside_an_object():
    assert list(places(["a.b.c"])) == [
        Place("a.b.c"),
        Place("a__b__c"),
        Place("a.b", ("c",)),
        Place("a__b", ("c",)),
        Place("a", ("b", "c")),
    ]


@pytest.mark.parametrize("knows_the_columns", [True, False])
@pytest.mark.parametrize(
    ("record", "value"),
    [
        pytest.param({"user": {"id": 1}}, 1, id="member"),
        pytest.param({"user__id": 1}, 1, id="flattened"),
        pytest.param({"user.id": 1}, 1, id="dotted-column"),
        pytest.param({"user.id": 1, "user": {"id": 2}, "user__id": 3}, 1, id="dotted-column-wins"),
        pytest.param({"user.id": None, "user": {"id": 2}}, 2, id="a-null-does-not-win"),
        pytest.param({"user": {"id": None}, "uid": 4}, 4, id="null-member"),
        pytest.param({"user": {}, "uid": 4}, 4, id="missing-member"),
        pytest.param({"user": "u", "uid": 4}, 4, id="no-object"),
        pytest.param({"user": {"id": 1}, "uid": 4}, 1, id="preferred-first"),
        pytest.param({"user": None, "uid": None}, None, id="nulls"),
        pytest.param({"user": {"id": False}, "uid": 4}, False, id="false-is-a-value"),
    ],
)
def test_the_first_value_that_is_present_and_not_null_is_read(record, value, knows_the_columns):
    read = reader(["user.id", "uid"], record if knows_the_columns else None)
    assert read is not None
    assert read(record) is value


def test_without_a_column_there_is_nothing_to_read():
    assert reader(["user.id"], {"email"}) is None
    assert reader(["user.id"]) is not None
    assert reader([]) is None
