from __future__ import annotations

from target_statsig.commands.check import Mark, Row, render

PASSED = Row(Mark.OK, "vips", "id_list of userID, 480 members. Fed by stream 'users' (mirror), which is a long text.")
FAILED = Row(Mark.FAIL, "a_segment_with_quite_a_long_name", "does not exist.", "Create it.")
TABLE = """\
Segments
  ok    vips                  id_list of userID, 480 members. Fed by stream
                              'users' (mirror), which is a long text.
  FAIL  a_segment_with_quite_a_long_name
                              does not exist.
                              → Create it.

1 of 2 checks failed. Nothing was sent or changed.
"""


def test_a_table_is_laid_out_for_80_columns():
    assert render({"Segments": [PASSED, FAILED]}) == TABLE


def test_a_table_without_failures_says_so():
    assert render({"Segments": [PASSED]}).endswith("\nNone of 1 checks failed. Nothing was sent or changed.\n")


def test_no_line_is_wider_than_80_columns():
    row = Row(Mark.UNKNOWN, "vips", "word " * 200, "word " * 100)
    assert max(map(len, render({"Keys": [row]}).splitlines()[:-1])) <= 80
