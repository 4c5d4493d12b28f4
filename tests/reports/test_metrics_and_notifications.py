"""The report as OpenMetrics text and as a notification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_statsig.client.http import TransportError, notify
from target_statsig.reports.report import notification, open_metrics, write_open_metrics
from tests.fakes import FakeTransport, answer

REPORT = {
    "status": "failed",
    "dry_run": False,
    "seconds": 12.5,
    "streams": {
        "orders": {
            "object_type": "event",
            "records": 10,
            "delivered": 8,
            "rejected": 2,
            "reasons": {"invalid_time": 2},
        },
        "vips": {
            "object_type": "segment",
            "records": 3,
            "rejected": 0,
            "reasons": {},
            "segments": {"vip_users": {"sync_mode": "mirror", "before": None, "added": 3, "removed": 1, "held": 4}},
        },
    },
    "errors": ["Statsig cannot be reached: no answer."],
}

METRICS = """\
# TYPE target_statsig_run_success gauge
target_statsig_run_success 0
# TYPE target_statsig_run_seconds gauge
target_statsig_run_seconds 12.5
# TYPE target_statsig_run_ended_timestamp_seconds gauge
target_statsig_run_ended_timestamp_seconds 1700000000.25
# TYPE target_statsig_stream_records gauge
target_statsig_stream_records{stream="orders",object_type="event"} 10
target_statsig_stream_records{stream="vips",object_type="segment"} 3
# TYPE target_statsig_stream_delivered gauge
target_statsig_stream_delivered{stream="orders",object_type="event"} 8
# TYPE target_statsig_stream_rejected gauge
target_statsig_stream_rejected{stream="orders",object_type="event"} 2
target_statsig_stream_rejected{stream="vips",object_type="segment"} 0
# TYPE target_statsig_stream_rejected_by_reason gauge
target_statsig_stream_rejected_by_reason{stream="orders",object_type="event",reason="invalid_time"} 2
# TYPE target_statsig_segment_added gauge
target_statsig_segment_added{stream="vips",segment="vip_users"} 3
# TYPE target_statsig_segment_removed gauge
target_statsig_segment_removed{stream="vips",segment="vip_users"} 1
# TYPE target_statsig_segment_held gauge
target_statsig_segment_held{stream="vips",segment="vip_users"} 4
# EOF
"""


def test_every_count_is_a_metric():
    assert open_metrics(REPORT, 1_700_000_000.25) == METRICS


@given(st.text())
def test_stream_names_are_escaped_in_metrics(stream):
    text = open_metrics({**REPORT, "streams": {stream: REPORT["streams"]["orders"]}}, 0)
    assert text.split("\n") == [line for line in text.split("\n") if line.startswith(("#", "target_statsig_"))] + [""]


def test_the_metrics_of_a_run_replace_the_earlier_ones(tmp_path):
    path = tmp_path / "new" / "statsig.prom"
    for seconds in (1.0, 2.0):
        write_open_metrics(str(path), {**REPORT, "seconds": seconds}, 0)
    assert "target_statsig_run_seconds 2.0" in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_a_notification_is_the_report_with_a_summary():
    transport = FakeTransport(answer())
    notify("https://hooks.example.com/secret", notification(REPORT), transport)
    text = (
        "target-statsig: run failed after 12.5 s. 8 delivered, 2 rejected, 3 added, 1 removed, 4 held.\n"
        "Statsig cannot be reached: no answer."
    )
    assert transport.sent() == {"text": text, **REPORT}


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        pytest.param(answer(302), "answered 302", id="redirect"),
        pytest.param(answer(500), "answered 500", id="error"),
        pytest.param(TransportError("connection refused", sent=False), "connection refused", id="no connection"),
    ],
)
def test_a_failed_notification_is_a_warning_without_the_address(failure, text, caplog):
    transport = FakeTransport(failure)
    notify("https://hooks.example.com/secret", notification(REPORT), transport)
    assert text in caplog.text
    assert "hooks.example.com" in caplog.text
    assert "secret" not in caplog.text
    assert len(transport.requests) == 1
