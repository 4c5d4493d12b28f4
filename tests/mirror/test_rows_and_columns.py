"""An observer comes to the same verdict by records and by columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.config.settings import StreamSettings
from target_statsig.segments.observer import StreamObserver
from target_statsig.singer.columns import Columns
from target_statsig.singer.records import Read


def verdict(observe, *, field):
    sources = StreamObserver()
    settings = StreamSettings(ObjectType.SEGMENT, sync_mode=SyncMode.MIRROR, segment_id="vips", row_count_field=field)
    sources.schema({"type": "SCHEMA", "stream": "people", "schema": {}}, dead_letter=False)
    sources.follow("people", "people", settings)
    observe(sources)
    return sources.verdict("people")


@given(
    st.lists(st.sampled_from([1, 2, 3, None, "3"]) | st.just(3), min_size=1, max_size=4),
    st.sampled_from([None, "rows", "absent"]),
)
def test_rows_are_counted_alike_by_record_and_by_column(counts, field):
    messages = [{"type": "RECORD", "stream": "people", "record": {"rows": count}} for count in counts]
    columns = Columns({"rows": counts}, extracted=[None] * len(counts), versions=[None] * len(counts))
    read = Read(range(len(counts)), columns, columns)
    by_record = verdict(lambda sources: sources.records("people", messages), field=field)
    by_column = verdict(lambda sources: sources.read("people", read), field=field)
    assert by_record == by_column
