from __future__ import annotations

import pickle
import re
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from target_statsig.config.choices import IdType, ObjectType, SyncMode
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.segments.stream import MemberMapper, normalise_id
from tests.mapped import columns_of


def settings(**values):
    return StreamSettings(
        **{"object_type": ObjectType.SEGMENT, "segment_id": "vips", "sync_mode": SyncMode.ADD} | values
    )


def changes_of(records, settings):
    """Return the changes to each segment that records make, and the errors of rejected records."""
    faults = {}
    changes = MemberMapper(settings).changes(columns_of(*records), faults)
    return changes, faults


def change_of(record, settings):
    """Return the segment and the id that a record names, and whether it is to be a member.

    Raises:
        RecordError: The record is rejected.
    """
    changes, faults = changes_of([record], settings)
    if faults:
        assert (changes, [*faults]) == ({}, [0])
        raise faults[0]
    ((segment_id, members),) = changes.items()
    ((id_, is_member),) = members.items()
    return segment_id, id_, is_member


def reason_of(call, *arguments):
    with pytest.raises(RecordError) as caught:
        call(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("u1", "u1", id="a string"),
        pytest.param("  u1\t\n", "u1", id="blanks around it"),
        pytest.param("u 1", "u 1", id="a blank within"),
        pytest.param("Zoë 🙂", "Zoë 🙂", id="letters of any script"),
        pytest.param("1.0", "1.0", id="a string of digits stays as it is"),
        pytest.param(7, "7", id="an integer"),
        pytest.param(0, "0", id="zero"),
        pytest.param(-7, "-7", id="a negative integer"),
        pytest.param(9_007_199_254_740_993, "9007199254740993", id="an integer that no double holds"),
        pytest.param(Decimal("1.0"), "1", id="a decimal of an integer"),
        pytest.param(Decimal("1E+6"), "1000000", id="a decimal with an exponent"),
        pytest.param(Decimal("1.5"), "1.5", id="a decimal with a fraction"),
        pytest.param(Decimal("-0.0"), "0", id="minus zero"),
        pytest.param(
            Decimal("12345678901234567890123456789012345.0"), "12345678901234567890123456789012345", id="35 digits"
        ),
        pytest.param(1.0, "1", id="a float of an integer"),
        pytest.param(1e06, "1000000", id="a float with an exponent"),
        pytest.param(1e22, "10000000000000000000000", id="a large float"),
        pytest.param(0.1, "0.1", id="a float that has no exact digits"),
    ],
)
def test_strings_and_plain_digits_of_numbers_are_ids(value, text):
    assert normalise_id(value) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "missing_identifier", id="null"),
        pytest.param("", "missing_identifier", id="an empty string"),
        pytest.param(" \t ", "missing_identifier", id="blanks"),
        pytest.param(True, "invalid_identifier", id="true"),
        pytest.param(False, "invalid_identifier", id="false"),
        pytest.param(["u1"], "invalid_identifier", id="a list"),
        pytest.param({"id": "u1"}, "invalid_identifier", id="an object"),
        pytest.param(Decimal("NaN"), "invalid_identifier", id="a decimal that is no number"),
        pytest.param(float("inf"), "invalid_identifier", id="infinity"),
        pytest.param(Decimal("1E+400000"), "invalid_identifier", id="a number of 400,000 digits"),
        pytest.param(10**5000, "invalid_identifier", id="an integer of 5,000 digits"),
        pytest.param("a,b", "invalid_identifier", id="a comma, which would be read back as two ids"),
        pytest.param("a\nb", "invalid_identifier", id="a line feed"),
        pytest.param("a\rb", "invalid_identifier", id="a carriage return"),
        pytest.param("a\0b", "invalid_identifier", id="a NUL"),
        pytest.param("a\ud83d", "invalid_identifier", id="half of a surrogate pair"),
    ],
)
def test_values_that_cannot_be_an_id_are_rejected(value, reason):
    assert reason_of(normalise_id, value) == reason


@given(st.text() | st.integers() | st.floats() | st.decimals() | st.none() | st.booleans())
def test_a_normalised_id_stays_the_same_and_can_be_sent(value):
    try:
        text = normalise_id(value)
    except RecordError:
        return
    assert normalise_id(text) == text
    assert text.encode()
    assert "," not in text


