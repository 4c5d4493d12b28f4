from __future__ import annotations

from target_statsig.commands.run import AGE_BYTES, Run
from target_statsig.config.parse import parse_config
from target_statsig.config.settings import config_schema
from target_statsig.errors import InterruptedRunError, SegmentError
from target_statsig.reports.report import RunStatus


def make_run(**settings):
    return Run(parse_config({"console_rate_limits": "3/2m", **settings}, config_schema()))


def test_the_first_failure_is_raised_and_all_are_reported():
    run = make_run()
    first = SegmentError("one")
    for error in (first, SegmentError("two"), SegmentError("one"), InterruptedRunError("stopped")):
        run.fail(error)
    assert run.failure is first
    assert [*run.report.errors] == [first.full_text, SegmentError("two").full_text]
    assert run.report.status is RunStatus.FAILED
    assert run.report.exit_code == 1


def test_an_interrupted_run_ends_with_the_number_of_its_signal():
    run = make_run()
    run.stop(15)
    run.end(complete=True)
    assert run.report.exit_code == 143
    assert run.report.status is RunStatus.INTERRUPTED


def test_old_batches_are_flushed_after_so_many_bytes_read(monkeypatch):
    run = make_run()
    aged = []
    monkeypatch.setattr(run.streams, "flush_old", lambda: aged.append(True))
    for size, times in [(AGE_BYTES - 1, 0), (1, 1), (0, 1), (AGE_BYTES * 3, 2), (AGE_BYTES // 2, 2)]:
        run.tick(size)
        assert len(aged) == times
