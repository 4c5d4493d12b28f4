from __future__ import annotations

from itertools import chain

import pytest

from target_statsig.config.choices import DEFAULT_SOURCES, DESTINATIONS
from target_statsig.singer.columns import (
    Place,
    deleted_rows,
    first_of,
    places,
    sources_of,
)
from tests.mapped import columns_of


def test_a_mapped_source_replaces_all_defaults():
    assert sources_of("user_id", {"user_id": "customer"}) == ("customer",)
    assert sources_of("user_id", {"email": "mail"}) == ("user_id", "userId", "userID")


def test_a_custom_id_type_is_read_from_the_column_of_its_name():
    assert sources_of("companyID", {}) == ("companyID",)
    assert sources_of("companyID", {"companyID": "company.id"}) == ("company.id",)


def test_every_destination_has_sources():
    assert set(chain.from_iterable(DESTINATIONS.values())) == set(DEFAULT_SOURCES)


def test_a_dotted_source_is_a_column_or_a_member_of_an_object():
    assert list(places(["a.b.c"], {"a", "a.b", "a__b", "a.b.c", "a__b__c"})) == [
        Place("a.b.c"),
        Place("a__b__c"),
        Place("a.b", ("c",)),
        Place("a__b", ("c",)),
        Place("a", ("b", "c")),
    ]


SOURCES = ("user.id", "uid")


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
def test_the_first_value_that_is_present_and_not_null_is_read(record, value):
    columns = columns_of(record)
    assert [*first_of(columns, SOURCES)] == [value]
    among_others = columns_of({"uid": 7}, record, {"email": "a@b.c"}, {"user": {"id": "u"}})
    found = first_of(among_others, SOURCES)
    assert [*found] == [7, value, None, "u"]
    assert found[1] is value


def test_only_existing_columns_are_places():
    assert list(places(["user.id", "uid"], {"user", "email"})) == [Place("user", ("id",))]
    assert list(places(["user.id"], {"email"})) == []


def test_a_missing_column_has_no_values():
    assert [*first_of(columns_of({"email": 1}, {}), ("uid",))] == [None, None]


@pytest.mark.parametrize(
    ("records", "rows"),
    [
        pytest.param([], [], id="no-records"),
        pytest.param([{"id": 1}, {"id": 2}], [], id="no-column"),
        pytest.param([{"_sdc_deleted_at": None}, {"_sdc_deleted_at": ""}], [], id="null-and-blank"),
        pytest.param([{"id": 1}, {"_sdc_deleted_at": "2024-06-06"}], [1], id="one"),
        pytest.param([{"_sdc_lsn_deleted_at": "x"}, {"_sdc_deleted_at": 0}, {}], [0, 1], id="either-column"),
        pytest.param([{"_sdc_lsn_deleted_at": None, "_sdc_deleted_at": "x"}], [0], id="one-of-both"),
    ],
)
def test_a_deletion_column_marks_deleted_rows(records, rows):
    assert deleted_rows(columns_of(*records)) == rows