@pytest.mark.parametrize(
    ("stream", "record"),
    [
        pytest.param({}, {"user_id": "u1"}, id="user_id"),
        pytest.param({}, {"userId": "u1"}, id="userId"),
        pytest.param({}, {"user_id": None, "userID": "u1"}, id="the first that is not null"),
        pytest.param({"field_mapping": {"user_id": "customer"}}, {"customer": "u1", "user_id": "u2"}, id="mapped"),
        pytest.param({"field_mapping": {"user_id": "a.b"}}, {"a": {"b": "u1"}}, id="mapped to a path"),
        pytest.param({"field_mapping": {"user_id": "a.b"}}, {"a__b": "u1"}, id="mapped to a flattened path"),
        pytest.param({"id_type": IdType.STABLE_ID}, {"anonymousId": "u1", "user_id": "u2"}, id="anonymousId"),
        pytest.param({"id_type": IdType.STABLE_ID}, {"stable_id": "u1"}, id="stable_id"),
        pytest.param(
            {"id_type": IdType.STABLE_ID, "field_mapping": {"anonymous_id": "device"}}, {"device": "u1"}, id="device"
        ),
        pytest.param(
            {"id_type": IdType.CUSTOM_ID, "custom_id_type": "companyID"},
            {"companyID": "u1", "user_id": "u2"},
            id="the column of the custom type's name",
        ),
        pytest.param(
            {
                "id_type": IdType.CUSTOM_ID,
                "custom_id_type": "companyID",
                "field_mapping": {"companyID": "company.id", "user_id": "user_id"},
            },
            {"company": {"id": "u1"}, "companyID": "u2", "user_id": "u3"},
            id="the custom type's mapping",
        ),
    ],
)
def test_a_member_is_read_from_the_sources_of_its_id_type(stream, record):
    assert change_of(record, settings(**stream)) == ("vips", "u1", True)


@pytest.mark.parametrize(
    ("stream", "field"),
    [
        pytest.param({}, "user_id", id="the first default"),
        pytest.param({"field_mapping": {"user_id": "customer"}}, "customer", id="the mapped column"),
        pytest.param({"id_type": IdType.CUSTOM_ID, "custom_id_type": "companyID"}, "companyID", id="the custom type"),
    ],
)
def test_a_record_without_an_id_is_rejected_by_its_column(stream, field):
    with pytest.raises(RecordError) as caught:
        change_of({"name": "Ada"}, settings(**stream))

    assert (caught.value.reason, caught.value.field) == ("missing_identifier", field)


@pytest.mark.parametrize("value", ["ada,lovelace", Decimal("1E+400007")])
def test_an_error_does_not_hold_the_id(value):
    with pytest.raises(RecordError) as caught:
        change_of({"user_id": value}, settings())
    error = caught.value
    while error is not None:
        assert not re.search("ada|400007", str(error))
        error = None if error.__suppress_context__ else error.__context__


@pytest.mark.parametrize(
    ("value", "member"),
    [
        *(pytest.param(value, True, id=f"yes: {value!r}") for value in (True, 1, "true", "TRUE", " t ", "yes", "1")),
        pytest.param(Decimal("1.0"), True, id="yes: a decimal"),
        *(pytest.param(value, False, id=f"no: {value!r}") for value in (False, 0, "false", "False", "f", "no", "0")),
        pytest.param(Decimal(0), False, id="no: a decimal"),
    ],
)
def test_a_membership_column_says_who_is_a_member(value, member):
    assert change_of({"user_id": "u1", "active": value}, settings(membership_field="active")) == ("vips", "u1", member)


@pytest.mark.parametrize("value", [None, "", "maybe", 2, Decimal("0.5"), [True], {"active": True}])
def test_an_unclear_membership_is_rejected(value):
    stream = settings(membership_field="active")

    assert reason_of(change_of, {"user_id": "u1", "active": value}, stream) == "invalid_membership"
    assert reason_of(change_of, {"user_id": "u1"}, stream) == "invalid_membership"


@pytest.mark.parametrize("sync_mode", SyncMode)
def test_a_deleted_row_is_no_member_in_any_mode(sync_mode):
    deleted = {"user_id": "u1", "_sdc_deleted_at": "2026-11-22 03:55:36.859445+00", "active": True}

    assert change_of(deleted, settings(sync_mode=sync_mode)) == ("vips", "u1", False)
    assert change_of(deleted, settings(sync_mode=sync_mode, membership_field="active")) == ("vips", "u1", False)


