from __future__ import annotations

import json
import os
import stat
from decimal import Decimal
from pathlib import Path

import pytest

from target_statsig.dead_letters import MARK, DeadLetter, DeadLetterBox
from target_statsig.exceptions import FatalRunError

SCHEMA = {"type": "SCHEMA", "stream": "public/orders", "schema": {"properties": {"id": {}}}, "key_properties": ["id"]}


def letter(record, reason="missing_identifier", schema=SCHEMA, **extra):
    message = {"type": "RECORD", "stream": "public/orders", "record": record, "time_extracted": "2026-11-22T00:00:00Z"}
    return DeadLetter(schema, message, reason, **extra)


def lines_of(path):
    return [json.loads(line, parse_float=Decimal) for line in Path(path).read_text().splitlines()]


def test_a_file_is_a_singer_stream_with_a_mark_and_reasons(tmp_path):
    box = DeadLetterBox(str(tmp_path / "dead"), "run-1")
    box.put(letter({"id": 1, "amount": Decimal("89.90")}, field="user_id"))
    box.put(letter({"id": 2}, reason="refused_by_statsig", words="no such event"))
    box.close()
    (path,) = box.paths
    schema, first, second = lines_of(path)
    assert schema == {**SCHEMA, MARK: True}
    assert first == {
        **letter({"id": 1, "amount": Decimal("89.90")}).message,
        "reason": "missing_identifier",
        "field": "user_id",
        "run": "run-1",
    }
    assert second["statsig"] == "no such event"
    assert box.count == 2


def test_only_the_owner_may_read_the_file(tmp_path):
    box = DeadLetterBox(str(tmp_path / "dead"), "run-1")
    box.put(letter({}))
    box.close()
    assert stat.S_IMODE(Path(box.paths[0]).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "dead").stat().st_mode) == 0o700


def test_a_box_without_letters_makes_no_directory(tmp_path):
    box = DeadLetterBox(str(tmp_path / "dead"), "run-1")
    box.flush()
    box.close()
    assert not (tmp_path / "dead").exists()


def test_a_letter_is_in_the_file_after_a_flush(tmp_path):
    box = DeadLetterBox(str(tmp_path), "run-1")
    box.put(letter({"id": 1}))
    box.flush()
    written = lines_of(box.paths[0])
    box.close()
    assert [line["type"] for line in written] == ["SCHEMA", "RECORD"]


def test_a_schema_that_changes_is_written_again(tmp_path):
    box = DeadLetterBox(str(tmp_path), "run-1")
    box.put(letter({"id": 1}))
    box.put(letter({"id": 2}, schema={**SCHEMA, "key_properties": []}))
    box.close()
    assert [line["type"] for line in lines_of(box.paths[0])] == ["SCHEMA", "RECORD", "SCHEMA", "RECORD"]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"name": "\ud800", "amount": Decimal("89.90"), "tags": ["\udfff"]}, id="half a surrogate pair"),
        pytest.param({"\ud800": 1}, id="half a surrogate pair in a name"),
        pytest.param({"low": float("-inf"), "amount": Decimal("89.90"), "none": None}, id="no number"),
        pytest.param({"large": 2**70, "amount": Decimal("1E+400")}, id="numbers that no machine holds"),
    ],
)
def test_a_record_is_kept_as_it_came(tmp_path, record):
    box = DeadLetterBox(str(tmp_path), "run-1")
    box.put(letter(record))
    box.close()
    assert lines_of(box.paths[0])[1]["record"] == record


def test_an_object_store_gets_a_part_for_each_flush():
    box = DeadLetterBox("memory://bucket/dead", "run-1")
    box.put(letter({"id": 1}))
    box.flush()
    box.put(letter({"id": 2}))
    box.close()
    parts = sorted(box.directory.iterdir(), key=str)
    assert [part.name for part in parts] == [
        "public_orders-run-1-0001.singer",
        "public_orders-run-1-0002.singer",
    ]
    for part, record in zip(parts, ({"id": 1}, {"id": 2}), strict=True):
        schema, message = (json.loads(line) for line in part.read_text().splitlines())
        assert schema[MARK] is True
        assert message["record"] == record


def test_a_place_that_cannot_be_written_ends_the_run_and_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    box = DeadLetterBox(str(tmp_path / "file" / "dead"), "run-1")
    with pytest.raises(FatalRunError, match="`dead_letter_path`"):
        box.put(letter({"email": "jane@example.com"}))


def full_disk(monkeypatch):
    """Let every file that dead letters open lie on a disk without room."""
    opened = []

    def open_full(path, flags, mode):
        opened.append(path)
        return os_open("/dev/full", os.O_WRONLY)

    os_open = os.open
    monkeypatch.setattr("target_statsig.dead_letters.os.open", open_full)
    return opened


def test_a_full_disk_ends_the_run_once_and_all_files_are_closed(tmp_path, monkeypatch):
    opened = full_disk(monkeypatch)
    box = DeadLetterBox(str(tmp_path), "run-1")
    box.put(letter({"id": 1}))
    box.put(DeadLetter(SCHEMA, {"type": "RECORD", "stream": "other", "record": {}}, "missing_identifier"))
    for step in (box.flush, box.close):
        with pytest.raises(FatalRunError, match=r"No space left on device.*`dead_letter_path`"):
            step()
    assert len(opened) == 2
    box.close()
