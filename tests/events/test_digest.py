from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from target_statsig.events.remembered import digest, digests_of
from target_statsig.singer.columns import Columns
from target_statsig.store.ledger import DIGEST_BYTES
from tests.mapped import columns_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()) | st.just(Decimal("89.90")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["id", "user_id", "amount", "_sdc_batched_at", "note\n", "\u2028"])
RECORDS = st.lists(st.dictionaries(NAMES, VALUES, max_size=5), max_size=6)


@given(RECORDS)
def test_digests_of_many_are_the_digests_of_each(records):
    assert digests_of(columns_of(*records)) == [digest(record) for record in records]


@given(st.lists(st.fixed_dictionaries({"user_id": VALUES, "_sdc_batched_at": VALUES, "id": VALUES}), max_size=3))
def test_a_record_in_columns_has_the_digest_of_the_object(records):
    columns = {name: [record[name] for record in records] for name in ("user_id", "_sdc_batched_at", "id")}
    nothing = [None] * len(records)
    assert digests_of(Columns(columns, extracted=nothing, versions=nothing)) == [*map(digest, records)]


@given(st.dictionaries(NAMES, VALUES))
def test_column_order_and_singer_columns_do_not_change_a_digest(record):
    other = dict(reversed(record.items())) | {"_sdc_extracted_at": "2026-11-22"}
    assert digest(other) == digest(record)


def test_different_records_have_different_digests():
    records = [{"a": 1}, {"a": "1"}, {"a": Decimal("1.0")}, {"a": None}, {}, {"b": 1}, {"a": "\ud800"}]
    found = digests_of(columns_of(*records))
    assert len(set(found)) == len(records)
    assert {len(one) for one in found} == {DIGEST_BYTES}


def test_long_numbers_beside_a_lone_surrogate_have_different_digests():
    numbers = [Decimal("0.12345678901234567890"), Decimal("0.12345678901234567891")]
    one, other = digests_of(columns_of(*({"a": number, "note": "\ud800"} for number in numbers)))
    assert one != other


def test_floats_and_decimals_beside_a_lone_surrogate_have_one_digest():
    assert digest({"a": 1.5, "note": "\ud800"}) == digest({"a": Decimal("1.5"), "note": "\ud800"})
