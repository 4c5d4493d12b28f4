"""A run whose store is on a server needs no disk."""

from __future__ import annotations

import json

from tests.singer import record, schema, state

STREAMS = {
    "orders": {"object_type": "event", "event_name": "purchase"},
    "vips": {
        "object_type": "segment",
        "segment_id": "vips",
        "sync_mode": "mirror",
        "create_segment": True,
        "row_count_field": "row_count",
    },
}

MESSAGES = [
    schema("orders"),
    record("orders", {"user_id": "u-1", "time": "2026-11-01T00:00:00Z"}),
    schema("vips"),
    record("vips", {"user_id": "u-1", "row_count": 1}),
    state(),
]


def test_a_run_whose_store_is_on_a_server_writes_no_file(command, statsig, postgres_url, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    run = command.process(
        "--config",
        "ENV",
        messages=MESSAGES,
        TMPDIR=str(temporary),
        TARGET_STATSIG_EVENTS_URL=statsig.events_url,
        TARGET_STATSIG_CONSOLE_URL=statsig.console_url,
        TARGET_STATSIG_SERVER_SECRET_KEY=statsig.server_secret_key,
        TARGET_STATSIG_CONSOLE_API_KEY=statsig.console_api_key,
        TARGET_STATSIG_STORE_URL=postgres_url,
        TARGET_STATSIG_STREAMS=json.dumps(STREAMS),
    )
    assert run.exit_code == 0, run.log
    assert len(statsig.state.events) == 1
    assert statsig.state.segments["vips"].ids == {"u-1"}
    assert list(tmp_path.rglob("*")) == [temporary]
