"""Dead letters, counted while they are written."""

from __future__ import annotations

import os

import pytest

from target_statsig.emulator.item_log import DeadLetters


@pytest.fixture
def letters(tmp_path):
    return DeadLetters(tmp_path)


def counts(letters, *period):
    return {reason: tally.count for reason, tally in letters.tallies(*period).items()}


def test_dead_letters_are_counted_by_reason_with_samples(letters, tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "1.singer").write_text(
        '{"type": "SCHEMA", "stream": "orders"}\n'
        '{"type": "RECORD", "stream": "orders", "statsig": null, "reason": "missing_identifier", "record": {"id": 1}}\n'
        '{"type": "RECORD", "stream": "orders", "reason": "missing_identifier", "record": {"id": 2}}\n'
        '{"type": "RECORD", "reason": "invalid_time", "field": "at"}\n'
        '{"type": "RECORD"}\n'
        "cut off\n",
        encoding="utf-8",
    )
    assert letters.tallies()["missing_identifier"].samples == [
        {"stream": "orders", "record": {"id": 1}},
        {"stream": "orders", "record": {"id": 2}},
    ]
    assert counts(letters) == {"missing_identifier": 2, "invalid_time (at)": 1, "no reason given": 1}


def test_a_missing_folder_has_no_dead_letters(tmp_path):
    assert counts(DeadLetters(tmp_path / "never made")) == {}


def test_only_complete_lines_are_counted(letters, tmp_path):
    with (tmp_path / "1.singer").open("a", encoding="utf-8", buffering=1) as file:
        file.write('{"type": "RECORD", "reason": "a"}\n')
        assert counts(letters) == {"a": 1}
        file.write('{"type": "RECORD", ')
        assert counts(letters) == {"a": 1}
        file.write('"reason": "a"}\n')
        assert counts(letters) == {"a": 2}


def test_the_revision_follows_the_files(letters, tmp_path):
    revisions = [letters.files()]
    file = tmp_path / "1.singer"
    file.write_text('{"type": "RECORD"}\n', encoding="utf-8")
    revisions.append(letters.files())
    assert letters.files() == revisions[-1]
    file.unlink()

    assert letters.files() == revisions[0] != revisions[1]
    assert counts(letters) == {}


def test_a_file_deleted_while_it_is_read_is_not_counted(letters, tmp_path, monkeypatch):
    (tmp_path / "1.singer").symlink_to("sent again")
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: True)

    assert counts(letters) == {}


def test_files_are_counted_in_their_period(letters, tmp_path):
    for time in (10, 20, 30):
        file = tmp_path / f"{time}.singer"
        file.write_text(f'{{"type": "RECORD", "reason": "at {time}"}}\n', encoding="utf-8")
        os.utime(file, (time, time))

    assert counts(letters, 10, 20) == {"at 20": 1}
    assert counts(letters, 20) == {"at 30": 1}
