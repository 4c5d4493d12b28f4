from __future__ import annotations

import json
from decimal import Decimal

import jsonschema_rs
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import DEFAULT_SOURCES, EventPreset, InvalidEventName, ObjectType, Tier, TimeUnit
from target_statsig.config.settings import StreamSettings
from target_statsig.errors import RecordError
from target_statsig.events.items import EventMapper
from tests.events.statsig_schema import EVENT
from tests.mapped import encoded, item_of, outcomes

NOW = 1_717_632_000_000

VALID = jsonschema_rs.validator_for(EVENT)

SOURCES = [source for sources in DEFAULT_SOURCES.values() for source in sources]

COLUMNS = st.sampled_from(
    [
        *SOURCES,
        *(source.replace(".", "__") for source in SOURCES if "." in source),
        *("properties", "context", "traits", "consent", "company", "payload", "payload.id", "payload__id"),
        *("properties__revenue", "properties__sku", "_sdc_lsn", "a.b", "", "privateAttributes"),
    ]
)

TEXTS = st.sampled_from(
    ["", " ", "u-1", "Order Completed", "2024-06-06T00:00:00Z", "12.50", "1e999", "granted", "{}"]
) | (st.text(max_size=8) | st.text(st.characters(codec=None), max_size=3))

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.decimals() | st.floats() | TEXTS | st.just(Decimal("1E+400000"))
)

VALUES = st.recursive(
    SCALARS,
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ip", "email", "traits", "revenue", "marketing", "location", "country", "id", "a.b"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=8,
)

RECORDS = st.dictionaries(COLUMNS, VALUES, max_size=10) | st.builds(
    # Records that are events, so that not all are rejected.
    lambda record, name, user: {**record, "event": name, "user_id": user, "time": 1_717_632_000},
    st.dictionaries(
        COLUMNS.filter({"event_name", "eventName", "event_time", "timestamp"}.isdisjoint), VALUES, max_size=8
    ),
    st.sampled_from(["Order Completed", "a=b"]),
    st.integers() | st.just("u-1"),
)

SETTINGS = st.builds(
    StreamSettings,
    st.just(ObjectType.EVENT),
    field_mapping=st.dictionaries(
        st.sampled_from(list(DEFAULT_SOURCES)), st.sampled_from(["payload.id", "payload", "properties.id", "user_id"])
    ),
    environment_tier=st.sampled_from([None, *Tier]),
    event_name=st.sampled_from([None, "order"]),
    event_preset=st.sampled_from(EventPreset),
    invalid_event_name=st.sampled_from(InvalidEventName),
    custom_ids=st.dictionaries(st.sampled_from(["companyID", "stableID"]), st.sampled_from(["company", "payload.id"])),
    metadata_fields=st.lists(st.sampled_from(["*", "payload.id", "properties", "company", "context"])).map(tuple),
    time_unit=st.sampled_from(TimeUnit),
)


@given(RECORDS, SETTINGS)
def test_a_record_becomes_a_valid_event_or_is_rejected(record, settings):
    try:
        body = encoded(record, settings, now_ms=NOW)
    except RecordError:
        return
    event = json.loads(body)
    VALID.validate(event)
    assert list(event) == [key for key in ("eventName", "value", "time", "user", "metadata") if key in event]


@given(RECORDS, SETTINGS)
def test_other_records_do_not_change_how_a_record_is_mapped(record, settings):
    mapper = EventMapper(settings)

    def outcome():
        return repr(outcomes([record], settings, now_ms=NOW, mapper=mapper))

    first = outcome()
    for other in ({"event": "e"}, dict.fromkeys(record, "x"), dict.fromkeys(record)):
        outcomes([other], settings, now_ms=NOW, mapper=mapper)
    assert outcome() == first


@given(RECORDS)
def test_every_column_that_is_not_null_is_in_the_event(record):
    """Only containers, nulls and Singer's own columns are left out."""
    settings = StreamSettings(ObjectType.EVENT, event_name="order", metadata_fields=("*",))
    try:
        event = item_of({**record, "user_id": "u"}, settings, now_ms=NOW)
    except RecordError:
        return
    metadata = event.get("metadata", {})
    for column in ("event", "company", "payload"):
        assert (column in metadata) == (record.get(column) is not None)
    assert all(type(value) is str for value in metadata.values())