def test_a_deleted_row_needs_no_membership_column():
    deleted = {"user_id": "u1", "_sdc_deleted_at": "2026-11-22T03:55:38Z", "_sdc_lsn": 24583736}

    assert change_of(deleted, settings(membership_field="active")) == ("vips", "u1", False)


@pytest.mark.parametrize("blank", [None, ""])
def test_a_blank_deletion_time_does_not_delete_a_row(blank):
    assert change_of({"user_id": "u1", "_sdc_deleted_at": blank}, settings()) == ("vips", "u1", True)


@pytest.mark.parametrize(
    ("sync_mode", "member"), [(SyncMode.ADD, True), (SyncMode.MIRROR, True), (SyncMode.REMOVE, False)]
)
def test_a_row_joins_or_leaves_by_the_sync_mode(sync_mode, member):
    assert change_of({"user_id": "u1"}, settings(sync_mode=sync_mode)) == ("vips", "u1", member)


def test_each_record_may_name_its_segment():
    stream = settings(segment_id=None, segment_id_field="segment.id")

    assert change_of({"user_id": "u1", "segment": {"id": " vips "}}, stream)[0] == "vips"
    assert change_of({"user_id": "u1", "segment__id": "vips"}, stream)[0] == "vips"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing_segment_id"),
        *((value, "invalid_segment_id") for value in ("", "  ", 7, True, ["vips"], ".", "..", "a\nb", "x" * 101)),
    ],
)
def test_a_record_without_a_valid_segment_is_rejected(value, reason):
    stream = settings(segment_id=None, segment_id_field="segment")

    assert reason_of(change_of, {"user_id": "u1", "segment": value}, stream) == reason


def test_the_last_record_of_a_member_counts():
    records = [{"user_id": user, "active": active} for user, active in (("u1", 1), ("u2", 0), ("u1", 0), (" u2 ", 1))]
    changes, faults = changes_of(records, settings(membership_field="active"))
    assert [*changes["vips"].items()] == [("u1", False), ("u2", True)]
    assert faults == {}


def test_rejected_records_do_not_affect_the_others():
    stream = settings(segment_id=None, segment_id_field="list", membership_field="active")
    records = [
        {"user_id": "u1", "list": "vips", "active": 1},
        {"user_id": None, "list": "vips", "active": 1},
        {"user_id": "u3", "list": None, "active": 1},
        {"user_id": "u4", "list": "a\nb", "active": 1},
        {"user_id": "u5", "list": "staff", "active": "perhaps"},
        {"user_id": "a,b", "list": None, "active": "perhaps"},
        {"user_id": 7, "list": " staff ", "active": 0},
        {"user_id": "u8", "list": "vips", "_sdc_deleted_at": "2026-11-22"},
    ]
    changes, faults = changes_of(records, stream)
    assert changes == {"vips": {"u1": True, "u8": False}, "staff": {"7": False}}
    assert {row: (error.reason, error.field) for row, error in faults.items()} == {
        1: ("missing_identifier", "user_id"),
        2: ("missing_segment_id", "list"),
        3: ("invalid_segment_id", "list"),
        4: ("invalid_membership", "active"),
        5: ("invalid_identifier", "user_id"),
    }


def normalised(value):
    try:
        return normalise_id(value)
    except RecordError as error:
        return error


values = st.text(max_size=3) | st.integers() | st.decimals() | st.none() | st.booleans() | st.just([]) | st.just({})


@given(st.lists(values, max_size=6) | st.lists(st.text("ab ", max_size=3)) | st.lists(st.integers()))
@example([10**5000, 1])
@example(["u1", "u,2", "", "u3"])
def test_a_column_of_ids_is_read_like_each_id_alone(ids):
    changes, faults = changes_of([{"user_id": value} for value in ids], settings())
    singly = [normalised(value) for value in ids]
    assert changes.get("vips", {}) == {text: True for text in singly if isinstance(text, str)}
    assert {row: (error.reason, error.field) for row, error in faults.items()} == {
        row: (error.reason, "user_id") for row, error in enumerate(singly) if isinstance(error, RecordError)
    }


def test_pickled_settings_map_records_alike():
    stream = pickle.loads(pickle.dumps(settings(membership_field="active")))
    assert change_of({"user_id": "u1", "active": "t"}, stream) == ("vips", "u1", True)
