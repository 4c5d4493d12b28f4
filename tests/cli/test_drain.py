from __future__ import annotations

import io
import os
import sys
import threading

import pytest

from target_statsig.singer import reader as reader_module
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
    reader_module.drain_input(FakeClock())
    tap.join(60)
    assert not tap.is_alive()


def test_a_pipe_that_does_not_end_is_read_until_a_deadline(pipe, monkeypatch):
    reader, writer = pipe
    clock = FakeClock()
    read = os.read

    def read_slowly(*arguments):
        clock.advance(2)
        return read(*arguments)

    monkeypatch.setattr(os, "read", read_slowly)
    monkeypatch.setattr(reader_module, "CHUNK_BYTES", 10)
    writer.write(b"x" * 100)
    writer.flush()
    monkeypatch.setattr(sys, "stdin", reader)
    reader_module.drain_input(clock)
    assert len(read(reader.fileno(), 1_000)) == 70


@pytest.mark.parametrize("stdin", [pytest.param(None, id="none"), pytest.param(io.StringIO("x"), id="no descriptor")])
def test_an_input_without_a_descriptor_is_ignored(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    reader_module.drain_input(FakeClock())
    assert stdin is None or stdin.read() == "x"


def test_a_file_is_not_drained(monkeypatch, tmp_path):
    path = tmp_path / "input.singer"
    path.write_text("a line\n")
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        reader_module.drain_input(FakeClock())
        assert file.read() == "a line\n"
