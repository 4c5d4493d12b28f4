from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import (
    DROPPED_CHARACTERS,
    EventPreset,
    InvalidEventName,
    ObjectType,
    dropped_characters,
    sanitized,
)
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.events.items import MAX_NAME_LENGTH, PRESETS, EventNames
from target_statsig.reports.report import RENAMED_LISTED, MappingWarnings


def name_of(source, warnings=None, **settings):
    return named(EventNames(StreamSettings(ObjectType.EVENT, **settings)), source, warnings)


def named(names, source, warnings=None):
    faults = {}
    (name,) = names([source], MappingWarnings() if warnings is None else warnings, faults)
    if faults:
        raise faults[0]
    return name


def reason_for(source, **settings):
    with pytest.raises(RecordError) as caught:
        name_of(source, **settings)
    assert caught.value.field == "event_name"
    return caught.value.reason


@pytest.mark.parametrize(
    ("preset", "source", "name"),
    [
        pytest.param(EventPreset.NONE, "Order Completed", "Order Completed", id="none"),
        pytest.param(EventPreset.DEFAULT, "page", "page_view", id="default-page"),
        pytest.param(EventPreset.DEFAULT, "Signed Up", "sign_up", id="default-signed-up"),
        pytest.param(EventPreset.DEFAULT, "Logged In", "login", id="default-logged-in"),
        pytest.param(EventPreset.DEFAULT, "Products Searched", "search", id="default-search"),
        pytest.param(EventPreset.DEFAULT, "Order Completed", "Order Completed", id="not-in-default"),
        pytest.param(EventPreset.RETAIL, "page", "page_view", id="retail-page"),
        pytest.param(EventPreset.RETAIL, "Products Searched", "search", id="retail-search"),
        pytest.param(EventPreset.RETAIL, "Product Viewed", "view_item", id="retail-viewed"),
        pytest.param(EventPreset.RETAIL, "Product Added", "add_to_cart", id="retail-added"),
        pytest.param(EventPreset.RETAIL, "Checkout Started", "begin_checkout", id="retail-checkout"),
        pytest.param(EventPreset.RETAIL, "Order Completed", "purchase", id="retail-order"),
        pytest.param(EventPreset.RETAIL, "order completed", "order completed", id="case-matters"),
    ],
)
def test_a_preset_renames_events(preset, source, name):
    assert name_of(source, event_preset=preset) == name


def test_every_preset_has_its_renames():
    assert set(PRESETS) == set(EventPreset)


def test_the_mapping_wins_over_the_preset():
    mapping = {"Order Completed": "order_done", "Refund v2.0": "refund"}
    settings = {"event_preset": EventPreset.RETAIL, "event_name_mapping": mapping}
    assert name_of("Order Completed", **settings) == "order_done"
    assert name_of("Refund v2.0", **settings) == "refund"
    assert name_of("Product Added", **settings) == "add_to_cart"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        pytest.param(404, "404", id="integer"),
        pytest.param(Decimal("1.50"), "1.50", id="decimal"),
        pytest.param(Decimal("7.0"), "7", id="whole-decimal"),
        pytest.param("  purchase ", "purchase", id="blanks-are-cut"),
        pytest.param("a.b:c/d (e)", "a.b:c/d (e)", id="other-characters"),
        pytest.param("x" * MAX_NAME_LENGTH, "x" * MAX_NAME_LENGTH, id="longest"),
    ],
)
def test_a_name_that_statsig_keeps_is_kept(source, name):
    assert name_of(source) == name


@pytest.mark.parametrize("source", [None, "", "   ", True, {"name": "x"}, ["x"]], ids=repr)
def test_a_record_without_a_name_is_rejected(source):
    assert reason_for(source) == "missing_event_name"
    assert reason_for(source, invalid_event_name=InvalidEventName.SANITIZE) == "missing_event_name"


