"""Maps single records to items, for tests of the mapping, which works on columns of batches."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import strategies as st

from target_statsig.errors import RecordError
from target_statsig.events.items import ITEM_TYPES
from target_statsig.events.values import NOT_ENCODABLE
from target_statsig.reports.report import MappingWarnings
from target_statsig.singer.columns import Columns

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def columns_of(*records, extracted=None):
    """Return records as columns, all extracted at the same time."""
    return Columns.of(records, extracted=[extracted] * len(records), versions=[None] * len(records))


def outcomes(records, settings, *, now_ms=0, extracted=None, warnings=None, mapper=None):
    """Return the JSON of the item of each record of a batch, or the error of a record that has none."""
    faults = {}
    mapper = mapper or ITEM_TYPES[settings.object_type].mapper(settings)
    notes = MappingWarnings() if warnings is None else warnings
    items = mapper(columns_of(*records, extracted=extracted), now_ms, notes, faults)
    return [faults[row] if row in faults else _encoded_or_error(item) for row, item in enumerate(items.items)]


def _encoded_or_error(item):
    try:
        return _ENCODER.encode(item)
    except (TypeError, ValueError, RecursionError, ArithmeticError):
        return RecordError(NOT_ENCODABLE)


def encoded(record, settings, **options):
    """Return the JSON of a record's item.

    Raises:
        RecordError: The record cannot become an item.
    """
    (outcome,) = outcomes([record], settings, **options)
    if isinstance(outcome, RecordError):
        raise outcome
    return outcome


def item_of(record, settings, **options):
    """Return a record's item, with numbers as floats; see `encoded`."""
    return msgspec.json.decode(encoded(record, settings, **options))


def odd_records(sound, columns, *texts):
    """Draw records with any values in some columns, and valid records with any values in a few columns."""
    values = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.decimals()
        | st.floats()
        | st.text(st.characters(codec=None), max_size=4)
        | st.sampled_from([*texts, " ", {"a": 1}, ["b"], Decimal("1E+400000")])
    )
    names = st.sampled_from(columns)
    return st.dictionaries(names, values, max_size=8) | st.builds(
        lambda record, fields: {**record, **fields},
        st.sampled_from(sound),
        st.dictionaries(names, values, max_size=3),
    )
