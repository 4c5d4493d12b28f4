"""The run report for other programs: JSON and OpenMetrics files, and the body of a notification."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.errors import FatalRunError, Heading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "target_statsig"

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

# OpenMetrics: https://prometheus.io/docs/specs/om/open_metrics_spec/


def write_report(path: str, report: Mapping[str, Any]) -> None:
    """Write the report as JSON.

    Raises:
        FatalRunError: The file cannot be written.
    """
    with _file_of("report_path", path) as file:
        file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def open_metrics(report: Mapping[str, Any], ended_at: float) -> str:
    """Return the counts of a report as OpenMetrics text. All are gauges, because each run begins at zero.

    `report` is that of `RunReport.as_json`; `ended_at` is in seconds since 1970.
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
        FatalRunError: The file cannot be written.
    """
    with _file_of("metrics_path", path) as file:
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        unfinished.write_bytes(open_metrics(report, ended_at).encode("utf-8", "backslashreplace"))
        unfinished.replace(file)


@contextmanager
def _file_of(setting: str, path: str) -> Iterator[Path]:
    """Give the file of a setting, in a directory that exists; an error names both."""
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield file
    except OSError as error:
        msg = f"`{setting}` ({path}) cannot be written: {error.strerror}. The run itself is done."
        raise FatalRunError(msg, heading=Heading.REPORT) from error


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


def notification(report: Mapping[str, Any]) -> bytes:
    """Return the report as JSON, with a sentence in `text` for Slack and similar services."""
    return msgspec.json.encode({"text": summary_of(report), **report})


def summary_of(report: Mapping[str, Any]) -> str:
    """Return a report as a sentence, and its errors."""
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
