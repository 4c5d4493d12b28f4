"""STATEs on standard output, and the errors when they cannot be written."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from target_statsig.errors import FatalRunError
from target_statsig.singer.state import encode_state, write_state


@pytest.mark.parametrize(
    ("state", "line"),
    [
        pytest.param({"a": 1, "b": "x"}, '{"a": 1, "b": "x"}', id="as singer-sdk writes it"),
        pytest.param({"at": Decimal("1.50")}, '{"at":1.50}', id="a number stays as the tap wrote it"),
        pytest.param({"at": Decimal("1.50"), "b": "\ud83d"}, '{"at":1.50,"b":"\\ud83d"}', id="half a surrogate pair"),
        pytest.param(
            {"at": Decimal("1.50"), "b": "\u00fc\U0001f600"}, '{"at":1.50,"b":"\\u00fc\\ud83d\\ude00"}', id="ASCII"
        ),
    ],
)
def test_a_state_is_encoded_as_the_tap_wrote_it(state, line):
    assert encode_state(state) == line


def test_a_state_is_written_as_one_line_and_flushed(tmp_path, monkeypatch):
    with (tmp_path / "states").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        write_state({"a": 1})
        assert (tmp_path / "states").read_text() == '{"a": 1}\n'


class FailingOutput:
    """Raises an error whenever it is written to."""

    def __init__(self, error):
        self._error = error

    def write(self, text):
        raise self._error


@pytest.mark.parametrize(
    ("output", "message"),
    [
        pytest.param(FailingOutput(BrokenPipeError(32, "Broken pipe")), "is closed", id="broken pipe"),
        pytest.param(FailingOutput(ValueError("I/O operation on closed file")), "is closed", id="closed"),
        pytest.param(None, "is closed", id="missing"),
        pytest.param(
            FailingOutput(OSError(28, "No space left")), r"cannot be written \(No space left\)", id="disk full"
        ),
    ],
)
def test_an_output_that_cannot_be_written_ends_the_run(monkeypatch, output, message):
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(FatalRunError, match=f"^Standard output {message}.*The next run starts at the last STATE"):
        write_state({"email": "jane@example.com"})
