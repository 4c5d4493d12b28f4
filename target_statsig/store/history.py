"""The last runs of a project: a row for each, written at its end."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import ObjectType
from target_statsig.reports.report import ItemCounts, wider
from target_statsig.store.database import insertion
from target_statsig.store.values import Command, PastRun, SentItems

if TYPE_CHECKING:
    from target_statsig.reports.report import RunReport
    from target_statsig.store.database import Connection

KEPT_RUNS = 100
"""Runs of a project that are remembered at most."""

KEPT_SECONDS = 90 * 86_400
"""Seconds for which a run is remembered at most."""


_UNREMEMBERED = frozenset({"dead_letter_files", "dry_run"})
"""Members of a report that say nothing later: the files may have been replayed, and no dry run is remembered."""

_ALSO_WHERE_EMPTY = frozenset({"exit_code", "held"})
"""Members of which 0 and null are two things."""


def past_run(report: RunReport, command: Command, now: float) -> PastRun:
    """Return what to remember of a run that ends now (seconds since 1970)."""
    content = {name: value for name, value in report.as_json(now).items() if name not in _UNREMEMBERED}
    # One count for all streams of a type, so that it lists no more names than that of a stream.
    events, exposures = ItemCounts(ObjectType.EVENT), ItemCounts(ObjectType.EXPOSURE)
    with report.lock:
        for counts in report.item_streams.values():
            for sent in (events, exposures):
                if counts.object_type is sent.object_type:
                    sent.count_names(counts.names)
                    sent.span = wider(sent.span, counts.span)
    items = SentItems(dict(events.names), events.span, dict(exposures.names))
    return PastRun(now, command, _trimmed(content), items if items.names or items.exposures else None)


def _trimmed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object without what is 0 or empty: a hundred of them are kept."""
    inner = {name: _trimmed(value) if isinstance(value, dict) else value for name, value in content.items()}
    return {name: value for name, value in inner.items() if value or name in _ALSO_WHERE_EMPTY}


def record(connection: Connection, project: int, run: PastRun) -> None:
    """Remember a run of a project, by its number in the store, and forget those that are too many or too old."""
    sent = None if run.sent is None else json.dumps(asdict(run.sent))
    # Escapes keep out what no column can hold: NUL, and halves of a character.
    values = {"ended_at": run.ended_at, "command": run.command.value, "report": json.dumps(run.report), "sent": sent}
    latest = f"SELECT run FROM target_statsig_runs WHERE project = :project ORDER BY run DESC LIMIT {KEPT_RUNS}"
    outdated = (
        f"DELETE FROM target_statsig_runs WHERE project = :project AND (ended_at < :oldest OR run NOT IN ({latest}))"
    )
    with connection.writing():
        if sent is not None:
            connection.run("UPDATE target_statsig_runs SET sent = NULL WHERE project = :project", project=project)
        connection.run(insertion("target_statsig_runs", ("project", *values)), project=project, **values)
        connection.run(outdated, project=project, oldest=run.ended_at - KEPT_SECONDS)


def last_runs(connection: Connection, project: int) -> list[PastRun]:
    """Return the remembered runs of a project, by its number in the store, the last one first."""
    query = "SELECT ended_at, command, report, sent FROM target_statsig_runs WHERE project = :project ORDER BY run DESC"
    return [
        PastRun(ended_at, Command(command), json.loads(report), None if sent is None else _sent(sent))
        for ended_at, command, report, sent in connection.run(query, project=project)
    ]


def _sent(text: str) -> SentItems:
    content = json.loads(text)
    # Rows of earlier versions have no exposures.
    return SentItems(content["names"], content["span"] and tuple(content["span"]), content.get("exposures", {}))
