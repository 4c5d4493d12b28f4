"""What is remembered of a segment besides its members, each attribute a column of the table; and the last runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from target_statsig.config.choices import ObjectType
from target_statsig.reports.report import ItemCounts

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


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Facts about a segment, and its last sync; None stands for what was never recorded.

    Attributes:
        list_version: The list's version in Statsig after the last change that was seen through.
        expected_count: How many members Statsig should count.
        last_sync_at: When the last sync ended, in seconds since 1970.
        last_status: How it ended, in a word.
        list_read_at: When the whole list was last read from Statsig, in seconds since 1970.
    """

    fed_by: str | None = None
    list_version: int | None = None
    expected_count: int | None = None
    last_sync_at: float | None = None
    last_status: str | None = None
    last_added: int | None = None
    last_removed: int | None = None
    list_read_at: float | None = None


class HoldState(StrEnum):
    """How far a segment's last run, and what it held, have come."""

    BEGUN = "begun"
    """A run began to mirror the segment, and did not end it well up to now."""
    HELD = "held"
    """It ended, and holds removals."""
    APPLYING = "applying"
    """They are being carried out."""
    OUTDATED = "outdated"
    """A run came after it that could have mirrored the segment and did not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What the last run of a segment left; the counts are its own.

    Attributes:
        before: Members before the run.
        members: Members after it.
        removals: Members that it held.
        current: Members in the audience that the stream showed.
        rejected: Records of the stream that were rejected.
        doubt: Why no operator may vouch for the missing proof; empty where one may.
    """

    stream: str
    state: HoldState = HoldState.BEGUN
    before: int = 0
    members: int = 0
    removals: int = 0
    current: int = 0
    rejected: int = 0
    doubt: str = ""


def columns(kind: type[SegmentFacts | Hold]) -> str:
    """Return the columns of the values, in their order, as a query names them."""
    return ", ".join(f'"{each.name}"' for each in fields(kind))


class Command(StrEnum):
    """What a run was started for."""

    RUN = "run"
    REPLAY = "replay"
    APPLY_HELD = "apply-held"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class SentItems:
    """The events and exposures that a run delivered; names come from records.

    Attributes:
        names: How many events of each name.
        span: The earliest and the latest time of an event, unix milliseconds; None where that is not known.
        exposures: How many exposures of each experiment, and of each gate, as they are counted.
    """

    names: dict[str, int]
    span: tuple[int, int] | None
    exposures: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastRun:
    """What is remembered of a run.

    Attributes:
        ended_at: When it ended, in seconds since 1970.
        command: What it was started for.
        report: Its report, without what is 0 or empty.
        sent: What it delivered, by name; None where that was nothing, and of all but the last run that did.
    """

    ended_at: float
    command: Command
    report: dict[str, Any]
    sent: SentItems | None = None


def past_run(report: RunReport, command: Command, ended_at: float) -> PastRun:
    """Return what to remember of a run, given its report; it ended so many seconds after 1970."""
    content = {name: value for name, value in report.as_json(ended_at).items() if name not in _UNREMEMBERED}
    # One count for all streams of a type, so that it lists no more names than that of a stream.
    events, exposures = ItemCounts(ObjectType.EVENT), ItemCounts(ObjectType.EXPOSURE)
    with report.lock:
        for counts in report.item_streams.values():
            for sent in (events, exposures):
                if counts.object_type is sent.object_type:
                    sent.add(counts)
    items = SentItems(dict(events.names), events.span, dict(exposures.names))
    return PastRun(ended_at, command, _trimmed(content), items if items.names or items.exposures else None)


def _trimmed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object without what is 0 or empty: a hundred of them are kept."""
    inner = {name: _trimmed(value) if isinstance(value, dict) else value for name, value in content.items()}
    return {name: value for name, value in inner.items() if value or name in _ALSO_WHERE_EMPTY}


def record_run(connection: Connection, project: int, run: PastRun) -> None:
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
        connection.insert("target_statsig_runs", "run", project=project, **values)
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
    return SentItems(content["names"], content["span"] and tuple(content["span"]), content["exposures"])
