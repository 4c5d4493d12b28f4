from __future__ import annotations

import json
import os
import re
import stat
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from target_statsig.config.paths import dead_letter_name
from target_statsig.errors import FatalRunError, RecordError
from target_statsig.singer.dead_letters import MARK, MOST_PENDING, DeadLetters

SCHEMA = {"type": "SCHEMA", "stream": "public/orders", "schema": {"properties": {"id": {}}}, "key_properties": ["id"]}


def line_of(record):
    """Return a RECORD message as taps write it, its decimals with all their digits."""
    text = record if isinstance(record, str) else msgspec.json.Encoder(decimal_format="number").encode(record).decode()
    return (
        f'{{"type": "RECORD", "stream": "public/orders", "record": {text}, "time_extracted": "2026-11-22T00:00:00Z"}}\n'
    ).encode()


@pytest.fixture
def dead_letters(tmp_path):
    return DeadLetters(str(tmp_path), "run-1")


def letter(record, reason="missing_identifier", schema=SCHEMA, field=None, message=""):
    return line_of(record), schema, RecordError(reason, field), message


def lines_of(path):
    return [json.loads(line, parse_float=Decimal) for line in Path(path).read_text().splitlines()]


def test_a_file_is_a_singer_stream_with_a_mark_and_reasons(dead_letters):
    dead_letters.put(*letter({"id": 1, "amount": Decimal("89.90")}, field="user_id"))
    dead_letters.put(*letter({"id": 2}, reason="refused_by_statsig", message="no such event"))
    dead_letters.close()
    (path,) = dead_letters.paths
    schema, first, second = lines_of(path)
    assert schema == {**SCHEMA, MARK: True}
    assert first == {
        **json.loads(line_of({"id": 1, "amount": Decimal("89.90")}), parse_float=Decimal),
        "reason": "missing_identifier",
        "field": "user_id",
        "run": "run-1",
    }
    assert second["statsig"] == "no such event"
    assert dead_letters.count == 2


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_only_the_owner_may_read_the_file(tmp_path, scheme):
    dead_letters = DeadLetters(f"{scheme}{tmp_path}/made/dead", "run-1")
    dead_letters.put(*letter({}))
    dead_letters.close()
    (path,) = (tmp_path / "made" / "dead").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


@given(streams=st.sets(st.text(min_size=1), min_size=2, max_size=8))
@example(streams={"订单", "用户"})
@example(streams={"orders/eu", "orders_eu", f"orders_eu--{'0' * 16}", "Orders_eu", "orders_eu-", "orders_eu--"})
@example(streams={"x" * 300, "x" * 301, "x" * 100})
@example(streams={"\ud800", "?"})
def test_no_two_streams_share_a_file_even_if_case_is_ignored(streams):
    names = {dead_letter_name(stream, "run-1").lower() for stream in streams}
    assert len(names) == len(streams)
    assert all(re.fullmatch(r"\w[\w.-]{0,150}", name, re.ASCII) for name in names)


@pytest.mark.parametrize("stream", ["orders", "public-shop_orders", "public.orders_2", "x" * 100])
def test_a_plain_stream_name_is_kept_in_the_file_name(stream):
    assert dead_letter_name(stream, "run-1") == f"{stream}-run-1"


def test_an_existing_file_is_not_overwritten(tmp_path):
    for number in range(2):
        dead_letters = DeadLetters(str(tmp_path), "run-1")
        dead_letters.put(*letter({"id": number}))
        dead_letters.close()
    (path,) = tmp_path.iterdir()
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    assert [message["record"]["id"] for message in messages if message["type"] == "RECORD"] == [0, 1]


def test_no_directory_is_made_without_a_dead_letter(tmp_path):
    dead_letters = DeadLetters(str(tmp_path / "dead"), "run-1")
    dead_letters.flush()
    dead_letters.close()
    assert not (tmp_path / "dead").exists()


def test_a_dead_letter_is_in_the_file_after_a_flush(dead_letters):
    dead_letters.put(*letter({"id": 1}))
    dead_letters.flush()
    written = lines_of(dead_letters.paths[0])
    dead_letters.close()
    assert [line["type"] for line in written] == ["SCHEMA", "RECORD"]


