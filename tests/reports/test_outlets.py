"""`metrics_path` and `notify_url`, through whole runs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.singer import record, schema

GOOD = [schema("orders"), record("orders", {"user_id": "u1", "event": "order"})]
BAD = [schema("orders"), record("orders", {"user_id": "u1"})]


class Hook(BaseHTTPRequestHandler):
    """Takes notifications, and answers as its server says."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Stay silent."""


@pytest.fixture
def hook():
    """Serve an address that takes notifications."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.posted, server.status, server.url = [], 200, f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings(hook, **more):
    return {"object_type": "event", "notify_url": f"{hook.url}/services/T0KEN", **more}


def test_a_failed_run_is_notified_with_its_report(run_target, hook):
    outcome = run_target(BAD, **settings(hook))
    ((path, content_type, posted),) = hook.posted
    assert (path, content_type) == ("/services/T0KEN", "application/json")
    assert outcome.exit_code == 1
    assert posted["text"].startswith("target-statsig: run failed after ")
    assert {**outcome.report, "text": posted["text"]} == posted


def test_a_complete_run_is_notified_only_where_that_is_asked_for(run_target, hook):
    assert run_target(GOOD, **settings(hook)).exit_code == 0
    assert hook.posted == []
    assert run_target(GOOD, **settings(hook, notify_on="always")).exit_code == 0
    assert [posted["status"] for _, _, posted in hook.posted] == ["complete"]


@pytest.mark.parametrize("status", [302, 500])
def test_a_notification_that_fails_changes_nothing(status, run_target, hook):
    hook.status = status
    outcome = run_target(GOOD, **settings(hook, notify_on="always"))
    assert outcome.exit_code == 0
    assert f"answered {status}" in outcome.log
    assert "T0KEN" not in outcome.log
    assert len(hook.posted) == 1


def test_a_notification_that_fails_as_nobody_expects_changes_nothing(run_target, hook, monkeypatch):
    def fail(*_):
        msg = "a secret"
        raise RuntimeError(msg)

    monkeypatch.setattr("target_statsig.commands.run.notify", fail)
    outcome = run_target(GOOD, **settings(hook, notify_on="always"))
    assert (outcome.exit_code, outcome.report["status"]) == (0, "complete")
    assert "The report could not be sent to `notify_url`: RuntimeError." in outcome.log
    assert "a secret" not in outcome.log


def test_nobody_there_changes_nothing(run_target):
    outcome = run_target(GOOD, object_type="event", notify_url="http://127.0.0.1:9/T0KEN", notify_on="always")
    assert outcome.exit_code == 0
    assert "`notify_url` (127.0.0.1)" in outcome.log


def test_no_key_is_in_a_notification(run_target, statsig, hook):
    run_target(BAD, **settings(hook))
    assert statsig.server_secret_key not in json.dumps(hook.posted)
    assert statsig.console_api_key not in json.dumps(hook.posted)


def test_the_counts_of_a_run_are_metrics(run_target, tmp_path):
    path = tmp_path / "metrics" / "statsig.prom"
    run_target(GOOD, object_type="event", metrics_path=str(path))
    assert 'target_statsig_stream_delivered{stream="orders",object_type="event"} 1' in path.read_text()
    assert path.read_text().endswith("# EOF\n")


def test_metrics_that_cannot_be_written_fail_the_run_and_lose_nothing(run_target, tmp_path, statsig):
    outcome = run_target(GOOD, object_type="event", metrics_path=str(tmp_path))
    assert outcome.exit_code == 1
    assert "`metrics_path`" in outcome.log
    assert len(statsig.state.events) == 1


def test_a_dry_run_leaves_metrics_and_notifications_alone(run_target, hook, tmp_path):
    run_target(BAD, dry_run=True, metrics_path=str(tmp_path / "statsig.prom"), **settings(hook, notify_on="always"))
    assert hook.posted == []
    assert not (tmp_path / "statsig.prom").exists()


@pytest.mark.parametrize("url", ["hooks.example.com/T", "https:///T", "ftp://example.com"])
def test_an_address_that_is_none_is_refused(url, run_target):
    with pytest.raises(Exception, match="Nothing was read") as caught:
        run_target(GOOD, object_type="event", notify_url=url)
    assert "`notify_url`" in str(caught.value.errors)
