"""`--status`: how the last runs ended and what is left to do. Reads the store and the dead letters, not Statsig."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_statsig.clock import iso_time, readable_time
from target_statsig.commands.replay import waiting_letters
from target_statsig.config import paths
from target_statsig.config.load import replay_command
from target_statsig.reports.text import counted, duration, table_lines, visible
from target_statsig.store.readonly import read_store_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_statsig.commands.replay import WaitingLetters
    from target_statsig.config.settings import Settings
    from target_statsig.store.readonly import StoreStatus
    from target_statsig.store.tables import PastRun

SHOWN_RUNS = 10
"""Runs in the text. The JSON has all remembered runs."""

SHOWN_STREAMS = 3


@dataclass(frozen=True, slots=True)
class Status:
    """The content of the store and the dead letters."""

    store: StoreStatus
    letters: WaitingLetters

    @property
    def held_because(self) -> dict[str, str]:
        """Why members of each segment are held, from the last run that recorded a reason."""
        reasons: dict[str, str] = {}
        for run in self.store.runs:
            for name, segment in _segments_of(run):
                if segment.get("held_because"):
                    reasons.setdefault(name, segment["held_because"])
        return reasons

    def as_json(self) -> dict[str, Any]:
        """Return the status in JSON's types, without names of events."""
        store, because = self.store, self.held_because
        return {
            "store": {"place": store.place, "version": store.version, "bytes": store.size},
            "runs": [
                {"command": run.command.value, "ended_at": iso_time(run.ended_at), **run.report} for run in store.runs
            ],
            "held": {
                name: {**held._asdict(), "since": iso_time(held.since), "because": because.get(name)}
                for name, held in store.held.items()
            },
            "kept": store.kept,
            "dead_letters": {
                "directory": self.letters.directory,
                "files": self.letters.files,
                "records": self.letters.reasons.total(),
                "reasons": dict(self.letters.reasons),
                "unreadable": self.letters.unreadable,
            },
            "at_work": [holder._asdict() | {"since": iso_time(holder.since)} for holder in store.holders],
        }

    def as_text(self) -> str:
        """Return the status for people."""
        lines: list[str] = []
        for part in (_runs, _at_work, _held, _kept, _dead_letters, _store):
            section = [visible(line) for line in part(self)]
            # Blank lines set a table apart.
            lines += [*section, ""] if len(section) > 1 else section
        return "\n".join(lines) + "\n"


def read_status(settings: Settings) -> Status:
    """Read the store and the dead letters, without changing or creating them.

    Raises:
        StoreError: The store cannot be read, or has the schema of another version.
    """
    store = read_store_status(paths.store_url(settings), project=paths.project_identity(settings))
    return Status(store, waiting_letters(settings))


def _runs(status: Status) -> Iterator[str]:
    runs = status.store.runs
    if not runs:
        yield "No run is remembered."
        return
    yield f"Runs, the last one first ({min(len(runs), SHOWN_RUNS):,} of {len(runs):,} remembered)"
    yield from table_lines([_run_row(run) for run in runs[:SHOWN_RUNS]], texts=4)
    for error in runs[0].report.get("errors", ()):
        yield f"  The last run failed: {error}"


def _run_row(run: PastRun) -> dict[str, int | str | None]:
    streams = run.report.get("streams", {})

    def total(name: str) -> int:
        return sum(counts.get(name, 0) for counts in streams.values())

    shown = ", ".join(list(streams)[:SHOWN_STREAMS]) + (" …" if len(streams) > SHOWN_STREAMS else "")
    return {
        "ended": readable_time(run.ended_at),
        "command": run.command.value,
        "status": str(run.report.get("status", "")),
        "streams": shown or "-",
        "exit code": run.report["exit_code"],
        "took": duration(run.report.get("seconds", 0.0)),
        "delivered": total("delivered"),
        "skipped": total("skipped_duplicates"),
        "rejected": total("rejected"),
        "added": sum(segment.get("added", 0) for _, segment in _segments_of(run)),
        "removed": sum(segment.get("removed", 0) for _, segment in _segments_of(run)),
    }


def _segments_of(run: PastRun) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for counts in run.report.get("streams", {}).values():
        yield from counts.get("segments", {}).items()


def _at_work(status: Status) -> Iterator[str]:
    holders = status.store.holders
    yield "At work now" if holders else "No run is at work."
    for holder in holders:
        at = f"process {holder.pid} on {holder.host}, since {readable_time(holder.since)}"
        yield f"  {holder.name}: {holder.run_id}, {at}"


def _held(status: Status) -> Iterator[str]:
    all_held, because = status.store.held, status.held_because
    yield "Held: members that are missing from their stream and were not removed" if all_held else "No member is held."
    yield from table_lines(
        [
            {
                "segment": name,
                "stream": held.stream or "?",
                "because": because.get(name, "?"),
                "since": readable_time(held.since),
                "members": held.members,
            }
            for name, held in all_held.items()
        ],
        texts=4,
    )


def _kept(status: Status) -> Iterator[str]:
    kept = status.store.kept
    yield "Kept: changes that the next run sends first" if kept else "No change is kept."
    yield from table_lines([{"segment": name, "changes": count} for name, count in kept.items()], texts=1)


def _dead_letters(status: Status) -> Iterator[str]:
    letters = status.letters
    if letters.unreadable is not None:
        yield f"Dead letters: {letters.directory} cannot be read ({letters.unreadable})."
    elif not letters.reasons:
        yield f"No dead letters in {letters.directory}."
    else:
        yield f"Dead letters: {counted(letters.reasons.total(), 'record')} in {letters.directory}"
        yield from table_lines(
            [{"reason": reason, "records": count} for reason, count in letters.reasons.most_common()], texts=1
        )
        yield f"  After you fix the cause, send them again: {replay_command(os.environ)}"


def _store(status: Status) -> Iterator[str]:
    store = status.store
    if store.version is None:
        yield f"Store: {store.place}, does not exist yet"
    else:
        yield f"Store: {store.place}, {store.size / 1_000_000:,.1f} MB, version {store.version}"
