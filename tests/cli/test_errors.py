"""Every error begins with a heading, and says what was sent."""

from __future__ import annotations

import ast
import errno
from pathlib import Path

import pytest

import target_statsig
from target_statsig.errors import (
    REST_COMES_NEXT,
    AuthenticationError,
    FatalRunError,
    Heading,
    InputError,
    NotNowError,
    RefusedError,
    RejectionsError,
    SegmentError,
    SettingsError,
    StoreError,
    text_of,
)

SOURCES = sorted(Path(target_statsig.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(AuthenticationError("No."), f"Statsig does not accept the key: No. {REST_COMES_NEXT}", id="key"),
        pytest.param(StoreError("no room"), f"The store cannot be used: no room. {REST_COMES_NEXT}", id="store"),
        pytest.param(
            RefusedError("Why?"), f"Statsig refuses the request: Why? {REST_COMES_NEXT}", id="ends with a question mark"
        ),
        pytest.param(RefusedError("No."), f"Statsig refuses the request: No. {REST_COMES_NEXT}", id="refused"),
        pytest.param(
            NotNowError("Wait."), f"Statsig accepts no more requests for now: Wait. {REST_COMES_NEXT}", id="later"
        ),
        pytest.param(
            NotNowError("Dead.", heading=Heading.UNREACHABLE),
            f"Statsig cannot be reached: Dead. {REST_COMES_NEXT}",
            id="unreachable",
        ),
        pytest.param(InputError("Line 1."), "The input cannot be used: Line 1.", id="input"),
        pytest.param(RejectionsError("11 of 12."), "Too many records were rejected: 11 of 12.", id="rejections"),
        pytest.param(
            SegmentError("Gone.", heading=Heading.NO_SEGMENT), "The segment does not exist: Gone.", id="segment"
        ),
        pytest.param(FatalRunError("Full.", heading=Heading.OUTPUT), "The STATE cannot be written: Full.", id="output"),
    ],
)
def test_an_error_begins_with_its_heading(error, text):
    assert error.full_text == text_of(error) == text


def test_a_setting_error_during_a_run_says_what_was_not_sent():
    text = SettingsError(["stream 'a': `object_type` is missing."]).full_text
    assert text.startswith("The configuration cannot be used: stream 'a': `object_type` is missing. Nothing of this")


def test_an_unexpected_error_shows_its_line_and_not_its_text():
    try:
        {}["jane@example.com"]
    except KeyError as error:
        text = text_of(error)
    assert text.startswith("This is a bug in target-statsig: unexpected KeyError at test_errors.py:")
    assert "jane" not in text


def test_an_unexpected_error_of_the_system_says_what_it_is():
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "jane@example.com")
    text = text_of(error)
    assert "unexpected FileNotFoundError (No such file or directory) at" in text
    assert "jane" not in text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_segment_and_fatal_run_errors_are_raised_with_a_heading(path):
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            headed = "heading" in {keyword.arg for keyword in call.keywords}
            assert headed or call.func.id not in {"SegmentError", "FatalRunError"}, f"line {call.lineno}"
