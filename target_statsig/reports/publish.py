"""The run report for other programs: as OpenMetrics text in a file, and as a POST at the end of a run."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from target_statsig.client.http import Request, Transport, TransportError
from target_statsig.errors import TargetStatsigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger(__name__)

PREFIX = "target_statsig"

NOTIFY_TIMEOUT = 10.0
"""Seconds that a notification may take: it is tried once, and the run is over."""

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

_OK = range(200, 300)


# OpenMetrics: https://prometheus.io/docs/specs/om/open_metrics_spec/


def open_metrics(report: Mapping[str, Any], ended_at: float) -> str:
    """Return the counts of a report as OpenMetrics text; all are gauges, since each run begins at zero.

    Args:
        report: As `RunReport.as_json` makes it.
        ended_at: Seconds since 1970.
    """
    families: dict[str, list[str]] = {}
    for name, labels, value in _samples(report, ended_at):
        shown = ",".join(f'{label}="{text.translate(_LABEL_ESCAPES)}"' for label, text in labels.items())
        families.setdefault(name, []).append(f"{name}{f'{{{shown}}}' if shown else ''} {value}")
    lines = [line for name, samples in families.items() for line in (f"# TYPE {name} gauge", *samples)]
    return "\n".join([*lines, "# EOF", ""])


def write_open_metrics(path: str, report: Mapping[str, Any], ended_at: float) -> None:
    """Write the metrics in one step, so that a collector never reads half of them.

    Raises:
        OSError: The file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_bytes(open_metrics(report, ended_at).encode("utf-8", "backslashreplace"))
    unfinished.replace(target)


def _samples(report: Mapping[str, Any], ended_at: float) -> Iterator[tuple[str, dict[str, str], float]]:
    yield f"{PREFIX}_run_success", {}, int(report["status"] == "complete")
    yield f"{PREFIX}_run_seconds", {}, report["seconds"]
    yield f"{PREFIX}_run_ended_timestamp_seconds", {}, round(ended_at, 3)
    for stream, counts in report["streams"].items():
        labels = {"stream": stream, "object_type": counts["object_type"]}
        yield from _numbers("stream", labels, counts)
        for reason, count in counts["reasons"].items():
            yield f"{PREFIX}_stream_rejected_by_reason", labels | {"reason": reason}, count
        for segment, changes in counts.get("segments", {}).items():
            yield from _numbers("segment", {"stream": stream, "segment": segment}, changes)


def _numbers(of: str, labels: dict[str, str], counts: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], float]]:
    for name, value in counts.items():
        if isinstance(value, int) and not isinstance(value, bool):
            yield f"{PREFIX}_{of}_{name}", labels, value


# The notification


def notify(url: str, report: Mapping[str, Any], transport: Transport) -> None:
    """POST the report with a sentence in `text`, as Slack and its like show it; a failure is logged and no more.

    Args:
        url: `http://` or `https://`; it may hold a secret, so the log shows its host only.
        report: As `RunReport.as_json` makes it.
        transport: Follows no redirect.
    """
    body = msgspec.json.encode({"text": summary_of(report), **report})
    request = Request("POST", url, {"Content-Type": "application/json"}, NOTIFY_TIMEOUT, body)
    try:
        status = transport.send(request).status
    except (TransportError, TargetStatsigError) as error:
        logger.warning("The report could not be sent to `notify_url` (%s): %s.", urlsplit(url).hostname, error)
        return
    if status not in _OK:
        logger.warning("`notify_url` (%s) did not take the report: it answered %d.", urlsplit(url).hostname, status)


def summary_of(report: Mapping[str, Any]) -> str:
    """Return a report as a sentence or two, with what went wrong first."""
    streams = report["streams"].values()
    delivered = sum(counts.get("delivered", 0) for counts in streams)
    rejected = sum(counts["rejected"] for counts in streams)
    segments = [segment for counts in streams for segment in counts.get("segments", {}).values()]
    facts = [f"{delivered:,} delivered", f"{rejected:,} rejected"]
    if segments:
        changes = {name: sum(segment[name] or 0 for segment in segments) for name in ("added", "removed", "held")}
        facts += [f"{count:,} {name}" for name, count in changes.items()]
    text = f"target-statsig: run {report['status']} after {report['seconds']:,} s. {', '.join(facts)}."
    return "\n".join([text, *report["errors"]])