def test_a_changed_schema_is_written_again(dead_letters):
    dead_letters.put(*letter({"id": 1}))
    dead_letters.put(*letter({"id": 2}, schema={**SCHEMA, "key_properties": []}))
    dead_letters.close()
    assert [line["type"] for line in lines_of(dead_letters.paths[0])] == ["SCHEMA", "RECORD", "SCHEMA", "RECORD"]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(r'{"name": "\ud800", "amount": 89.90, "tags": ["\udfff"]}', id="half a surrogate pair"),
        pytest.param(r'{"\ud800": 1}', id="half a surrogate pair in a name"),
        pytest.param('{"low": -Infinity, "amount": 89.90, "none": null}', id="no number"),
        pytest.param(f'{{"large": {2**70}, "amount": 1E+400}}', id="numbers that no double holds"),
        pytest.param('{"a": ' + "[" * 5_000 + "]" * 5_000 + "}", id="nested too deeply"),
        pytest.param('{"id":1 ,  "id":2}', id="a name twice, and blanks"),
        pytest.param('{"reason":"late","run":"away"}', id="columns with the names of added members"),
    ],
)
def test_a_record_is_written_exactly_as_it_came(dead_letters, record):
    dead_letters.put(*letter(record))
    dead_letters.close()
    kept = Path(dead_letters.paths[0]).read_bytes().splitlines()[1]
    assert kept == line_of(record).rstrip()[:-1] + b',"reason":"missing_identifier","run":"run-1"}'


def test_a_replayed_dead_letter_has_only_its_last_reason(tmp_path):
    first, second = (DeadLetters(str(tmp_path / name), name) for name in ("run-1", "run-2"))
    record = {"id": 1, "reason": "late", "run": "away"}
    # Some taps write the record last.
    line = json.dumps({"type": "RECORD", "stream": "public/orders", "record": record}, separators=(",", ":")).encode()
    first.put(line, SCHEMA, RecordError("missing_identifier", "user_id"), "no")
    first.close()
    again = Path(first.paths[0]).read_bytes().splitlines(keepends=True)[1]
    second.put(again, SCHEMA, RecordError("not_encodable"))
    second.close()
    message = lines_of(second.paths[0])[1]
    assert (message["record"], message["reason"]) == (record, "not_encodable")
    assert message["run"] == "run-2"
    assert not message.keys() & {"field", "statsig"}


def test_an_object_store_gets_a_part_for_each_flush():
    dead_letters = DeadLetters("memory://bucket/dead", "run-1")
    dead_letters.put(*letter({"id": 1}))
    dead_letters.flush()
    dead_letters.put(*letter({"id": 2}))
    dead_letters.close()
    parts = sorted(dead_letters.directory.iterdir(), key=str)
    assert [part.name.partition("-run-1-")[2] for part in parts] == ["000001.singer", "000002.singer"]
    assert [str(part) for part in parts] == dead_letters.paths
    for part, record in zip(parts, ({"id": 1}, {"id": 2}), strict=True):
        schema, message = (json.loads(line) for line in part.read_text().splitlines())
        assert schema[MARK] is True
        assert message["record"] == record


def test_an_unwritable_path_ends_the_run_and_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    dead_letters = DeadLetters(str(tmp_path / "file" / "dead"), "run-1")
    dead_letters.put(*letter({"email": "jane@example.com"}))
    with pytest.raises(FatalRunError, match="`dead_letter_path`"):
        dead_letters.flush()


def full_disk(monkeypatch):
    """Let every file that dead letters open be on a full disk; return the list of their paths."""
    opened = []

    def open_full(path, flags, mode):
        opened.append(path)
        return os_open("/dev/full", os.O_WRONLY)

    os_open = os.open
    monkeypatch.setattr("target_statsig.singer.dead_letters.os.open", open_full)
    return opened


def test_no_flush_succeeds_after_a_full_disk(dead_letters, monkeypatch):
    with monkeypatch.context() as patched:
        opened = full_disk(patched)
        dead_letters.put(*letter({"id": 1}))
        dead_letters.put(*letter({}, schema={**SCHEMA, "stream": "other"}))
        with pytest.raises(FatalRunError, match=r"No space left on device.*`dead_letter_path`"):
            dead_letters.flush()
    for step in (dead_letters.flush, dead_letters.close):
        with pytest.raises(FatalRunError, match="No space left on device"):
            step()
    assert len(opened) == 1
    assert dead_letters.lost
    assert dead_letters.count == 0


def test_many_pending_dead_letters_are_written_without_a_flush(dead_letters):
    for number in range(3):
        dead_letters.put(*letter({"id": number, "text": "x" * (MOST_PENDING // 2)}))
    assert dead_letters.count == 2
    dead_letters.close()
    assert [message["record"]["id"] for message in lines_of(dead_letters.paths[0])[1:]] == [0, 1, 2]
