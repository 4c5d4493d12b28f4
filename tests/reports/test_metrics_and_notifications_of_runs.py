"""`metrics_path` and `notify_url`, through whole runs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.singer import record, schema

VALID = [schema("orders"), record("orders", {"user_id": "u1", "event": "order"})]
INVALID = [schema("orders"), record("orders", {"user_id": "u1"})]


class Hook(BaseHTTPRequestHandler):
    """Accepts notifications, and answers with its server's status."""

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
    """Start a server that keeps the notifications it gets."""
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
    outcome = run_target(INVALID, **settings(hook))
    ((path, content_type, posted),) = hook.posted
    assert (path, content_type) == ("/services/T0KEN", "application/json")
    assert outcome.exit_code == 1
    assert posted["text"].startswith("target-statsig: run failed after ")
    assert {**outcome.report, "text": posted["text"]} == posted


def test_a_complete_run_is_notified_only_with_notify_on_always(run_target, hook):
    assert run_target(VALID, **settings(hook)).exit_code == 0
    assert hook.posted == []
    assert run_target(VALID, **settings(hook, notify_on="always")).exit_code == 0
    assert [posted["status"] for _, _, posted in hook.posted] == ["complete"]


@pytest.mark.parametrize("status", [302, 500])
def test_a_refused_notification_does_not_fail_the_run(status, run_target, hook):
    hook.status = status
    outcome = run_target(VALID, **settings(hook, notify_on="always"))
    assert outcome.exit_code == 0
    assert f"answered {status}" in outcome.log
    assert "T0KEN" not in outcome.log
    assert len(hook.posted) == 1


def test_an_unexpected_error_of_a_notification_does_not_fail_the_run(run_target, hook, monkeypatch):
    def fail(*_):
        msg = "a secret"
        raise RuntimeError(msg)

    monkeypatch.setattr("target_statsig.commands.run.notify", fail)
    outcome = run_target(VALID, **settings(hook, notify_on="always"))
    assert (outcome.exit_code, outcome.report["status"]) == (0, "complete")
    assert "The report could not be sent to `notify_url`: RuntimeError." in outcome.log
    assert "a secret" not in outcome.log


def test_an_unreachable_address_does_not_fail_the_run(run_target):
    outcome = run_target(VALID, object_type="event", notify_url="http://127.0.0.1:9/T0KEN", notify_on="always")
    assert outcome.exit_code == 0
    assert "`notify_url` (127.0.0.1)" in outcome.log


def test_a_notification_contains_no_key(run_target, statsig, hook):
    run_target(INVALID, **settings(hook))
    assert len(hook.posted) == 1
    assert statsig.server_secret_key not in json.dumps(hook.posted)
    assert statsig.console_api_key not in json.dumps(hook.posted)


def test_the_counts_of_a_run_are_written_as_metrics(run_target, tmp_path):
    path = tmp_path / "metrics" / "statsig.prom"
    run_target(VALID, object_type="event", metrics_path=str(path))
    assert 'target_statsig_stream_delivered{stream="orders",object_type="event"} 1' in path.read_text()
    assert path.read_text().endswith("# EOF\n")


def test_unwritable_metrics_fail_a_run_that_sent_everything(run_target, tmp_path, statsig):
    outcome = run_target(VALID, object_type="event", metrics_path=str(tmp_path))
    assert outcome.exit_code == 1
    assert "`metrics_path`" in outcome.log
    assert len(statsig.state.events) == 1


def test_a_dry_run_writes_no_metrics_and_sends_no_notification(run_target, hook, tmp_path):
    run_target(INVALID, dry_run=True, metrics_path=str(tmp_path / "statsig.prom"), **settings(hook, notify_on="always"))
    assert hook.posted == []
    assert not (tmp_path / "statsig.prom").exists()


@pytest.mark.parametrize("url", ["hooks.example.com/T", "https:///T", "ftp://example.com"])
def test_an_invalid_notify_url_is_refused(url, run_target):
    with pytest.raises(Exception, match="Nothing was read") as caught:
        run_target(VALID, object_type="event", notify_url=url)
    assert "`notify_url`" in str(caught.value.errors)
