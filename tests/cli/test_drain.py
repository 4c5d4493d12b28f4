from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from target_statsig.singer import reader as input_reader
from tests.fakes import FakeClock


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as writer:
        yield reader, writer


def test_a_pipe_is_read_to_its_end(pipe, monkeypatch):
    reader, writer = pipe

    def write():
        writer.write(b"x" * 1_000_000)
        writer.close()

    tap = threading.Thread(target=write)
    tap.start()
    monkeypatch.setattr(sys, "stdin", reader)
    input_reader.drain_input(FakeClock())
    tap.join(60)
    assert not tap.is_alive()


def test_a_pipe_that_goes_on_is_left_when_the_time_is_up(pipe, monkeypatch):
    reader, writer = pipe
    clock = FakeClock()
    read = os.read

    def read_slowly(*arguments):
        clock.advance(2)
        return read(*arguments)

    monkeypatch.setattr(os, "read", read_slowly)
    monkeypatch.setattr(input_reader, "DRAIN_BYTES", 10)
    writer.write(b"x" * 100)
    writer.flush()
    monkeypatch.setattr(sys, "stdin", reader)
    input_reader.drain_input(clock)
    assert len(read(reader.fileno(), 1_000)) == 70


@pytest.mark.parametrize("stdin", [pytest.param(None, id="none"), pytest.param(io.StringIO("x"), id="no descriptor")])
def test_an_input_that_is_no_pipe_is_left_alone(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    input_reader.drain_input(FakeClock())


def test_a_file_is_left_alone(monkeypatch, tmp_path):
    path = tmp_path / "input.singer"
    path.write_text("a line\n")
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        input_reader.drain_input(FakeClock())
        assert file.read() == "a line\n"
