"""Dead letters: written by one run, sent again by another."""

from __future__ import annotations

import errno
import json
import os
import signal
from typing import ClassVar

import fsspec
import pytest
import upath.registry
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from target_statsig.target import TargetStatsig
from tests.fakes import no_room_for_dead_letters
from tests.singer import record, schema, state

EVENT = {"object_type": "event"}
MIRROR = {"object_type": "segment", "segment_id": "vips", "sync_mode": "mirror"}
DEAD_LETTERS = "dead/*.singer"


def orders(count):
    return [record("orders", {"id": n, "event": f"order {n}", "user_id": f"u{n}"}) for n in range(count)]


def replay(run_target, **settings):
    return TargetStatsig(config=run_target.config(**settings)).replay()


def refuse_to_delete(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def names(statsig):
    return sorted(event["eventName"] for event in statsig.state.events)


def test_a_replay_delivers_refused_events_once_statsig_takes_them(run_target, statsig):
    poison = range(7, 5000, 500)
    for number in poison:
        statsig.faults.add(event=f"order {number}", status=400, body='{"message": "no such event"}')
    outcome = run_target([schema("orders"), *orders(5000), state(orders={})], max_rejected_percent=1, **EVENT)
    assert outcome.exit_code == 0
    assert outcome.states == [{"bookmarks": {"orders": {}}}]
    assert len(statsig.state.events) == len(set(names(statsig))) == 4990
    assert outcome.report["streams"]["orders"]["reasons"] == {"refused_by_statsig": 10}
    assert outcome.report["streams"]["orders"]["requests"] <= 10 + 10 * 2 * 9
    letters = [line for line in run_target.dead_letters if line["type"] == "RECORD"]
    assert {line["statsig"] for line in letters} == {"no such event"}
    assert "--replay" in outcome.log

    statsig.faults.clear()
    assert replay(run_target, **EVENT) == 0
    assert len(statsig.state.events) == len(set(names(statsig))) == 5000
    assert list(run_target.directory.glob(DEAD_LETTERS)) == []


def test_a_dead_letter_file_can_be_piped_back_in(run_target, statsig):
    statsig.faults.add(event="order 1", status=400)
    run_target([schema("orders"), *orders(3)], **EVENT)
    statsig.faults.clear()
    (path,) = run_target.directory.glob(DEAD_LETTERS)
    with path.open("rb") as letters:
        assert run_target(letters, **EVENT).exit_code == 0
    assert names(statsig) == ["order 0", "order 1", "order 2"]


def test_an_event_refused_again_stays_a_dead_letter(run_target, statsig):
    statsig.faults.add(event="order 1", status=400)
    run_target([schema("orders"), *orders(3)], **EVENT)
    assert replay(run_target, **EVENT) == 1
    (path,) = run_target.directory.glob(DEAD_LETTERS)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(("订单", "用户"), id="no letter fits a file name"),
        pytest.param(("orders/eu", "orders_eu"), id="one becomes the other"),
        pytest.param(("x" * 300, "x" * 301), id="too long for a file name"),
    ],
)
@pytest.mark.parametrize("is_remote", [True, False])
def test_streams_with_similar_names_lose_no_dead_letter(run_target, statsig, streams, is_remote):
    path = UPath(f"memory:/{run_target.directory}" if is_remote else run_target.directory / "dead")
    settings = {**EVENT, "dead_letter_path": str(path), "max_rejected_percent": 100}
    statsig.faults.add(event="order *", status=400)
    rows = [
        record(stream, {"event": f"order {n}", "user_id": f"u{n} of {number}"})
        for n in range(5)
        for number, stream in enumerate(streams)
    ]
    for _ in range(2):
        run_target([*map(schema, streams), *rows[:4], state(a=1), *rows[4:], state(a=2)], **settings)
    statsig.faults.clear()
    assert replay(run_target, **settings) == 0
    assert sorted(event["user"]["userID"] for event in statsig.state.events) == sorted(
        row["record"]["user_id"] for row in rows
    )
    assert list(path.glob("*")) == []


def test_a_replay_that_cannot_reach_statsig_removes_no_file(run_target, statsig):
    statsig.faults.add(event="order 1", status=400)
    run_target([schema("orders"), *orders(3)], **EVENT)
    statsig.faults.clear()
    statsig.faults.add(path="/v1/*", status=503)
    assert replay(run_target, **EVENT) == 1
    assert len(list(run_target.directory.glob(DEAD_LETTERS))) == 1


def test_a_replay_without_dead_letters_ends_with_0(run_target, caplog):
    assert replay(run_target, **EVENT) == 0
    assert f"There are no dead letters in {run_target.directory / 'dead'}" in caplog.text


def test_a_signal_interrupts_the_reading_of_dead_letters(run_target, statsig, monkeypatch, caplog):
    statsig.faults.add(event="order 1", status=400)
    run_target([schema("orders"), *orders(3)], **EVENT)
    statsig.faults.clear()
    target = TargetStatsig(config=run_target.config(**EVENT))
    caplog.clear()
    with monkeypatch.context() as patched:
        patched.setattr("target_statsig.commands.replay.digest", lambda _: signal.raise_signal(signal.SIGTERM))
        assert target.replay() == 128 + signal.SIGTERM
    assert [line.getMessage() for line in caplog.records if line.levelname == "ERROR"] == []
    assert len(list(run_target.directory.glob(DEAD_LETTERS))) == 1


