import dataclasses

import pyarrow as pa
import pytest

from target_statsig.config.choices import ObjectType
from target_statsig.config.settings import Settings, StreamSettings
from target_statsig.engine.table import SCHEMA, VERSION, Row, config_digest, pack_source, to_batch, to_rows
from target_statsig.reports.report import MappingWarnings
from tests.engine.tables import records_of

AT = "2026-01-31T12:00:00+00:00"

SOURCE = pack_source(AT, {"id": None, "note": None}, [b"[1.50,NaN]\n", b'[{"a":null},"\\ud800"]\n'])

FULL = Row(
    VERSION, "digest", "orders", 3, 2**40, 0, is_last=False, count=1, size=77, body=b"body", digests=b"d" * 16,
    names={"order": 1}, billed=1, rejections=[(1, "missing_user", None)], warnings='{"old_times":1}', rows=[0],
    deleted=2, source=SOURCE, schema='{"type":"SCHEMA"}',
)  # fmt: skip
LAST = Row(VERSION, "digest", "orders", 3, 2**40, 1, is_last=True)


def test_rows_come_back_from_the_table_as_they_went_in():
    batch = to_batch([FULL, LAST])
    assert batch.schema == SCHEMA
    assert [*to_rows(batch)] == [FULL, LAST]
    assert [*to_rows(pa.Table.from_batches([batch]))] == [FULL, LAST]


def test_a_row_holds_the_records_that_it_was_made_of():
    assert FULL.lines == [
        b'{"type":"RECORD","stream":"orders","record":{"id":1.50,"note":NaN},"time_extracted":"%b"}\n' % AT.encode(),
        b'{"type":"RECORD","stream":"orders","record":{"id":{"a":null},"note":"\\ud800"},'
        b'"time_extracted":"%b"}\n' % AT.encode(),
    ]
    assert FULL.request is not None
    assert (FULL.request.rows, FULL.request.count, records_of(FULL)) == ([0], 1, 4)
    assert FULL.mapping_warnings == MappingWarnings(old_times=1)


def test_a_row_without_a_body_has_no_request():
    assert (LAST.request, LAST.lines, records_of(LAST), LAST.mapping_warnings) == (None, [], 0, MappingWarnings())


@pytest.mark.parametrize(
    ("run", "stream", "is_same"),
    [
        pytest.param({}, {}, True, id="the same"),
        pytest.param({"server_secret_key": "secret-2"}, {}, True, id="key"),
        pytest.param({"events_url": "http://127.0.0.1:1/v1", "store_url": "sqlite:///b"}, {}, True, id="addresses"),
        pytest.param({}, {"max_rejected_percent": 50, "dedupe_days": 3}, True, id="sender's own"),
        pytest.param({}, {"event_name": "order"}, False, id="name"),
        pytest.param({}, {"field_mapping": {"user_id": "buyer"}}, False, id="mapping"),
        pytest.param({}, {"dedupe": False}, False, id="dedupe"),
        pytest.param({"batch_size_rows": 100}, {}, False, id="batch size"),
    ],
)
def test_the_digest_of_the_settings_covers_what_changes_a_body(run, stream, is_same):
    plain = StreamSettings(ObjectType.EVENT)
    other = config_digest(dataclasses.replace(Settings(), **run), dataclasses.replace(plain, **stream))
    assert (other == config_digest(Settings(), plain)) is is_same
