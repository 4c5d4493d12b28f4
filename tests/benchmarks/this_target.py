"""The contender `target-statsig`, with the columns configured and all other settings at their defaults.

So it validates, compresses, retries and keeps a delivery ledger.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

from tests.benchmarks.data import MEMBER_STREAM, STREAM, STREAM_MAPS, TRACKING_STREAM, Shape

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.emulated import Project

COMMAND = (sys.executable, "-m", "target_statsig")

MAX_IDS_PER_REQUEST = 100_000
"""As many as Statsig accepts; with fewer, a benchmark would only measure the limit of 12 changes in 10 seconds."""

EVENTS = {
    STREAM: {
        "object_type": "event",
        "field_mapping": {
            "user_id": "user_id",
            "event_name": "event",
            "event_value": "revenue",
            "event_time": "event_time",
        },
    },
    TRACKING_STREAM: {"object_type": "event", "event_preset": "retail"},
}

_runs = itertools.count(1)


def events_command(project: Project, folder: Path, shape: Shape = Shape.ROWS, **stream_settings: Any) -> list[str]:
    """Return the command that sends events, with a new store, so that no event was sent before."""
    maps = {"stream_maps": STREAM_MAPS} if shape is Shape.MAPPED else {}
    stream = TRACKING_STREAM if shape is Shape.TRACKING else STREAM
    streams = {stream: {**EVENTS[stream], **stream_settings}}
    return _command(project, folder / f"run-{next(_runs)}", streams=streams, **maps)


def command_without_dedupe(project: Project, folder: Path, shape: Shape) -> list[str]:
    """Return the command that sends events without a delivery ledger."""
    return events_command(project, folder, shape, dedupe=False)


def members_command(project: Project, folder: Path, segment_id: str, sync_mode: str) -> list[str]:
    """Return the command that changes a segment, with the store in `folder`."""
    stream = {"object_type": "segment", "segment_id": segment_id, "sync_mode": sync_mode}
    return _command(project, folder, streams={MEMBER_STREAM: stream}, segment_batch_size=MAX_IDS_PER_REQUEST)


def _command(project: Project, folder: Path, **settings: Any) -> list[str]:
    folder.mkdir(exist_ok=True)
    config = {
        "events_url": project.events_url,
        "console_url": project.console_url,
        "server_secret_key": project.server_secret_key,
        "console_api_key": project.console_api_key,
        "store_url": f"sqlite:///{folder / 'store.db'}",
        "dead_letter_path": str(folder / "dead-letters"),
        **settings,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return [*COMMAND, "--config", str(path)]