@pytest.mark.parametrize("character", DROPPED_CHARACTERS, ids=ascii)
def test_invalid_event_names_are_rejected(character):
    assert reason_for(f"order{character}done") == "invalid_event_name"


@pytest.mark.parametrize("character", DROPPED_CHARACTERS, ids=ascii)
def test_invalid_event_names_are_sanitized(character):
    warnings = MappingWarnings()
    old = f"order{character}done"
    assert name_of(old, warnings, invalid_event_name=InvalidEventName.SANITIZE) == "order_done"
    assert warnings.renamed == {old: "order_done"}


def test_the_reserved_prefix_is_rejected_or_sanitized():
    assert reason_for("statsig::gate_exposure") == "invalid_event_name"
    assert name_of("statsig::gate", invalid_event_name=InvalidEventName.SANITIZE) == "statsig__gate"
    assert name_of("my statsig::gate") == "my statsig::gate"


def test_renaming_comes_before_the_check():
    assert name_of("A & B", event_name_mapping={"A & B": "a_and_b"}) == "a_and_b"
    assert reason_for("a_and_b", event_name_mapping={"a_and_b": "A & B"}) == "invalid_event_name"


def test_a_clean_name_is_not_listed_as_renamed():
    warnings = MappingWarnings()
    name_of("Order Completed", warnings, event_preset=EventPreset.RETAIL, invalid_event_name=InvalidEventName.SANITIZE)
    assert warnings == MappingWarnings()


def test_a_sanitized_name_is_listed_in_the_warnings_of_every_batch():
    names = EventNames(StreamSettings(ObjectType.EVENT, invalid_event_name=InvalidEventName.SANITIZE))
    for _ in range(2):
        warnings = MappingWarnings()
        named(names, "a=b", warnings)
        assert warnings.renamed == {"a=b": "a_b"}


def test_the_list_of_renamed_events_is_limited():
    names = EventNames(StreamSettings(ObjectType.EVENT, invalid_event_name=InvalidEventName.SANITIZE))
    warnings = MappingWarnings()
    names([f"/search?q={page}" for page in range(RENAMED_LISTED + 50)], warnings, {})
    assert len(warnings.renamed) == RENAMED_LISTED


@pytest.mark.parametrize(
    "others", [pytest.param(["c"], id="among-texts"), pytest.param([404, None], id="among-others")]
)
def test_each_name_of_a_column_is_judged_alone(others):
    faults, warnings = {}, MappingWarnings()
    settings = StreamSettings(ObjectType.EVENT, event_name_mapping={"a": "x"})
    names = EventNames(settings)([" a ", "b=c", "a", "", *others], warnings, faults)
    assert [names[row] for row in (0, 2)] == ["x", "x"]
    assert names[4] == str(others[0])
    reasons = {1: "invalid_event_name", 3: "missing_event_name"}
    if len(others) > 1:
        reasons[5] = "missing_event_name"
    assert {row: error.reason for row, error in faults.items()} == reasons


def test_a_long_name_is_rejected_and_never_cut():
    assert reason_for("x" * (MAX_NAME_LENGTH + 1)) == "event_name_too_long"
    assert reason_for("&" * 200, invalid_event_name=InvalidEventName.SANITIZE) == "event_name_too_long"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("purchase", "", id="none"),
        pytest.param("a & b = c & d", "= &", id="each-once"),
        pytest.param("a\nb", "\\n", id="escaped"),
        pytest.param("statsig::x", "statsig::", id="prefix"),
    ],
)
def test_the_dropped_characters_of_a_name_are_listed(name, shown):
    assert dropped_characters(name) == shown


@given(st.text() | st.text(alphabet=DROPPED_CHARACTERS + "ab:").map("statsig::".__add__))
def test_a_sanitized_name_has_no_dropped_characters(name):
    clean = sanitized(name)
    assert not dropped_characters(clean)
    assert len(clean) == len(name)
    assert sanitized(clean) == clean