def test_a_replay_leaves_the_file_of_a_running_run_alone(command, statsig):
    statsig.state.seed_segment("vips")
    settings = {**MIRROR, "sync_mode": "add", "max_rejected_percent": 100}
    running = command.start_with(**settings)
    running.write([schema("users"), record("users", {"id": "a"}), state(users={"n": 1})])
    running.stdout.wait_for("users")
    line = ("--config", command.config_file(**settings, field_mapping={"user_id": "id"}), "--replay")
    assert command.run(*line).exit_code == 0
    assert statsig.state.ids("vips") == set()
    running.write([record("users", {"id": "b"}), state(users={"n": 2})])
    running.end_input()
    assert running.finish().states[-1] == {"bookmarks": {"users": {"n": 2}}}
    assert command.run(*line).exit_code == 0
    assert statsig.state.ids("vips") == {"a", "b"}


def test_a_file_that_another_replay_has_deleted_is_no_error(run_target, statsig):
    run_target([schema("orders"), record("orders", {"user_id": "u"})], **EVENT)
    (letter,) = run_target.directory.glob(DEAD_LETTERS)
    statsig.faults.add(when=lambda _: letter.unlink())
    assert replay(run_target, **EVENT, event_name="order") == 0
    assert names(statsig) == ["order"]


