from __future__ import annotations

import json
import stat
from contextlib import closing
from pathlib import Path

import pytest
from singer_sdk.exceptions import ConfigValidationError

from target_statsig.client.dry_run import Recorded
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.clock import SkippingClock
from target_statsig.commands.dry_run import RequestFile
from target_statsig.config.settings import RateWindow
from target_statsig.errors import FatalRunError, InterruptedRunError, SettingsError
from target_statsig.target import TargetStatsig
from tests.fakes import FakeClock

FULL = Path("/dev/full")


def test_what_only_a_dry_run_does_needs_one(run_target):
    for options in ({"show_ids": True}, {"dry_run_output": Path("requests.jsonl")}):
        with pytest.raises(ConfigValidationError) as refused:
            TargetStatsig(config=run_target.config(object_type="event"), **options)
        assert "need `--dry-run`" in refused.value.errors[0]


def test_a_file_that_cannot_be_written_is_said_before_anything_is_read(tmp_path):
    with pytest.raises(SettingsError, match=r"`--dry-run-output` \(.*\) cannot be written: No such file"):
        RequestFile(tmp_path / "missing" / "requests.jsonl")


def test_waits_take_no_time_and_are_added_up():
    clock = FakeClock()
    lapse = SkippingClock(clock)
    limiter = RateLimiter([RateWindow(2, 100)], lapse)
    for _ in range(5):
        limiter.acquire()
    assert lapse.skipped == pytest.approx(2 * 102, abs=0.01)
    assert lapse.time() == clock.time() + lapse.skipped
    assert lapse.monotonic() == clock.monotonic() + lapse.skipped
    assert set(clock.sleeps) == {0}


def test_a_signal_ends_a_wait_that_takes_no_time():
    clock = FakeClock()
    clock.interrupt()
    with pytest.raises(InterruptedRunError):
        SkippingClock(clock).sleep(1)


def test_requests_are_json_lines_for_their_owner_alone(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text("an older one\n")
    path.chmod(0o644)
    file = RequestFile(path)
    file.write(Recorded("PATCH", "/segments/vips/id_list", b'{"ids":["a"]}'))
    file.write(Recorded("POST", "/log_event", b'{"events":[{"eventName":"a"},{"eventName":"b"}]}'))
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"method": "PATCH", "path": "/segments/vips/id_list", "body": {"ids": ["a"]}},
        {"method": "POST", "path": "/log_event", "body": {"events": [{"eventName": "a"}, {"eventName": "b"}]}},
    ]


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [pytest.param(1, id="when it is closed"), pytest.param(100_000, id="at once")])
def test_a_full_disk_is_said(monkeypatch, tmp_path, size):
    monkeypatch.setattr("pathlib.Path.chmod", lambda *_: None)
    full = tmp_path / "full"
    full.symlink_to(FULL)
    file = RequestFile(full)

    with pytest.raises(FatalRunError, match="cannot be written: No space left on device"), closing(file):
        file.write(Recorded("POST", "/", b'"' + b"x" * size + b'"'))
