from __future__ import annotations

import json
import stat
from contextlib import closing
from pathlib import Path

import pytest

from target_statsig.client.dry_run import Recorded
from target_statsig.client.rate_limit import RateLimiter
from target_statsig.clock import SkippingClock
from target_statsig.commands.dry_run import RequestFile
from target_statsig.config.settings import RateWindow
from target_statsig.errors import FatalRunError, InterruptedRunError
from tests.fakes import FakeClock

DEV_FULL = Path("/dev/full")


def test_a_skipping_clock_adds_up_waits_without_waiting():
    clock = FakeClock()
    skipping = SkippingClock(clock)
    limiter = RateLimiter([RateWindow(2, 100)], skipping)
    for _ in range(5):
        limiter.acquire()
    assert skipping.skipped == pytest.approx(2 * 102, abs=0.01)
    assert skipping.time() == clock.time() + skipping.skipped
    assert skipping.monotonic() == clock.monotonic() + skipping.skipped
    assert set(clock.sleeps) == {0}


def test_a_signal_ends_a_skipped_wait():
    clock = FakeClock()
    clock.interrupt()
    with pytest.raises(InterruptedRunError):
        SkippingClock(clock).sleep(1)


def test_requests_are_json_lines_that_only_the_owner_reads(tmp_path):
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


@pytest.mark.skipif(not DEV_FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [pytest.param(1, id="when it is closed"), pytest.param(100_000, id="at once")])
def test_a_full_disk_ends_the_run(monkeypatch, tmp_path, size):
    monkeypatch.setattr("pathlib.Path.chmod", lambda *_: None)
    full = tmp_path / "full"
    full.symlink_to(DEV_FULL)
    file = RequestFile(full)

    with pytest.raises(FatalRunError, match="cannot be written: No space left on device"), closing(file):
        file.write(Recorded("POST", "/", b'"' + b"x" * size + b'"'))