class TestUnreadableDeadLetters:
    """Each fails the replay: if it reported no dead letters, they would be forgotten."""

    @pytest.fixture
    def directory(self, run_target, statsig):
        statsig.faults.add(event="order 1", status=400)
        run_target([schema("orders"), *orders(3)], **EVENT)
        statsig.faults.clear()
        directory = run_target.directory / "dead"
        yield directory
        directory.chmod(0o700)

    def error_of_replay(self, run_target, caplog):
        caplog.clear()
        assert replay(run_target, **EVENT) == 1
        (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        return error

    @pytest.mark.usefixtures("bound_by_permissions")
    @pytest.mark.parametrize("mode", [0o000, 0o100, 0o400])
    def test_files_without_permission_fail_the_replay(self, run_target, directory, caplog, mode):
        directory.chmod(mode)
        assert "cannot be read: Permission denied" in self.error_of_replay(run_target, caplog)

    def test_a_file_in_place_of_the_directory_fails_the_replay(self, run_target, directory, caplog):
        letters = directory.rename(run_target.directory / "elsewhere")
        directory.touch()
        error = self.error_of_replay(run_target, caplog)
        assert "The input cannot be used: The dead letters in " in error
        assert "cannot be read: Not a directory" in error
        assert len(list(letters.iterdir())) == 1

    def test_a_directory_among_the_files_fails_the_replay(self, run_target, directory, caplog):
        (directory / "zzz.singer").mkdir()
        assert "cannot be read: Is a directory" in self.error_of_replay(run_target, caplog)
        assert len(list(directory.iterdir())) == 2

    @pytest.mark.usefixtures("bound_by_permissions")
    def test_files_that_cannot_be_deleted_are_named(self, run_target, directory, caplog):
        directory.chmod(0o500)
        error = self.error_of_replay(run_target, caplog)
        assert "were sent again, but cannot be deleted: Permission denied" in error

    def test_files_that_cannot_be_deleted_fail_the_run_in_its_report(self, run_target, directory, caplog, monkeypatch):
        (letter,) = directory.iterdir()
        monkeypatch.setattr("pathlib.Path.unlink", refuse_to_delete)
        report = run_target.directory / "report.json"
        caplog.clear()
        assert replay(run_target, report_path=str(report), **EVENT) == 1
        (error,) = json.loads(report.read_text())["errors"]
        assert "were sent again, but cannot be deleted: Permission denied" in error
        assert error in caplog.text
        assert letter.exists()

    def test_files_stay_when_new_dead_letters_cannot_be_written(self, run_target, statsig, directory):
        (letter,) = directory.iterdir()
        content = letter.read_bytes()
        statsig.faults.add(event="order 1", status=400)
        with no_room_for_dead_letters():
            assert replay(run_target, **EVENT) == 1
        assert letter.read_bytes() == content


def test_a_record_rejected_by_several_runs_is_sent_once(run_target, statsig):
    """An incremental tap sends the rows at its bookmark again in every run."""
    statsig.faults.add(event="order 1", status=400)
    for _ in range(3):
        run_target([schema("orders"), *orders(2), state(orders={})], **EVENT)
    assert len(run_target.dead_letters) == 6
    statsig.faults.clear()
    assert replay(run_target, **EVENT) == 0
    assert names(statsig) == ["order 0", "order 1"]
    assert list(run_target.directory.glob(DEAD_LETTERS)) == []


def test_a_record_rejected_twice_by_one_run_is_sent_twice(run_target, statsig):
    statsig.faults.add(event="order 1", status=400)
    run_target([schema("orders"), *orders(2)], **EVENT)
    run_target([schema("orders"), *orders(2), orders(2)[1]], **EVENT)
    statsig.faults.clear()
    assert replay(run_target, **EVENT) == 0
    assert names(statsig) == ["order 0", "order 1", "order 1"]


def test_a_truncated_last_line_is_left_out(run_target, statsig, caplog):
    statsig.faults.add(event="order *", status=400)
    run_target([schema("orders"), *orders(3)], **EVENT)
    statsig.faults.clear()
    (path,) = run_target.directory.glob(DEAD_LETTERS)
    path.write_bytes(path.read_bytes()[:-20])
    assert replay(run_target, **EVENT) == 0
    assert names(statsig) == ["order 0", "order 1"]
    assert f"The last line of {path.name} is cut off" in caplog.text


def test_stream_maps_run_once_over_a_replayed_record(run_target, statsig):
    maps = {"orders": {"event": "event + '!'", "user_id": "user_id", "id": "id"}}
    properties = {"id": {"type": "integer"}, "event": {"type": "string"}, "user_id": {"type": "string"}}
    statsig.faults.add(event="order 1!", status=400)
    run_target([schema("orders", properties), *orders(2)], stream_maps=maps, **EVENT)
    statsig.faults.clear()
    replay(run_target, stream_maps=maps, **EVENT)
    assert names(statsig) == ["order 0!", "order 1!"]


def test_a_replay_adds_members_to_a_mirror_and_removes_nobody(run_target, statsig):
    statsig.state.seed_segment("vips", ["a", "b"])
    rows = [record("users", {"user_id": name}) for name in ("a", "b")]
    run_target([schema("users"), *rows, record("users", {"user": "c"}), state(users={})], **MIRROR)
    (path,) = run_target.directory.glob(DEAD_LETTERS)
    path.write_text(path.read_text().replace('"user": "c"', '"user_id": "c"'))
    assert replay(run_target, **MIRROR) == 0
    assert set(statsig.state.ids("vips")) == {"a", "b", "c"}
    assert list(run_target.directory.glob(DEAD_LETTERS)) == []


class ForbiddingFileSystem(MemoryFileSystem):
    """Remote files, whose service forbids some calls with an error of its own, as cloud clients do."""

    protocol = "forbidding"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    forbidden: ClassVar[set[str]] = set()

    def _check(self, call):
        if call in self.forbidden:
            raise ForbiddenError(call)

    def ls(self, path, detail=True, **options):
        self._check("list")
        return super().ls(path, detail, **options)

    def _open(self, path, mode="rb", **options):
        self._check("read" if mode == "rb" else "write")
        return super()._open(path, mode, **options)

    def _rm(self, path):
        self._check("delete")
        super()._rm(path)


class ForbiddenError(Exception):
    """An error that is no OSError."""


class TestRemoteDeadLetters:
    """A service may forbid any call. No dead letter is lost, and the error names the setting."""

    @pytest.fixture
    def settings(self, run_target, statsig):
        fsspec.register_implementation("forbidding", ForbiddingFileSystem, clobber=True)
        upath.registry.register_implementation("forbidding", UPath, clobber=True)
        settings = {**EVENT, "dead_letter_path": f"forbidding://bucket{run_target.directory}"}
        statsig.faults.add(event="order 1", status=400)
        run_target([schema("orders"), *orders(3)], **settings)
        statsig.faults.clear()
        yield settings
        ForbiddingFileSystem.forbidden.clear()
        ForbiddingFileSystem.store.clear()

    def error_of_replay(self, run_target, caplog, **settings):
        letters = dict(ForbiddingFileSystem.store)
        caplog.clear()
        assert replay(run_target, **settings) == 1
        assert letters.items() <= ForbiddingFileSystem.store.items()
        return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

    @pytest.mark.parametrize("call", ["list", "read"])
    def test_files_that_cannot_be_read_are_named(self, run_target, caplog, settings, call):
        ForbiddingFileSystem.forbidden.add(call)
        (error,) = self.error_of_replay(run_target, caplog, **settings)
        assert error.startswith("The input cannot be used: The dead letters in forbidding://bucket/")
        assert "cannot be read: ForbiddenError. They stay." in error
        assert "`dead_letter_path`" in error

    def test_files_that_cannot_be_deleted_are_named(self, run_target, caplog, settings):
        ForbiddingFileSystem.forbidden.add("delete")
        (error,) = self.error_of_replay(run_target, caplog, **settings)
        assert "were sent again, but cannot be deleted: ForbiddenError" in error

    def test_files_stay_when_new_dead_letters_cannot_be_written(self, run_target, statsig, caplog, settings):
        ForbiddingFileSystem.forbidden.add("write")
        statsig.faults.add(event="order 1", status=400)
        error, *_ = self.error_of_replay(run_target, caplog, **settings)
        assert error.startswith("The dead letters cannot be written: ")
        assert "ForbiddenError" in error
        assert "`dead_letter_path`" in error
